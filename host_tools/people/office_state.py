"""What follows from the office log: the registry's rows must say the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from host_tools.common.i18n import _
from host_tools.people.office_log import OfficeEntry, OfficeLogError
from host_tools.province.contract_records import Contract, ContractEntry, ContractEvent

GRACE_S = 60
"""An ingest may store so long after a revocation what the key signed: it was at work just then."""


class _Contradiction(Exception):
    """What an entry says can't be so after the entries before."""


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
        try:
            getattr(self, f"_{entry.kind}")(entry.body, entry.by)
        except _Contradiction as problem:
            raise OfficeLogError(
                _("Entry {number} of the office log is wrong: {problem}.").format(
                    number=entry.number, problem=problem
                )
            ) from None
        self.head = entry.number, digest

    def _enrol(self, body: dict[str, Any], by: str) -> None:
        kid, slot, old = body["kid"], body["slot"], body["replaces"]
        if kid in self.devices:
            raise _Contradiction(f"device {kid.hex()} is enrolled already")
        if self.active.get(slot) != old:
            raise _Contradiction(f"slot {slot} is filled by another device than the entry says")
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

    def _revoke(self, body: dict[str, Any], by: str) -> None:
        device = self.devices.get(body["kid"])
        if device is None or device.end is not None:
            raise _Contradiction(f"device {body['kid'].hex()} is not active")
        self.devices[device.kid] = replace(device, end=body["at"], ended_by=by)
        del self.active[device.slot]

    def _trust(self, body: dict[str, Any], by: str) -> None:
        if body["version"] <= max(self.trusts, default=0):
            raise _Contradiction(
                f"trust document {body['version']} is not newer than the one before"
            )
        self.trusts[body["version"]] = body["hash"]

    def _kit(self, body: dict[str, Any], by: str) -> None:
        if body["id"] in self.kits:
            raise _Contradiction(f"kit {body['id'].hex()} is there already")
        self.kits[body["id"]] = OfficeKit(body["technician"], body["expires"])

    def _kit_revoke(self, body: dict[str, Any], by: str) -> None:
        kit = self.kits.get(body["id"])
        if kit is None or kit.revoked_at is not None:
            raise _Contradiction(f"kit {body['id'].hex()} is not valid")
        self.kits[body["id"]] = replace(kit, revoked_at=body["at"])

    def _contract(self, body: dict[str, Any], by: str) -> None:
        known = self.contracts.get(body["id"])
        if known is not None and known.withdrawn_at is None:
            raise _Contradiction(f"contract {body['id']} is there already")
        self.contracts[body["id"]] = _contract_entry(body, by)

    def _contract_withdraw(self, body: dict[str, Any], by: str) -> None:
        known = self.contracts.get(body["id"])
        if known is None or known.withdrawn_at is not None:
            raise _Contradiction(f"contract {body['id']} does not hold")
        self.contracts[body["id"]] = replace(known, **_withdrawn(body, by))

    def _event(self, body: dict[str, Any], by: str) -> None:
        if body["id"] in self.events:
            raise _Contradiction(f"event {body['id']} is there already")
        names = ("id", "kind", "scope", "value", "t_begin", "t_end", "who", "why", "added_at")
        self.events[body["id"]] = ContractEvent(*(body[name] for name in names))

    def _event_withdraw(self, body: dict[str, Any], by: str) -> None:
        known = self.events.get(body["id"])
        if known is None or known.withdrawn_at is not None:
            raise _Contradiction(f"event {body['id']} does not hold")
        self.events[body["id"]] = replace(known, **_withdrawn(body, by))

    def _rules(self, body: dict[str, Any], by: str) -> None:
        if body["version"] in self.rules:
            raise _Contradiction(f"version {body['version']} of the rules is there already")
        self.rules[body["version"]] = body["document"], body["at"], by

    def _close(self, body: dict[str, Any], by: str) -> None:
        month, edition = body["month"], body["edition"]
        before = self.newest_month(month)
        if edition != (before.edition if before else 0) + 1:
            raise _Contradiction(f"edition {edition} of {month} does not follow the one before")
        if before is not None and before.opened_at is None:
            raise _Contradiction(f"{month} is closed already")
        self.months[month, edition] = OfficeMonth(
            *(month, edition, body["rules"], body["digest"], body["receipt"], body["at"], by)
        )

    def _reopen(self, body: dict[str, Any], by: str) -> None:
        known = self.months.get((body["month"], body["edition"]))
        if known is None or known.opened_at is not None:
            raise _Contradiction(f"edition {body['edition']} of {body['month']} is not closed")
        self.months[known.month, known.edition] = replace(
            known, opened_at=body["at"], opened_by=by, opened_why=body["why"]
        )

    def _village(self, body: dict[str, Any], by: str) -> None:
        self.villages[body["code"]] = body["name"], body["district"], body["regency"]

    def _lost(self, body: dict[str, Any], by: str) -> None:
        found = LostReceipts(body["first"], body["last"], body["why"], body["at"], by)
        if found.first > found.last:
            raise _Contradiction("it ends before it begins")
        if any(found.first <= each.last and each.first <= found.last for each in self.lost):
            raise _Contradiction("one of the receipts is declared lost already")
        self.lost.append(found)

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
