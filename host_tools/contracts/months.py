"""The months of all slots, gathered from registry and store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from host_tools.common.errors import DesalinkError
from host_tools.common.times import DAY_S, WITA_S
from host_tools.contracts.accounting import Charged, ContractTime, account
from host_tools.contracts.calendar import Month
from host_tools.contracts.rules import Rules, first_text, read_rules, rules_for
from host_tools.province.contract_records import ClosedMonth, Contract, ContractEvent
from host_tools.province.records import Village, village_of
from host_tools.province.registry import Registry
from host_tools.store import Database, queries


class MonthError(DesalinkError):
    """A month that can't be counted, closed or opened."""


@dataclass
class MonthUsage:
    """What went through a slot in a month.

    measured_s: seconds that samples cover; by_hour: bytes by hour of the day in WITA;
    unused_days: days that were measured and in which nothing was used.
    """

    measured_s: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    clients_peak: int | None = None
    clients_day: int | None = None
    measured_days: int = 0
    unused_days: int = 0
    by_hour: list[int] = field(default_factory=lambda: [0] * 24)


@dataclass
class SlotMonth:
    """A slot's month. timeline: begin, end, state, clipped to the month."""

    slot: str
    village: Village
    pieces: list[ContractTime]
    usage: MonthUsage
    timeline: list[tuple[int, int, str]]
    events: list[ContractEvent]

    @property
    def seconds(self) -> Counter[str]:
        """By kind, of the whole month."""
        return sum((piece.seconds for piece in self.pieces), Counter())

    @property
    def restitution(self) -> int:
        """Rupiah; each contract's is rounded by itself, half up."""
        return sum(rounded(piece.restitution) for piece in self.pieces)

    @property
    def charged(self) -> list[Charged]:
        """Outages of the provider beyond the threshold, in the order of time."""
        return [outage for piece in self.pieces for outage in piece.charged]

    @property
    def repair_s(self) -> float | None:
        """MTTR: the mean length of those outages."""
        lengths = [outage.end - outage.begin for outage in self.charged]
        return sum(lengths) / len(lengths) if lengths else None

    @property
    def between_s(self) -> float | None:
        """MTBF: the time in which the service worked, for each of them."""
        working = sum(piece.working_s for piece in self.pieces)
        return working / len(self.charged) if self.charged else None

    @property
    def price(self) -> int:
        """Rupiah, rounded as the restitution is."""
        return sum(rounded(piece.price) for piece in self.pieces)


def rounded(amount: Fraction) -> int:
    """To the whole, half up."""
    return (2 * amount.numerator + amount.denominator) // (2 * amount.denominator)


def all_rules(registry: Registry) -> list[Rules]:
    """Every version of the rules that the province has, the oldest first."""
    added = registry.rule_documents()
    found = [] if any(row[0] == 1 for row in added) else [read_rules(first_text(), "rules 1")]
    return found + [read_rules(text, f"rules {version}") for version, text, *_ in added]


def reaches(one: Contract | ContractEvent, month: Month) -> bool:
    """Whether a contract or an event has any time in a month."""
    return one.begin < month.end and month.begin < one.end


def slots_of(registry: Registry, database: Database | None) -> list[str]:
    """Every slot that has a contract, was ever filled, or ever reported."""
    found = {entry.contract.slot for entry in registry.contracts()}
    found |= {device.slot for device in registry.devices()}
    found |= set(queries.slots(database)) if database else set()
    return sorted(found)


def count(
    registry: Registry,
    database: Database | None,
    month: Month,
    rules: Rules,
    *,
    wanted: Callable[[str, Sequence[Contract]], bool] | None = None,
    usage: bool = True,
) -> Iterator[SlotMonth]:
    """Count the month of each slot, in the order of their names.

    Args:
        database: None: nothing was ever reported.
        wanted: of a slot and its contracts in the month: whether to count it; None: all.
        usage: whether to sum up the usage as well, which takes most of the time.
    """
    villages = {village.code: village for village in registry.villages()}
    contracts: dict[str, list[Contract]] = {}
    for entry in registry.contracts():
        own = entry.contract
        if reaches(own, month):
            contracts.setdefault(own.slot, []).append(own)
    events = [e for e in registry.contract_events() if reaches(e, month)]
    for slot in slots_of(registry, database):
        its = contracts.get(slot, [])
        village = villages.get(village_of(slot))
        if village is None or (wanted and not wanted(slot, its)):
            continue
        yield count_slot(database, month, slot, village, its, events, rules, usage=usage)


def count_slot(
    database: Database | None,
    month: Month,
    slot: str,
    village: Village,
    contracts: Sequence[Contract],
    events: Iterable[ContractEvent],
    rules: Rules,
    *,
    usage: bool = True,
) -> SlotMonth:
    """Count the month of one slot.

    Args:
        contracts: those of the slot in the month.
        events: of the month; those that do not concern the slot are left out.
        usage: as for `count`.
    """
    timeline: list[tuple[int, int, str]] = []
    if database:
        timeline = [
            (max(i.begin, month.begin), min(i.end, month.end), i.state)
            for i in queries.intervals(database, slot, begin=month.begin, end=month.end)
        ]
    providers: list[str | None] = [None, *{contract.provider for contract in contracts}]
    about = [event for event in events if any(event.concerns(slot, p) for p in providers)]
    return SlotMonth(
        slot,
        village,
        account(month, slot, timeline, contracts, about, rules),
        _usage(database, slot, month) if database and usage else MonthUsage(),
        timeline,
        about,
    )


def _usage(database: Database, slot: str, month: Month) -> MonthUsage:
    total = MonthUsage()
    days: dict[int, int] = {}
    peaks: list[int] = []
    clients: list[int] = []
    for begin, measured_s, down, up, peak, day in queries.slot_hours(
        database, slot, month.begin, month.end
    ):
        if not measured_s:
            continue
        total.measured_s += measured_s
        if down is None and up is None:
            continue
        used = (down or 0) + (up or 0)
        total.bytes_down += down or 0
        total.bytes_up += up or 0
        local = begin + WITA_S
        total.by_hour[local % DAY_S // 3600] += used
        days[local // DAY_S] = days.get(local // DAY_S, 0) + used + (peak or 0)
        if peak is not None:
            peaks.append(peak)
        if day is not None:
            clients.append(day)
    total.clients_peak, total.clients_day = max(peaks, default=None), max(clients, default=None)
    total.measured_days = len(days)
    total.unused_days = sum(not used for used in days.values())
    return total


def holding(registry: Registry, month: Month) -> ClosedMonth | None:
    """The edition of a closed month that holds, None if it is open."""
    editions = [c for c in registry.closed_months(month.name) if c.opened_at is None]
    return editions[-1] if editions else None


def rules_of(registry: Registry, month: Month) -> Rules:
    """The rules of a month: those it was closed under, else those valid for it.

    Raises:
        RulesError: none are valid for it.
    """
    versions = all_rules(registry)
    closed = holding(registry, month)
    if closed is not None:
        return next(rules for rules in versions if rules.version == closed.rules)
    return rules_for(month.name, versions)


class Paid(NamedTuple):
    """Of a slot's month what is paid by: availability (None: nothing measured), rupiah."""

    availability: Fraction | None
    restitution: int


def paid(slot: SlotMonth) -> Paid:
    """The availability of a slot over all its contracts, and what is paid back."""
    service_s = sum(piece.service_s for piece in slot.pieces)
    working_s = sum(piece.working_s for piece in slot.pieces)
    return Paid(Fraction(working_s, service_s) if service_s else None, slot.restitution)


def compare_rules(
    registry: Registry, database: Database | None, month: Month, rules: Rules, other: Rules
) -> list[tuple[str, Paid, Paid]]:
    """The slots whose month would be another under other rules, and both results."""
    both = zip(
        count(registry, database, month, rules),
        count(registry, database, month, other),
        strict=True,
    )
    found = [(now.slot, paid(now), paid(then)) for now, then in both]
    return [row for row in found if row[1] != row[2]]
