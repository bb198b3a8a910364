"""The office log: what the office did, each entry signed and chained (docs/evidence.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.keys.signing import sign1, verify1
from host_tools.people.trust import RoleSigner
from host_tools.province.records import kid_of
from host_tools.wire.envelope import split, strict_decode
from host_tools.wire.reasons import Refused

AAD = b"desa/1/office"
MAX_ENTRY = 1 << 18  # bytes; the longest holds a document of rules
BEGINNING = bytes(32)  # `prev` of the first entry

_MAX_TIME = 2**33
_MAX_TEXT = 200_000

ENROL, REVOKE, TRUST, KIT, KIT_REVOKE = "enrol", "revoke", "trust", "kit", "kit_revoke"
CONTRACT, CONTRACT_WITHDRAW = "contract", "contract_withdraw"
EVENT, EVENT_WITHDRAW = "event", "event_withdraw"
RULES, CLOSE, REOPEN, VILLAGE = "rules", "close", "reopen", "village"
LOST = "lost"

# What each kind's body holds: "8" and "32" are byte strings of that length, "time" is Unix
# seconds, "?" allows null.
_SHAPES = {
    kind: dict(field.split(":") for field in fields.split())
    for kind, fields in {
        ENROL: "slot:text kid:8 key:32 proof:bytes? certificate:text? replaces:8? record:32? "
        "adopted:bool at:time",
        REVOKE: "kid:8 at:time reason:text",
        TRUST: "version:int hash:32",
        KIT: "id:8 technician:8 expires:time",
        KIT_REVOKE: "id:8 at:time",
        CONTRACT: "id:text slot:text provider:text product:text medium:text mbps:int price:int "
        "target_ppm:int excluded:text opens:int? closes:int? t_begin:time t_end:time number:text "
        "added_at:time",
        CONTRACT_WITHDRAW: "id:text why:text at:time",
        EVENT: "id:text kind:text scope:text value:text t_begin:time t_end:time who:text why:text "
        "added_at:time",
        EVENT_WITHDRAW: "id:text why:text at:time",
        RULES: "version:int document:text at:time",
        CLOSE: "month:text edition:int rules:int digest:32 receipt:int? at:time",
        REOPEN: "month:text edition:int why:text at:time",
        VILLAGE: "code:text name:text district:text regency:text",
        LOST: "first:int last:int why:text at:time",
    }.items()
}


class OfficeLogError(DesalinkError):
    """An office log that is not what the office signed, or contradicts itself."""


@dataclass(frozen=True)
class OfficeEntry:
    """An entry: what was done (`kind`, `body`), when it was entered (Unix time), and by whom."""

    number: int
    prev: bytes
    time: int
    kind: str
    body: dict[str, Any]
    by: str


def entry_hash(entry: bytes) -> bytes:
    """What the next entry names, and what is published of the newest."""
    return hashlib.sha256(entry).digest()


def sign_entry(key: Ed25519PrivateKey, entry: OfficeEntry) -> bytes:
    """The signed entry.

    Raises:
        OfficeLogError: the body is not what its kind demands, or it is too long.
    """
    _check_shape(entry)
    e = entry
    payload = cbor2.dumps(
        {1: e.number, 2: e.prev, 3: e.time, 4: e.kind, 5: e.body, 6: e.by}, canonical=True
    )
    signed = sign1(key, payload, AAD)
    if len(signed) > MAX_ENTRY:
        raise OfficeLogError(
            _(
                "An entry of {count} bytes is too long for the office log; at most {max_entry} "
                "are allowed."
            ).format(count=len(signed), max_entry=MAX_ENTRY)
        )
    return signed


def parse_entry(entry: bytes, public_key: bytes) -> OfficeEntry:
    """The content of an entry that this key signed.

    Raises:
        OfficeLogError: it did not, or the content is not what its kind demands.
    """
    try:
        payload = verify1(entry, public_key, AAD, MAX_ENTRY)
        table = strict_decode(payload, tags=False)
    except Refused as refused:
        raise OfficeLogError(str(refused)) from None
    if type(table) is not dict or sorted(table, key=repr) != [1, 2, 3, 4, 5, 6]:
        raise OfficeLogError(_("it does not hold the fields 1 to 6"))
    if cbor2.dumps(table, canonical=True) != payload:
        raise OfficeLogError(_("its CBOR is not in the shortest form"))
    found = OfficeEntry(*(table[key] for key in range(1, 7)))
    _check_shape(found)
    return found


def verify_entries(
    entries: Iterable[bytes], keys: Mapping[bytes, RoleSigner]
) -> Iterator[tuple[OfficeEntry, bytes]]:
    """Each entry of a whole log with its hash, verified one after the other.

    Args:
        keys: by kid, the keys of the role `office`.

    Raises:
        OfficeLogError: names the first entry that is wrong, and what is wrong with it.
    """
    prev, time = BEGINNING, 0
    for number, signed in enumerate(entries):
        try:
            kid = split(signed, MAX_ENTRY)[0]
            signer = keys.get(kid)
            if signer is None:
                raise OfficeLogError(
                    _("key {kid} signed it, which no trust document names for the office").format(
                        kid=kid.hex()
                    )
                )
            entry = parse_entry(signed, signer.public_key)
            if entry.number != number or entry.prev != prev:
                raise OfficeLogError(_("it does not continue the entry before"))
            if entry.time < time:
                raise OfficeLogError(_("it is older than the entry before"))
            if not signer.counts(entry.time):
                raise OfficeLogError(
                    _("key {kid} was not valid when it was signed").format(kid=kid.hex())
                )
        except (Refused, OfficeLogError) as error:
            raise OfficeLogError(
                _("Entry {number} of the office log is wrong: {error}.").format(
                    number=number, error=error
                )
            ) from None
        prev, time = entry_hash(signed), entry.time
        yield entry, prev


def _check_shape(entry: OfficeEntry) -> None:
    e = entry
    shape = _SHAPES.get(e.kind) if type(e.kind) is str else None
    if shape is None:
        raise OfficeLogError(_("its kind is not known"))
    if not (
        _valid(e.number, "int")
        and _valid(e.prev, "32")
        and _valid(e.time, "time")
        and _valid(e.by, "text")
    ):
        raise OfficeLogError(_("its number, prev, time or author is not valid"))
    if type(e.body) is not dict or set(e.body) != set(shape):
        raise OfficeLogError(_("its body is not that of the kind {kind}").format(kind=e.kind))
    for name, kind in shape.items():
        if not _valid(e.body[name], kind):
            raise OfficeLogError(_("'{name}' of its body is not valid").format(name=name))
    if e.kind == ENROL and e.body["kid"] != kid_of(e.body["key"]):
        raise OfficeLogError(_("its key id is not that of its key"))


def _valid(value: Any, kind: str) -> bool:
    if kind.endswith("?"):
        return value is None or _valid(value, kind[:-1])
    if kind == "text":
        return type(value) is str and len(value) <= _MAX_TEXT
    if kind == "bool":
        return type(value) is bool
    if kind == "int":
        return type(value) is int and 0 <= value < 2**53
    if kind == "time":
        return type(value) is int and 0 <= value <= _MAX_TIME
    if type(value) is not bytes:
        return False
    return kind == "bytes" or len(value) == int(kind)
