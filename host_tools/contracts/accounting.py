"""A slot's month, second by second: what the contract says of each, and what follows.

Pure: the same timeline, contracts, events and rules give the same figures. docs/month.md states
the rules so that a stranger can program them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from host_tools.common.times import DAY_S, WITA_S
from host_tools.contracts.calendar import Month
from host_tools.contracts.rules import (
    DOWN,
    KINDS,
    OFF_HOURS,
    SHORT,
    UNKNOWN,
    UP,
    Rules,
    restitution,
)
from host_tools.province.contract_records import (
    FORCE_MAJEURE,
    MAINTENANCE,
    Contract,
    ContractEvent,
)
from host_tools.wire.vocabulary import NO_DATA

# begin, end, state of the timeline
Span = tuple[int, int, str]


@dataclass(frozen=True)
class Charged:
    """An outage of the provider that is longer than the threshold.

    seconds: those of it that are charged; the rest is excluded. causes: seconds by state.
    """

    begin: int
    end: int
    seconds: int
    causes: dict[str, int]


@dataclass
class ContractTime:
    """The time of a month in which one contract is valid for a slot, or none.

    seconds: by kind, they sum to `length`; causes: seconds down by state, charged or short.
    """

    contract: Contract | None
    begin: int
    end: int
    seconds: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    charged: list[Charged] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    """Begin, end and kind, in no order; what they do not cover is off hours."""
    price: Fraction = Fraction(0)
    """Rupiah for this time: the month's price by the share of the month's seconds."""
    restitution: Fraction = Fraction(0)

    @property
    def length(self) -> int:
        return self.end - self.begin

    @property
    def working_s(self) -> int:
        """Seconds in which the service counts as available."""
        return self.seconds[UP] + self.seconds[SHORT]

    @property
    def service_s(self) -> int:
        """Seconds of which it is known whether the provider's service was available."""
        return self.working_s + self.seconds[DOWN]

    @property
    def availability(self) -> Fraction | None:
        """Share of 1, without unknown time; None: nothing was measured."""
        return Fraction(self.working_s, self.service_s) if self.service_s else None

    @property
    def best(self) -> Fraction | None:
        """As if all unknown time were up."""
        return self._with_unknown(self.working_s + self.seconds[UNKNOWN])

    @property
    def worst(self) -> Fraction | None:
        """As if all unknown time were down."""
        return self._with_unknown(self.working_s)

    def _with_unknown(self, working_s: int) -> Fraction | None:
        total = self.service_s + self.seconds[UNKNOWN]
        return Fraction(working_s, total) if total else None


def account(
    month: Month,
    slot: str,
    timeline: Sequence[Span],
    contracts: Iterable[Contract],
    events: Sequence[ContractEvent],
    rules: Rules,
) -> list[ContractTime]:
    """What a slot's month was.

    Args:
        timeline: of the slot, ascending, without overlaps; what it does not cover is no data.
        contracts: of the slot; at each time at most one is valid.
        events: those that do not concern the slot, or its provider of the time, change nothing.
    """
    pieces = []
    for begin, end, contract in _valid(contracts, month.begin, month.end):
        piece = ContractTime(contract, begin, end)
        provider = None if contract is None else contract.provider
        windows = {
            kind: _joined(
                (e.begin, e.end) for e in events if e.kind == kind and e.concerns(slot, provider)
            )
            for kind in (FORCE_MAJEURE, MAINTENANCE)
        }
        _fill(piece, _filled(timeline, begin, end), windows, rules)
        if contract is not None:
            piece.price = Fraction(contract.price * piece.length, month.seconds)
            piece.restitution = restitution(
                rules,
                piece.price,
                contract.target,
                piece.availability,
                piece.seconds[DOWN],
                piece.service_s,
            )
        pieces.append(piece)
    return pieces


def _valid(
    contracts: Iterable[Contract], begin: int, end: int
) -> list[tuple[int, int, Contract | None]]:
    """The time from begin to end, cut where another contract begins or none is valid."""
    pieces: list[tuple[int, int, Contract | None]] = []
    at = begin
    for contract in sorted(contracts, key=lambda contract: contract.begin):
        its_begin, its_end = max(contract.begin, at), min(contract.end, end)
        if its_begin >= its_end:
            continue
        if at < its_begin:
            pieces.append((at, its_begin, None))
        pieces.append((its_begin, its_end, contract))
        at = its_end
    if at < end:
        pieces.append((at, end, None))
    return pieces


def _filled(timeline: Iterable[Span], begin: int, end: int) -> list[Span]:
    """The timeline from begin to end, with no data where it has holes."""
    found: list[Span] = []
    at = begin
    for its_begin, its_end, state in timeline:
        its_begin, its_end = max(its_begin, at), min(its_end, end)
        if its_begin >= its_end:
            continue
        if at < its_begin:
            found.append((at, its_begin, NO_DATA))
        found.append((its_begin, its_end, state))
        at = its_end
    if at < end:
        found.append((at, end, NO_DATA))
    return found


def _joined(windows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for begin, end in sorted(windows):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _within(begin: int, end: int, windows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    return [
        (max(begin, left), min(end, right))
        for left, right in windows
        if max(begin, left) < min(end, right)
    ]


def _outside(begin: int, end: int, windows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of a time no window covers; the windows ascend and do not overlap."""
    found = []
    for left, right in _within(begin, end, windows):
        if begin < left:
            found.append((begin, left))
        begin = right
    if begin < end:
        found.append((begin, end))
    return found


def service_windows(contract: Contract | None, begin: int, end: int) -> list[tuple[int, int]]:
    """The times from begin to end in which the service is owed: each day's hours, in WITA."""
    if contract is None or contract.hours is None:
        return [(begin, end)]
    opens, closes = contract.hours
    midnight = (begin + WITA_S) // DAY_S * DAY_S - WITA_S
    days = range(midnight, end, DAY_S)
    return _within(begin, end, ((day + opens, day + closes) for day in days))


def _fill(
    piece: ContractTime,
    timeline: Sequence[Span],
    windows: dict[str, list[tuple[int, int]]],
    rules: Rules,
) -> None:
    """Give each second of a piece its kind."""
    contract = piece.contract
    excluded = set(rules.excluded.default if contract is None else contract.excluded)
    owed = service_windows(contract, piece.begin, piece.end)
    for run in _runs(timeline, rules):
        meaning = rules.meaning(run[0][2])
        begin, end = run[0][0], run[-1][1]
        # What a contract does not exclude is the provider's.
        provider = meaning == DOWN or (meaning not in (UP, UNKNOWN) and meaning not in excluded)
        kind = meaning if not provider else DOWN if end - begin > rules.threshold_s else SHORT
        charged_s, causes = 0, Counter[str]()
        for left, right, state in run:
            for its_begin, its_end in _within(left, right, owed):
                rest = [(its_begin, its_end)]
                if meaning != UP:
                    for event in (FORCE_MAJEURE, MAINTENANCE):
                        if event not in excluded:
                            continue
                        for inside in (w for r in rest for w in _within(*r, windows[event])):
                            piece.spans.append((*inside, event))
                        rest = [o for r in rest for o in _outside(*r, windows[event])]
                piece.spans += [(*one, kind) for one in rest]
                if provider:
                    piece.causes[state] += _sum(rest)
                if kind == DOWN:
                    charged_s += _sum(rest)
                    causes[state] += _sum(rest)
        if charged_s:
            piece.charged.append(Charged(begin, end, charged_s, dict(+causes)))
    for its_begin, its_end, kind in piece.spans:
        piece.seconds[kind] += its_end - its_begin
    piece.seconds[OFF_HOURS] += piece.length - _sum(owed)
    piece.seconds = Counter({kind: piece.seconds[kind] for kind in KINDS if piece.seconds[kind]})
    piece.causes = +piece.causes


def _sum(windows: Iterable[tuple[int, int]]) -> int:
    return sum(end - begin for begin, end in windows)


def _runs(timeline: Sequence[Span], rules: Rules) -> list[list[Span]]:
    """Neighbours that mean the same: a provider's outage may pass through several causes."""
    runs: list[list[Span]] = []
    for span in timeline:
        if runs and rules.meaning(runs[-1][-1][2]) == rules.meaning(span[2]):
            runs[-1].append(span)
        else:
            runs.append([span])
    return runs
