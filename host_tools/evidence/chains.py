"""The two signed chains of an evidence file: the office log and the receipts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from host_tools.common.i18n import _
from host_tools.common.times import DAY_S, day
from host_tools.contracts.calendar import Month
from host_tools.contracts.months import reaches
from host_tools.contracts.rules import Rules, first_text, read_rules, rules_for
from host_tools.evidence.container import EvidenceError
from host_tools.evidence.recount import Basis
from host_tools.people.office_log import CLOSE, verify_entries
from host_tools.people.office_state import GRACE_S, OfficeMonth, OfficeState
from host_tools.people.receipts import Receipt, verify_receipts
from host_tools.people.trust import RoleSigner, Trust
from host_tools.province.contract_records import Contract

BEFORE_S = 3 * DAY_S
"""What was received so long before the month counts at least: outages reach into it."""

SCOPES = ("village", "regency", "provider")


class Office:
    """An office log, verified, and what follows from it for a month.

    Attributes:
        state: by all entries.
        hashes: of the entries.
        closed: the edition of the month that holds, None while the month is open.
        basis: what the month counts by: for a closed one, as of its closing.
    """

    def __init__(
        self, entries: Iterable[bytes], keys: Mapping[bytes, RoleSigner], month: Month
    ) -> None:
        """
        Raises:
            OfficeLogError: the log is wrong.
            EvidenceError, RulesError: no rules hold for the month.
        """
        self.state = OfficeState()
        self.hashes: list[bytes] = []
        self._ended: dict[bytes, int] = {}
        state = self.state
        closing: OfficeState | None = None
        for entry, digest in verify_entries(entries, keys):
            active = set(state.active.values())
            state.apply(entry, digest)
            self.hashes.append(digest)
            self._ended |= dict.fromkeys(active - set(state.active.values()), entry.time)
            if entry.kind == CLOSE and entry.body["month"] == month.name:
                closing = OfficeState(
                    devices=dict(state.devices),
                    contracts=dict(state.contracts),
                    events=dict(state.events),
                    rules=dict(state.rules),
                )
        newest = state.newest_month(month.name)
        self.closed: OfficeMonth | None = newest
        if newest is None or newest.opened_at is not None:
            self.closed = closing = None
        self._then = closing or state
        self.basis = Basis(
            month,
            self._rules(month),
            [e.contract for e in self._then.contracts.values() if e.withdrawn_at is None],
            [e for e in self._then.events.values() if e.withdrawn_at is None],
        )

    def _rules(self, month: Month) -> Rules:
        texts = {1: first_text()} | {v: row[0] for v, row in self._then.rules.items()}
        versions = [read_rules(text, f"rules {v}") for v, text in sorted(texts.items())]
        self.rules_text = ""
        if self.closed is None:
            rules = rules_for(month.name, versions)
        else:
            found = [rules for rules in versions if rules.version == self.closed.rules]
            if not found:
                raise EvidenceError(
                    _(
                        "{name} was closed under rules {rules}, which are not in the office log."
                    ).format(name=month.name, rules=self.closed.rules)
                )
            rules = found[0]
        self.rules_text = texts[rules.version]
        return rules

    def slots(self, scope: Mapping[str, str], reported: Collection[str]) -> list[str]:
        """The slots whose figures a file of a scope holds.

        Args:
            reported: those that receipts name.
        """
        contracts: Sequence[Contract] = self.basis.contracts
        found = {device.slot for device in self._then.devices.values()} | set(reported)
        found |= {contract.slot for contract in contracts}
        if "provider" in scope:
            wanted = scope["provider"]
            month = self.basis.month
            found &= {c.slot for c in contracts if c.provider == wanted and reaches(c, month)}
            return sorted(found)
        return sorted(slot for slot in found if slot.startswith("".join(scope.values())))

    def counts(self, kid: bytes, received_at: int) -> bool:
        """Whether what a device signed counts that was received at a time. A device that was
        replaced reports until the office enters it."""
        device = self.state.devices[kid]
        ended = self._ended.get(kid, 0)
        return device.counts(received_at) or received_at <= ended + GRACE_S


class Expected(NamedTuple):
    """What a receipt says of a stream."""

    receipt: int
    kid: bytes
    stream: bytes
    reports: int
    highest: int
    digest: bytes


class ReceiptChain:
    """All receipts, and what those from `first` to `last` say of the streams of some slots.

    Attributes:
        expected: by slot, in the order of receipt, kid and stream.
        reported: all slots that receipts up to `last` name.
        spans: begin and end of each receipt.
        hashes: of the receipts.
        lost: by number of a receipt that is declared lost, how many reports of the slots it
            counts.
    """

    def __init__(
        self, office: Office, trusts: Iterable[Trust], slots: Collection[str] | None = None
    ) -> None:
        """
        Args:
            slots: None: all.
        """
        self._office = office
        self._versions = {trust.version for trust in trusts}
        self._slots = slots
        self.expected: dict[str, list[Expected]] = {}
        self.reported: set[str] = set()
        self.spans: list[tuple[int, int]] = []
        self.hashes: list[bytes] = []
        self.lost: Counter[int] = Counter()

    def walk(
        self, receipts: Iterable[bytes], keys: Mapping[bytes, RoleSigner], first: int, last: int
    ) -> Iterator[Receipt]:
        """Verify the receipts one after the other.

        Raises:
            EvidenceError, ReceiptError: the first thing that is wrong.
        """
        for receipt, digest in verify_receipts(receipts, keys):
            self._check(receipt)
            self.spans.append((receipt.begin, receipt.end))
            self.hashes.append(digest)
            lost = self._office.state.is_lost(receipt.number)
            for s in receipt.streams if receipt.number <= last else ():
                self.reported.add(s.slot)
                if receipt.number < first or not (self._slots is None or s.slot in self._slots):
                    continue
                if lost:
                    self.lost[receipt.number] += s.count
                    continue
                self.expected.setdefault(s.slot, []).append(
                    Expected(receipt.number, s.kid, s.stream, s.count, s.highest_seq, s.digest)
                )
            yield receipt

    def _check(self, receipt: Receipt) -> None:
        where = f"Receipt {receipt.number} of {day(receipt.end)}"
        hashes = self._office.hashes
        if receipt.office is not None:
            number, its = receipt.office
            if number >= len(hashes):
                raise EvidenceError(
                    _(
                        "{where} knows entry {number} of the office log, and the log ends with "
                        "entry {count}: what the office did last is left out."
                    ).format(where=where, number=number, count=len(hashes) - 1)
                )
            if hashes[number] != its:
                raise EvidenceError(
                    _(
                        "{where} names another entry {number} of the office log than is there: "
                        "the log was written anew afterwards."
                    ).format(where=where, number=number)
                )
        if receipt.trust and receipt.trust not in self._versions:
            raise EvidenceError(
                _(
                    "{where} knows trust document {trust}, and it is not there: a key that it "
                    "revokes could seem valid."
                ).format(where=where, trust=receipt.trust)
            )
