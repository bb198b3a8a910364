"""The office log: what the office did, each entry signed and chained (docs/evidence.md).

`OfficeState` is what follows from the entries. The registry's rows must say the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.keys.signing import sign1, verify1
from host_tools.people.trust import RoleSigner
from host_tools.province.contract_records import Contract, ContractEntry, ContractEvent
from host_tools.province.records import kid_of
from host_tools.wire.envelope import split, strict_decode
from host_tools.wire.reasons import Refused

AAD = b"desa/1/office"
MAX_ENTRY = 1 << 18  # bytes; the longest holds a document of rules
BEGINNING = bytes(32)  # `prev` of the first entry
GRACE_S = 60
"""An ingest may store so long after a revocation what the key signed: it was at work just then."""

_MAX_TIME = 2**33
_MAX_TEXT = 200_000

ENROL, REVOKE, TRUST, KIT, KIT_REVOKE = "enrol", "revoke", "trust", "kit", "kit_revoke"
CONTRACT, CONTRACT_WITHDRAW = "contract", "contract_withdraw"
EVENT, EVENT_WITHDRAW = "event", "event_withdraw"
RULES, CLOSE, REOPEN, VILLAGE = "rules", "close", "reopen", "village"
LOST = "lost"

# What each kind's body holds: "8" and "32" are byte strings of that length, "time" is Unix
# seconds, "?" allows null.
_SHAPES: dict[str, dict[str, str]] = {
    ENROL: {
        "slot": "text",
        "kid": "8",
        "key": "32",
        "proof": "bytes?",
        "certificate": "text?",
        "replaces": "8?",
        "record": "32?",
        "adopted": "bool",
        "at": "time",
    },
    REVOKE: {"kid": "8", "at": "time", "reason": "text"},
    TRUST: {"version": "int", "hash": "32"},
    KIT: {"id": "8", "technician": "8", "expires": "time"},
    KIT_REVOKE: {"id": "8", "at": "time"},
    CONTRACT: {
        "id": "text",
        "slot": "text",
        "provider": "text",
        "product": "text",
        "medium": "text",
        "mbps": "int",
        "price": "int",
        "target_ppm": "int",
        "excluded": "text",
        "opens": "int?",
        "closes": "int?",
        "t_begin": "time",
        "t_end": "time",
        "number": "text",
        "added_at": "time",
    },
    CONTRACT_WITHDRAW: {"id": "text", "why": "text", "at": "time"},
    EVENT: {
        "id": "text",
        "kind": "text",
        "scope": "text",
        "value": "text",
        "t_begin": "time",
        "t_end": "time",
        "who": "text",
        "why": "text",
        "added_at": "time",
    },
    EVENT_WITHDRAW: {"id": "text", "why": "text", "at": "time"},
    RULES: {"version": "int", "document": "text", "at": "time"},
    CLOSE: {
        "month": "text",
        "edition": "int",
        "rules": "int",
        "digest": "32",
        "receipt": "int?",
        "at": "time",
    },
    REOPEN: {"month": "text", "edition": "int", "why": "text", "at": "time"},
    VILLAGE: {"code": "text", "name": "text", "district": "text", "regency": "text"},
    LOST: {"first": "int", "last": "int", "why": "text", "at": "time"},
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


# ---- what follows from the entries ------------------------------------------------------------


@dataclass(frozen=True)
class OfficeDevice:
    """A device of a slot, from its enrolment to its revocation or replacement (Unix time)."""

    kid: bytes
    key: bytes
    slot: str
    begin: int
    by: str
    end: int | None = None
    ended_by: str | None = None
    replaced_by: bytes | None = None
    proof: bytes | None = None
    record: bytes | None = None
    adopted: bool = False

    def counts(self, received_at: int) -> bool:
        """Whether what it signed counts that arrived at a time."""
        return self.end is None or received_at <= self.end + GRACE_S


@dataclass(frozen=True)
class OfficeMonth:
    """A closed month; `receipt`: the newest one that its figures count, null if there was none."""

    month: str
    edition: int
    rules: int
    digest: bytes
    receipt: int | None
    closed_at: int
    closed_by: str
    opened_at: int | None = None
    opened_by: str | None = None
    opened_why: str | None = None


@dataclass(frozen=True)
class OfficeKit:
    """A kit, and when it was revoked."""

    technician: bytes
    expires: int
    revoked_at: int | None = None


@dataclass(frozen=True)
class LostReceipts:
    """Receipts whose reports the office has declared lost, as after a restore: first to last."""

    first: int
    last: int
    why: str
    at: int
    by: str

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last


@dataclass
class OfficeState:
    """What the registry must hold by the entries so far.

    head: number and hash of the newest entry. rules: version -> document, time, author.
    trusts: version -> SHA-256 of the document. villages: code -> name, district, regency.
    """

    head: tuple[int, bytes] | None = None
    devices: dict[bytes, OfficeDevice] = field(default_factory=dict)
    active: dict[str, bytes] = field(default_factory=dict)
    contracts: dict[str, ContractEntry] = field(default_factory=dict)
    events: dict[str, ContractEvent] = field(default_factory=dict)
    rules: dict[int, tuple[str, int, str]] = field(default_factory=dict)
    months: dict[tuple[str, int], OfficeMonth] = field(default_factory=dict)
    kits: dict[bytes, OfficeKit] = field(default_factory=dict)
    trusts: dict[int, bytes] = field(default_factory=dict)
    villages: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    lost: list[LostReceipts] = field(default_factory=list)

    @classmethod
    def replay(cls, entries: Iterable[tuple[OfficeEntry, bytes]]) -> OfficeState:
        """The state after verified entries.

        Raises:
            OfficeLogError: an entry contradicts those before; and what `entries` raises.
        """
        state = cls()
        for entry, digest in entries:
            state.apply(entry, digest)
        return state

    def apply(self, entry: OfficeEntry, digest: bytes) -> None:
        """Take one more entry.

        Raises:
            OfficeLogError: it contradicts those before.
        """
        problem = getattr(self, f"_{entry.kind}")(entry.body, entry.by)
        if problem:
            raise OfficeLogError(
                _("Entry {number} of the office log is wrong: {problem}.").format(
                    number=entry.number, problem=problem
                )
            )
        self.head = entry.number, digest

    def _enrol(self, body: dict[str, Any], by: str) -> str | None:
        kid, slot, old = body["kid"], body["slot"], body["replaces"]
        if kid in self.devices:
            return f"device {kid.hex()} is enrolled already"
        if self.active.get(slot) != old:
            return f"slot {slot} is filled by another device than the entry says"
        if old is not None:
            self.devices[old] = replace(
                self.devices[old], end=body["at"], ended_by=by, replaced_by=kid
            )
        self.active[slot] = kid
        self.devices[kid] = OfficeDevice(
            *(kid, body["key"], slot, body["at"], by),
            proof=body["proof"],
            record=body["record"],
            adopted=body["adopted"],
        )
        return None

    def _revoke(self, body: dict[str, Any], by: str) -> str | None:
        device = self.devices.get(body["kid"])
        if device is None or device.end is not None:
            return f"device {body['kid'].hex()} is not active"
        self.devices[device.kid] = replace(device, end=body["at"], ended_by=by)
        del self.active[device.slot]
        return None

    def _trust(self, body: dict[str, Any], by: str) -> str | None:
        if body["version"] <= max(self.trusts, default=0):
            return f"trust document {body['version']} is not newer than the one before"
        self.trusts[body["version"]] = body["hash"]
        return None

    def _kit(self, body: dict[str, Any], by: str) -> str | None:
        if body["id"] in self.kits:
            return f"kit {body['id'].hex()} is there already"
        self.kits[body["id"]] = OfficeKit(body["technician"], body["expires"])
        return None

    def _kit_revoke(self, body: dict[str, Any], by: str) -> str | None:
        kit = self.kits.get(body["id"])
        if kit is None or kit.revoked_at is not None:
            return f"kit {body['id'].hex()} is not valid"
        self.kits[body["id"]] = replace(kit, revoked_at=body["at"])
        return None

    def _contract(self, body: dict[str, Any], by: str) -> str | None:
        known = self.contracts.get(body["id"])
        if known is not None and known.withdrawn_at is None:
            return f"contract {body['id']} is there already"
        self.contracts[body["id"]] = _contract_entry(body, by)
        return None

    def _contract_withdraw(self, body: dict[str, Any], by: str) -> str | None:
        known = self.contracts.get(body["id"])
        if known is None or known.withdrawn_at is not None:
            return f"contract {body['id']} does not hold"
        self.contracts[body["id"]] = replace(known, **_withdrawn(body, by))
        return None

    def _event(self, body: dict[str, Any], by: str) -> str | None:
        if body["id"] in self.events:
            return f"event {body['id']} is there already"
        names = ("id", "kind", "scope", "value", "t_begin", "t_end", "who", "why", "added_at")
        self.events[body["id"]] = ContractEvent(*(body[name] for name in names))
        return None

    def _event_withdraw(self, body: dict[str, Any], by: str) -> str | None:
        known = self.events.get(body["id"])
        if known is None or known.withdrawn_at is not None:
            return f"event {body['id']} does not hold"
        self.events[body["id"]] = replace(known, **_withdrawn(body, by))
        return None

    def _rules(self, body: dict[str, Any], by: str) -> str | None:
        if body["version"] in self.rules:
            return f"version {body['version']} of the rules is there already"
        self.rules[body["version"]] = body["document"], body["at"], by
        return None

    def _close(self, body: dict[str, Any], by: str) -> str | None:
        month, edition = body["month"], body["edition"]
        before = self.newest_month(month)
        if edition != (before.edition if before else 0) + 1:
            return f"edition {edition} of {month} does not follow the one before"
        if before is not None and before.opened_at is None:
            return f"{month} is closed already"
        self.months[month, edition] = OfficeMonth(
            *(month, edition, body["rules"], body["digest"], body["receipt"], body["at"], by)
        )
        return None

    def _reopen(self, body: dict[str, Any], by: str) -> str | None:
        known = self.months.get((body["month"], body["edition"]))
        if known is None or known.opened_at is not None:
            return f"edition {body['edition']} of {body['month']} is not closed"
        self.months[known.month, known.edition] = replace(
            known, opened_at=body["at"], opened_by=by, opened_why=body["why"]
        )
        return None

    def _village(self, body: dict[str, Any], by: str) -> None:
        self.villages[body["code"]] = body["name"], body["district"], body["regency"]

    def _lost(self, body: dict[str, Any], by: str) -> str | None:
        found = LostReceipts(body["first"], body["last"], body["why"], body["at"], by)
        if found.first > found.last:
            return "it ends before it begins"
        if any(found.first <= each.last and each.first <= found.last for each in self.lost):
            return "one of the receipts is declared lost already"
        self.lost.append(found)
        return None

    def is_lost(self, receipt: int) -> bool:
        """Whether the reports of a receipt are declared lost."""
        return any(receipt in each for each in self.lost)

    def newest_month(self, month: str) -> OfficeMonth | None:
        """The newest edition of a month, closed or opened again."""
        found = [each for each in self.months.values() if each.month == month]
        return max(found, key=lambda each: each.edition, default=None)


def _withdrawn(body: dict[str, Any], by: str) -> dict[str, Any]:
    return {"withdrawn_at": body["at"], "withdrawn_by": by, "withdrawn_why": body["why"]}


def _contract_entry(body: dict[str, Any], by: str) -> ContractEntry:
    b = body
    kinds = tuple(filter(None, b["excluded"].split(",")))
    hours = None if b["opens"] is None else (b["opens"], b["closes"])
    contract = Contract(
        *(b["slot"], b["provider"], b["product"], b["medium"], b["mbps"], b["price"]),
        *(b["target_ppm"], kinds, hours, b["t_begin"], b["t_end"], b["number"]),
    )
    return ContractEntry(b["id"], contract, b["added_at"], by)
