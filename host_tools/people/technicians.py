"""Technicians: their role keys, and the trust document that names them.

The province makes role keys and stores them under its passphrase; kits carry them. The registry
has every key and every version of the document; `trust.cbor` is the newest version.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from host_tools.common.errors import DesalinkError, KeyFileError
from host_tools.common.files import make_directory, write_file, write_private
from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.keys.private_keys import encrypted_pem
from host_tools.keys.root import load_root_key
from host_tools.keys.signing import public_bytes
from host_tools.people.trust import (
    MAX_NAME,
    TECHNICIAN,
    Trust,
    TrustedKey,
    TrustError,
    sign_trust,
    verify_trust,
)
from host_tools.province.records import RoleKey
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.wire.envelope import hash8

DAYS = 365
# The document must outlive kits; every change, and a kit if needed, makes a new one.
TRUST_LIFE_S = 2 * 365 * 86400


class TechnicianError(DesalinkError):
    """A technician who is unknown, exists already, or has no valid key."""


def technicians(registry: Registry) -> list[RoleKey]:
    """The keys of all technicians, past ones too, the oldest first."""
    return registry.role_keys(TECHNICIAN)


def find(registry: Registry, name: str, now: float | None = None) -> RoleKey:
    """The technician of a name, with the newest key that is valid.

    Raises:
        TechnicianError: no such technician, or no valid key.
    """
    now = time.time() if now is None else now
    wanted = name.strip().casefold()
    named = [t for t in technicians(registry) if t.name.casefold() == wanted]
    valid = [t for t in named if t.valid(now)]
    if valid:
        return valid[-1]
    if named:
        raise TechnicianError(
            _(
                "The key of technician {name} has expired or is revoked; make a new one with "
                "'desalink technicians add {quoted}'."
            ).format(name=named[-1].name, quoted=quote(named[-1].name))
        )
    raise TechnicianError(
        _(
            "There is no technician '{name}'; 'desalink technicians list' shows them, 'desalink "
            "technicians add' makes one."
        ).format(name=name)
    )


def root_public(province: Province) -> bytes:
    """The 32 bytes of the province's public root key.

    Raises:
        KeyFileError: its file is missing or damaged.
    """
    path = province.root_public
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (FileNotFoundError, ValueError):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(
            _("The public key {path} is missing or damaged; put it back from the backup.").format(
                path=path
            )
        )
    return public_bytes(key)


def former_roots(province: Province) -> list[bytes]:
    """The root keys before the present one, the newest first; 32 bytes each.

    Raises:
        KeyFileError: their file is damaged.
    """
    path = province.former_roots
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        return []
    end = b"-----END PUBLIC KEY-----\n"
    found: list[bytes] = []
    for part in pem.split(end)[:-1]:
        try:
            key = serialization.load_pem_public_key(part + end)
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileError(
                _("{path} is damaged; put it back from the backup.").format(path=path)
            )
        found.insert(0, public_bytes(key))
    return found


# ---- the trust document ------------------------------------------------------------------


def newest_trust(province: Province, registry: Registry) -> tuple[Trust, bytes] | None:
    """The newest trust document, expired or not, or None where none was made yet.

    Raises:
        TrustError: it is not signed by this province's root, or by one before it.
    """
    newest = registry.newest_trust()
    if newest is None:
        return None
    for root in former_roots(province):
        with contextlib.suppress(TrustError):
            return verify_trust(newest[1], root, now=0), newest[1]
    return verify_trust(newest[1], root_public(province), now=0), newest[1]


def verified_trusts(registry: Registry, roots: Sequence[bytes]) -> list[Trust]:
    """All trust documents of a registry, ascending.

    Raises:
        TrustError: none of the roots signed one, or one says another version than its row.
    """
    found = []
    for version, document in registry.trusts():
        for root in roots:
            with contextlib.suppress(TrustError):
                trust = verify_trust(document, root, now=0)
                break
        else:
            raise TrustError(
                _("Trust document {version} is not signed by a root key of here.").format(
                    version=version
                )
            )
        if trust.version != version:
            raise TrustError(
                _("Trust document {version} says that it is version {trust_version}.").format(
                    version=version, trust_version=trust.version
                )
            )
        found.append(trust)
    return found


def make_trust(
    province: Province, registry: Registry, root: Ed25519PrivateKey, now: float | None = None
) -> bytes:
    """Sign the next version of the document and store it in the registry.

    For callers that change keys, within their transaction; then call `publish_trust`.

    Raises:
        TechnicianError: the clock is behind the signed document.
        TrustError: too many keys.
    """
    at = int(time.time() if now is None else now)
    _check_clock(province, registry, at)
    valid = [key for key in registry.role_keys() if key.valid(at)]
    valid.sort(key=lambda key: (key.role, key.name, key.not_after, key.kid))
    keys = [TrustedKey(k.kid, k.public_key, k.role, k.name, k.not_after) for k in valid]
    newest = registry.newest_trust()
    version = newest[0] + 1 if newest else 1
    document = sign_trust(root, version, at, at + TRUST_LIFE_S, keys)
    registry.add_trust(version, document)
    return document


def _check_clock(province: Province, registry: Registry, at: int) -> None:
    """Refuse a clock that is far behind: its document would be expired already."""
    known = province.created.timestamp()
    newest = newest_trust(province, registry)
    if newest is not None:
        known = max(known, newest[0].issued)
    if at < known - 86400:
        raise TechnicianError(
            _(
                "The clock of this machine shows {date}, and this province signed a document on "
                "{known}; set the clock (for example by NTP) and try again."
            ).format(date=day(at), known=day(known))
        )


def publish_trust(province: Province, registry: Registry) -> None:
    """Write the newest document to `trust.cbor`."""
    newest = newest_trust(province, registry)
    if newest is None:
        return
    try:
        if province.trust.read_bytes() == newest[1]:
            return
    except FileNotFoundError:
        pass
    write_file(province.trust, newest[1])


def current_trust(
    province: Province, registry: Registry, root: Ed25519PrivateKey, until: float
) -> bytes:
    """A trust document of this root that is valid until a Unix time; a new one if needed."""
    newest = newest_trust(province, registry)
    if newest is None or newest[0].expires <= until or not _signed_by(root, newest[1]):
        make_trust(province, registry, root)
        newest = newest_trust(province, registry)
        assert newest is not None
    publish_trust(province, registry)
    return newest[1]


def _signed_by(root: Ed25519PrivateKey, document: bytes) -> bool:
    try:
        verify_trust(document, public_bytes(root), now=0)
    except TrustError:
        return False
    return True


# ---- technicians -------------------------------------------------------------------------


def key_path(province: Province, kid: bytes) -> Path:
    return province.technicians / f"{kid.hex()}.key"


def load_key(province: Province, technician: RoleKey, passphrase: str) -> Ed25519PrivateKey:
    """Open a technician's role key.

    Raises:
        PassphraseError, KeyFileError, OSError: as `load_root_key`.
    """
    return load_root_key(key_path(province, technician.kid), passphrase)


def _check_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise TechnicianError(
            _(
                "'{name}' can't be a technician's name; give 1 to {max_name} printable characters."
            ).format(name=name, max_name=MAX_NAME)
        )
    return name


def add(
    province: Province,
    registry: Registry,
    root: Ed25519PrivateKey,
    name: str,
    passphrase: str,
    *,
    days: int = DAYS,
    renew: bool = False,
    now: float | None = None,
) -> RoleKey:
    """Make a technician's role key and a trust document that names it.

    Args:
        passphrase: of the province; it encrypts the role key.
        days: of the key's validity.
        renew: add a second key for a technician with a valid one.

    Raises:
        TechnicianError: no valid name, or the technician has a valid key.
        TrustError: the document would become too large.
    """
    name = _check_name(name)
    at = int(time.time() if now is None else now)
    wanted = name.casefold()
    for known in technicians(registry):
        if known.name.casefold() == wanted and known.valid(at) and not renew:
            raise TechnicianError(
                _(
                    "Technician {name} has a valid key already; give another name, or --renew for "
                    "a second key of the same person."
                ).format(name=known.name)
            )
    key = Ed25519PrivateKey.generate()
    public = public_bytes(key)
    kid = hash8(public)
    # The key file first: the trust document must not name a missing key.
    make_directory(province.technicians)
    write_private(key_path(province, kid), encrypted_pem(key, passphrase))
    with registry.transaction():
        added = RoleKey(kid, public, TECHNICIAN, name, at, at + days * 86400)
        registry.add_role_key(added)
        make_trust(province, registry, root, at)
    publish_trust(province, registry)
    return added


def revoke(
    province: Province,
    registry: Registry,
    root: Ed25519PrivateKey,
    kids: list[bytes],
    *,
    by: str,
    now: float | None = None,
) -> None:
    """Remove role keys from the trust document; their records can't be imported any more.

    Revoking again changes nothing.
    """
    at = int(time.time() if now is None else now)
    with registry.transaction():
        changed = [registry.revoke_role_key(kid, by=by, at=at) for kid in kids]
        if any(changed):
            make_trust(province, registry, root, at)
    publish_trust(province, registry)
