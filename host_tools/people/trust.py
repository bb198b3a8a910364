"""The trust document: the keys and their roles, signed by the root key (docs/wire.md).

Versions only grow. A verifier refuses a document older than the newest it has seen, so that a
replay can't restore a revoked key.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.keys.signing import MAX_PAYLOAD, sign1, verify1
from host_tools.wire.envelope import MAX_MESSAGE, hash8
from host_tools.wire.payload import decode
from host_tools.wire.reasons import Refused, malformed
from host_tools.wire.shapes import Form, array, fits, octets, printable, row, uint

AAD = b"desa/1/trust"

TECHNICIAN, OPERATOR, RELEASE, INGEST, OFFICE = 1, 2, 3, 4, 5

MAX_NAME = 60
_MAX_TIME = 2**53 - 1
_CLOCK_S = 86400  # that clocks may differ


class TrustError(DesalinkError):
    """A trust document that is not valid, is too old, has expired, or would become too large."""


class TrustedKey(NamedTuple):
    """A key with role, name and end of validity (Unix seconds)."""

    kid: bytes
    public_key: bytes
    role: int
    name: str
    not_after: int


@dataclass(frozen=True)
class Trust:
    """A trust document's content; times in Unix seconds."""

    version: int
    issued: int
    expires: int
    keys: tuple[TrustedKey, ...]

    def find(self, kid: bytes) -> TrustedKey | None:
        """The key of an id, or None."""
        return next((key for key in self.keys if key.kid == kid), None)


_TRUST = Form(
    "trust",
    {
        "version": uint(_MAX_TIME, 1),
        "issued": uint(_MAX_TIME),
        "expires": uint(_MAX_TIME),
        "keys": array(
            fits(
                row(
                    TrustedKey,
                    octets(8),
                    octets(32),
                    uint(_MAX_TIME),
                    printable(MAX_NAME),
                    uint(_MAX_TIME),
                    more=True,
                ),
                lambda key: key.kid == hash8(key.public_key),
            )
        ),
    },
)


def sign_trust(
    root: Ed25519PrivateKey, version: int, issued: int, expires: int, keys: Sequence[TrustedKey]
) -> bytes:
    """The signed document.

    Raises:
        TrustError: too many keys for one message.
    """
    table = _TRUST.table(vars(Trust(version, issued, expires, tuple(keys))))
    payload = cbor2.dumps(table, canonical=True)
    if len(payload) > MAX_PAYLOAD:
        raise TrustError(
            _(
                "The trust document would hold {count} keys and take more than {max_message} "
                "bytes; revoke technicians who no longer work ('desalink technicians revoke')."
            ).format(count=len(keys), max_message=MAX_MESSAGE)
        )
    return sign1(root, payload, AAD)


def verify_trust(
    document: bytes, root_public: bytes, *, newest: int = 0, now: float | None = None
) -> Trust:
    """The content of a document that the root signed.

    Args:
        root_public: the root's public key, 32 bytes.
        newest: the newest version seen so far; an older one is refused.
        now: Unix time at which it must be valid; the present if None.

    Raises:
        TrustError: not signed by this root, malformed, older than `newest`, or expired.
    """
    try:
        trust = _parse(verify1(document, root_public, AAD))
    except Refused as refused:
        raise TrustError(
            _(
                "The trust document is not one of this province: {reason}; get it from the "
                "province again."
            ).format(reason=refused)
        ) from None
    if trust.version < newest:
        raise TrustError(
            _(
                "The trust document has version {version}, but version {newest} is known already; "
                "get the newest from the province."
            ).format(version=trust.version, newest=newest)
        )
    if trust.expires <= (time.time() if now is None else now):
        raise TrustError(
            _(
                "The trust document of version {version} has expired; the province makes a new "
                "one with every 'desalink kit create' and 'desalink technicians add'."
            ).format(version=trust.version)
        )
    return trust


def _parse(payload: bytes) -> Trust:
    trust = Trust(**_TRUST.read(decode(payload)))
    if len({key.kid for key in trust.keys}) != len(trust.keys):
        raise malformed("a key of the trust is listed twice")
    return trust


@dataclass(frozen=True)
class RoleSigner:
    """A key in one role, and when it counts: from `begin` to `end`, Unix seconds."""

    public_key: bytes
    name: str
    begin: int
    end: int

    def counts(self, at: int) -> bool:
        """Whether what the key signed at a time counts. The document may be a day late, because
        clocks differ."""
        return self.begin - _CLOCK_S <= at < self.end


def signers(trusts: Sequence[Trust], role: int) -> dict[bytes, RoleSigner]:
    """By kid, the keys that documents (verified, ascending) name in a role.

    A key counts from the first document that names it to the next one that does not.
    """
    found: dict[bytes, RoleSigner] = {}
    for trust in trusts:
        named = {key.kid: key for key in trust.keys if key.role == role}
        for kid, signer in found.items():
            if kid not in named:
                found[kid] = replace(signer, end=min(signer.end, trust.issued))
        for kid, key in named.items():
            if kid not in found:
                found[kid] = RoleSigner(key.public_key, key.name, trust.issued, key.not_after)
    return found
