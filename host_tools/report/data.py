"""What a month's report shows, gathered once for all its pages and tables."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from host_tools.contracts.accounting import Charged, ContractTime
from host_tools.contracts.calendar import Month, before
from host_tools.contracts.closing import canonical, check_closed
from host_tools.contracts.events import about
from host_tools.contracts.months import (
    Paid,
    SlotMonth,
    all_rules,
    count,
    holding,
    paid,
    rounded,
    rules_of,
)
from host_tools.contracts.rules import DOWN, UNKNOWN, Rules, RulesError, rules_for
from host_tools.derive.samples import samples
from host_tools.province.contract_records import Contract, ContractEvent
from host_tools.province.registry import Registry
from host_tools.store import Database, queries

# A slot has got worse if its availability fell by more than this since the month before.
_WORSE = Fraction(1, 100)
_UNUSED_DAYS = 7


@dataclass
class Group:
    """The sum of several contracts: of a provider, of a regency, of all."""

    name: str
    slots: set[str] = field(default_factory=set)
    seconds: Counter[str] = field(default_factory=Counter)
    working_s: int = 0
    service_s: int = 0
    price: int = 0
    restitution: int = 0
    below_target: int = 0
    charged: int = 0

    def add(self, one: SlotMonth, piece: ContractTime) -> None:
        self.slots.add(one.slot)
        self.seconds += piece.seconds
        self.working_s += piece.working_s
        self.service_s += piece.service_s
        self.price += rounded(piece.price)
        self.restitution += rounded(piece.restitution)
        self.charged += len(piece.charged)
        contract, availability = piece.contract, piece.availability
        if contract is not None and availability is not None:
            self.below_target += availability < contract.target

    @property
    def availability(self) -> Fraction | None:
        return Fraction(self.working_s, self.service_s) if self.service_s else None

    @property
    def worst(self) -> Fraction | None:
        total = self.service_s + self.seconds[UNKNOWN]
        return Fraction(self.working_s, total) if total else None

    @property
    def best(self) -> Fraction | None:
        total = self.service_s + self.seconds[UNKNOWN]
        return Fraction(self.working_s + self.seconds[UNKNOWN], total) if total else None

    @property
    def down_s(self) -> int:
        return self.seconds[DOWN]


@dataclass
class DataQuality:
    """How good the data of a slot are: findings by kind, messages in quarantine."""

    slot: str
    coverage: Fraction
    """Share of the month of which a state is known."""
    no_data_s: int
    unknown_s: int
    missing: int
    """Reports that a device has numbered and the province does not have."""
    findings: Counter[str]


class EvidenceFile(NamedTuple):
    """The file from which an outsider recomputes the report: its name and SHA-256."""

    name: str
    digest: str


@dataclass
class MonthReport:
    """A month. `digest`: SHA-256 of the figures; `edition`: None while it is not closed.

    said: by slot, which reports say of its outages. withdrawn: events that do not count any more.
    quarantined: as `queries.quarantined` has it. speeds: by slot, samples of its speed in kbit/s;
    None: they were not asked for.
    """

    province: str
    month: Month
    rules: Rules
    slots: list[SlotMonth]
    total: Group
    providers: list[Group]
    regencies: list[Group]
    worse: list[tuple[SlotMonth, Paid, Paid]]
    unused: list[SlotMonth]
    quality: list[DataQuality]
    events: list[ContractEvent]
    digest: str
    edition: int | None
    partial: bool
    """Whether only some slots were chosen: then the digest is of these."""
    said: dict[str, list[queries.Said]] = field(default_factory=dict)
    withdrawn: list[ContractEvent] = field(default_factory=list)
    quarantined: list[tuple[str, str, int, str, str]] = field(default_factory=list)
    evidence: EvidenceFile | None = None
    speeds: dict[str, list[int]] | None = None

    def reports_of(self, one: SlotMonth, outage: Charged) -> list[queries.Said]:
        """The reports that say of a charged outage."""
        return [
            said
            for said in self.said.get(one.slot, ())
            if said.begin < outage.end and said.end > outage.begin
        ]

    def ranking(self) -> list[tuple[int, SlotMonth, Paid]]:
        """Rank, slot and what it is paid by, the most available first; unknown ones not."""
        known = [(one, its) for one in self.slots if (its := paid(one)).availability is not None]
        known.sort(key=lambda pair: (-(pair[1].availability or 0), pair[0].slot))
        return [(place, *pair) for place, pair in enumerate(known, 1)]


def gather(
    province: str,
    registry: Registry,
    database: Database | None,
    month: Month,
    *,
    wanted: Callable[[str, Sequence[Contract]], bool] | None = None,
    evidence: EvidenceFile | None = None,
    speeds: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> MonthReport:
    """Gather a month.

    Args:
        speeds: with the samples of speed, for which every report of the month is read.
        wanted: of a slot and its contracts in the month: whether the report is about it.
        progress: called with the number of slots that are counted.

    Raises:
        MonthError: the month is closed, and would count otherwise now.
    """
    rules = rules_of(registry, month)
    slots = []
    for one in count(registry, database, month, rules, wanted=wanted):
        slots.append(one)
        progress(len(slots))
    total = Group("")
    providers: dict[str, Group] = {}
    regencies: dict[str, Group] = {}
    for one in slots:
        for piece in one.pieces:
            total.add(one, piece)
            regency = one.village.regency
            regencies.setdefault(regency, Group(regency)).add(one, piece)
            if piece.contract is not None:
                name = piece.contract.provider
                providers.setdefault(name, Group(name)).add(one, piece)
    closed = holding(registry, month)
    if closed is not None:
        check_closed(closed, slots)
    if closed is not None and wanted is None:
        digest = closed.digest.hex()
    else:
        digest = hashlib.sha256(canonical(month, rules, slots)).hexdigest()
    return MonthReport(
        province,
        month,
        rules,
        slots,
        total,
        _ranked(providers.values()),
        _ranked(regencies.values()),
        _worse(registry, database, month, slots),
        [one for one in slots if one.usage.unused_days >= _UNUSED_DAYS],
        _quality(database, month, slots),
        about(registry.contract_events(), month),
        digest,
        None if closed is None else closed.edition,
        wanted is not None,
        said={
            one.slot: queries.said(database, one.slot, month.begin, month.end)
            for one in slots
            if database and one.charged
        },
        withdrawn=[
            event
            for event in about(registry.contract_events(withdrawn=True), month)
            if event.withdrawn_at is not None
        ],
        quarantined=_quarantined(database, month, slots, wanted is None),
        evidence=evidence,
        speeds=_speeds(database, month, slots) if database and speeds else None,
    )


def _speeds(database: Database, month: Month, slots: Sequence[SlotMonth]) -> dict[str, list[int]]:
    return {
        one.slot: [
            speed
            for sample in samples(database, one.slot, month.begin, month.end - 1)
            if (speed := sample.values.get("throughput_down")) is not None
            and month.begin <= sample.t < month.end
        ]
        for one in slots
    }


def _quarantined(
    database: Database | None, month: Month, slots: Sequence[SlotMonth], all_slots: bool
) -> list[tuple[str, str, int, str, str]]:
    names = {one.slot for one in slots}
    found = queries.quarantined(database, month.begin, month.end) if database else []
    return [row for row in found if all_slots or row[0] in names]


def _ranked(groups: Iterable[Group]) -> list[Group]:
    """The best first; those of which nothing is known last."""
    return sorted(groups, key=lambda g: (g.availability is None, -(g.availability or 0), g.name))


def _worse(
    registry: Registry, database: Database | None, month: Month, slots: Sequence[SlotMonth]
) -> list[tuple[SlotMonth, Paid, Paid]]:
    """Slots whose availability fell since the month before: it, now and then; the worst first."""
    earlier = before(month)
    try:
        rules = rules_for(earlier.name, all_rules(registry))
    except RulesError:
        return []
    names = {one.slot for one in slots}
    counted = count(
        registry, database, earlier, rules, wanted=lambda slot, _its: slot in names, usage=False
    )
    then = {one.slot: paid(one) for one in counted}
    found = []
    for one in slots:
        now = paid(one)
        old = then.get(one.slot)
        if old is None or now.availability is None or old.availability is None:
            continue
        if old.availability - now.availability > _WORSE:
            found.append((one, now, old))
    return sorted(found, key=lambda row: (row[1].availability or 0) - (row[2].availability or 0))


def _quality(
    database: Database | None, month: Month, slots: Sequence[SlotMonth]
) -> list[DataQuality]:
    """The slots with the least known time first."""
    findings: dict[str, Counter[str]] = {}
    missing: Counter[str] = Counter()
    if database:
        for finding in queries.findings(database, resolved=True):
            if month.begin <= finding.found_at < month.end:
                findings.setdefault(finding.slot, Counter())[finding.kind] += finding.count
                missing[finding.slot] += finding.missing * (finding.resolved_at is None)
    found = []
    for one in slots:
        unknown = one.seconds[UNKNOWN]
        told = sum(end - begin for begin, end, state in one.timeline if state == "unknown")
        found.append(
            DataQuality(
                one.slot,
                1 - Fraction(unknown, month.seconds),
                unknown - min(told, unknown),
                min(told, unknown),
                missing[one.slot],
                findings.get(one.slot, Counter()),
            )
        )
    return sorted(found, key=lambda quality: (quality.coverage, quality.slot))
