"""The office's key, which signs what is changed in the registry, and the ingest's for receipts."""

from __future__ import annotations

import getpass
import time
from collections.abc import Collection
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.errors import KeyFileError
from host_tools.common.files import write_private
from host_tools.common.i18n import _
from host_tools.keys.private_keys import encrypted_pem, plain_pem
from host_tools.keys.root import load_root_key
from host_tools.keys.signing import public_bytes
from host_tools.people.office_log import BEGINNING, OfficeEntry, entry_hash, sign_entry
from host_tools.people.technicians import make_trust, publish_trust
from host_tools.people.trust import INGEST, OFFICE
from host_tools.province.records import RoleKey
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.wire.envelope import hash8

_LIFE_S = 20 * 365 * 86400
_OVERLAP_S = 60  # in which what the former keys were just signing still counts
_NAMES = {OFFICE: "office", INGEST: "ingest"}


class OfficePen:
    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def __call__(self, before: bytes | None, kind: str, body: dict[str, Any], by: str) -> bytes:
        number, prev, at = 0, BEGINNING, int(time.time())
        if before is not None:
            table = cbor2.loads(cbor2.loads(before).value[2])
            # The log's times never go back, whatever the clock does.
            number, prev, at = table[1] + 1, entry_hash(before), max(at, table[3])
        author = by or getpass.getuser()
        return sign_entry(self._key, OfficeEntry(number, prev, at, kind, body, author))


def make_office_keys(province: Province, registry: Registry, passphrase: str) -> None:
    """Make the keys of office and ingest, and have the registry sign its changes from now on.

    Within the caller's transaction, before a trust document that names them.

    Raises:
        PassphraseError: the passphrase is too short.
    """
    for role in (OFFICE, INGEST):
        _make_key(province, registry, role, passphrase)


def _make_key(province: Province, registry: Registry, role: int, passphrase: str) -> None:
    key, now = Ed25519PrivateKey.generate(), int(time.time())
    public = public_bytes(key)
    registry.add_role_key(RoleKey(hash8(public), public, role, _NAMES[role], now, now + _LIFE_S))
    if role == OFFICE:
        registry.pen = OfficePen(key)
        write_private(province.office_key, encrypted_pem(key, passphrase))
    else:
        write_private(province.receipt_key, plain_pem(key))


def renew_office_keys(
    province: Province,
    registry: Registry,
    passphrase: str,
    roles: Collection[int] = (OFFICE, INGEST),
    *,
    signed_at: int = 0,
) -> None:
    """Make new keys of office and ingest, and end the former ones by a new trust document.

    What the former keys have signed stays valid. If this is interrupted, the keys are refused
    until it has run again: it needs the root key only.

    Args:
        signed_at: when the newest receipt was signed; no receipt must become one of after the end
            of its key, whatever the clock did.

    Raises:
        PassphraseError, KeyFileError: the root key or the office's can't be opened.
        TechnicianError: the clock is behind the signed document.
    """
    root, now = load_root_key(province.root_key, passphrase), int(time.time())
    if OFFICE not in roles:
        open_office(province, registry, passphrase)
    with registry.transaction():
        newest = registry.newest_office_entry()
        assert newest is not None
        entered_at = cbor2.loads(cbor2.loads(newest[1]).value[2])[3]
        for role in roles:
            for former in registry.role_keys(role):
                registry.revoke_role_key(former.kid, by=getpass.getuser(), at=now)
            _make_key(province, registry, role, passphrase)
        make_trust(province, registry, root, max(now, entered_at, signed_at) + _OVERLAP_S)
    publish_trust(province, registry)


def check_named(registry: Registry, key: Ed25519PrivateKey, role: int) -> None:
    """See that the newest trust document names a key: what another one signs counts nowhere.

    Raises:
        KeyFileError: it does not.
    """
    public = public_bytes(key)
    if not any(k.public_key == public and k.revoked_at is None for k in registry.role_keys(role)):
        raise KeyFileError(
            _(
                "The key of the {role} is not the one that the trust document names; make new "
                "keys with 'desalink evidence renew-keys'."
            ).format(role=_NAMES[role])
        )


def has_log(registry: Registry) -> bool:
    """Whether the province keeps an office log: one from before has not begun it yet."""
    return registry.newest_office_entry() is not None


def open_office(province: Province, registry: Registry, passphrase: str) -> None:
    """Have a registry sign its changes, if the province keeps an office log.

    Raises:
        PassphraseError, KeyFileError, OSError: the office's key can't be opened, or was replaced.
    """
    if registry.pen is None and has_log(registry):
        key = load_root_key(province.office_key, passphrase)
        check_named(registry, key, OFFICE)
        registry.pen = OfficePen(key)
