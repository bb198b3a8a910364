"""Compares what the province derived with the truth of a simulation.

Where the province has a device's report (`told` in the truth), the derived states must be the true
ones. Where it has none it can't know the state, and must not say that the slot was up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from host_tools.common.i18n import _, number
from host_tools.simulate.truth import VillageTruth, read
from host_tools.simulate.world import DEGRADED, OFF, UP
from host_tools.store import Database, queries

LONG_S = 300  # an outage that counts
_NOTHING = "no_data"
# An outage is the same in both if the cause is, and they share so much of the longer one.
_SHARED = 0.5

Span = tuple[int, int, str]


@dataclass
class Difference:
    """What is derived of a village, or of several, beside what was true.

    true_s, derived_s: seconds by state, in the time that was reported. wrong_s: those of them in
    which the states differ. hidden_up_s: seconds shown as up or wrongly as degraded, of which
    nothing was reported. missed, invented: outages over five minutes. bytes: down and up together.
    """

    slot: str = ""
    special: str = ""
    reported_s: int = 0
    true_s: Counter[str] = field(default_factory=Counter)
    derived_s: Counter[str] = field(default_factory=Counter)
    wrong_s: int = 0
    hidden_up_s: int = 0
    outages: int = 0
    missed: list[Span] = field(default_factory=list)
    invented: list[Span] = field(default_factory=list)
    true_bytes: int = 0
    derived_bytes: int = 0

    def add(self, other: Difference) -> None:
        for name in (
            "reported_s",
            "wrong_s",
            "hidden_up_s",
            "outages",
            "true_bytes",
            "derived_bytes",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.true_s += other.true_s
        self.derived_s += other.derived_s
        self.missed += other.missed
        self.invented += other.invented

    @property
    def wrong_percent(self) -> float:
        """Share of the reported time in which the derived state is not the true one."""
        return 100 * self.wrong_s / self.reported_s if self.reported_s else 0.0

    @property
    def bytes_percent(self) -> float:
        """By how many per cent the bytes differ."""
        off = abs(self.derived_bytes - self.true_bytes)
        return 100 * off / self.true_bytes if self.true_bytes else 0.0 if not off else 100.0


@dataclass
class Comparison:
    """All villages. total: those whose clocks were right; wrong_clocks: the others."""

    villages: list[Difference] = field(default_factory=list)
    total: Difference = field(default_factory=Difference)
    wrong_clocks: Difference = field(default_factory=Difference)

    def text(self, worst: int = 10) -> str:
        total, clocks = self.total, self.wrong_clocks
        lines = [f"{'state':<12}{'true min':>14}{'derived min':>14}{'difference':>12}"]
        for state in sorted({*total.true_s, *total.derived_s}):
            true, derived = total.true_s[state] / 60, total.derived_s[state] / 60
            percent = f"{100 * (derived - true) / true:+.2f} %" if true else "-"
            lines.append(f"{state:<12}{true:>14.0f}{derived:>14.0f}{percent:>12}")
        lines += [
            _("Wrong state in {wrong_percent} % of the time that was reported.").format(
                wrong_percent=number(total.wrong_percent, 3)
            ),
            _("Shown as up, or wrongly as degraded, without a report: {minutes} min.").format(
                minutes=number(total.hidden_up_s / 60)
            ),
            _("Outages over 5 min: {outages}, missed {missed}, invented {invented}.").format(
                outages=total.outages, missed=len(total.missed), invented=len(total.invented)
            ),
            _("Bytes: {true_bytes} true, {derived_bytes} derived, {percent} % apart.").format(
                true_bytes=total.true_bytes,
                derived_bytes=total.derived_bytes,
                percent=number(total.bytes_percent, 3),
            ),
            _(
                "Villages with a wrong clock, not in the figures above: {wrong_percent} % wrong, "
                "{count} missed, {invented} invented, {hidden_up_s} min shown as up, bytes "
                "{bytes_percent} % apart."
            ).format(
                wrong_percent=number(clocks.wrong_percent, 3),
                count=len(clocks.missed),
                invented=len(clocks.invented),
                hidden_up_s=number(clocks.hidden_up_s / 60),
                bytes_percent=number(clocks.bytes_percent, 3),
            ),
            "",
            f"{'worst villages':<16}{'special':<16}{'wrong min':>10}{'up unknown':>12}"
            f"{'missed':>8}{'invented':>10}{'bytes':>9}",
        ]
        ranked = sorted(
            self.villages,
            key=lambda d: (-d.wrong_s - d.hidden_up_s - 300 * len(d.missed + d.invented), d.slot),
        )
        lines += [
            f"{d.slot:<16}{d.special:<16}{d.wrong_s / 60:>10.0f}{d.hidden_up_s / 60:>12.0f}"
            f"{len(d.missed):>8}{len(d.invented):>10}{d.bytes_percent:>8.3f}%"
            for d in ranked[:worst]
        ]
        return "\n".join(lines)


def compare(db: Database, truth: Path) -> Comparison:
    """Compare a province's database, wholly derived, with the truth.

    Raises:
        ProvinceError: there is no such file.
    """
    result = Comparison()
    for village in read(truth):
        difference = _village(db, village)
        result.villages.append(difference)
        (result.total if village.clock_right else result.wrong_clocks).add(difference)
    return result


def _village(db: Database, truth: VillageTruth) -> Difference:
    derived = [(i.begin, i.end, i.state) for i in queries.intervals(db, truth.slot)]
    result = Difference(truth.slot, truth.special)
    true = [(begin, end, state) for begin, end, state, _cause in truth.spells]
    told = [(begin, end, "told") for begin, end in truth.told]
    for length, states in _together(told, true, derived):
        is_reported, its_true, its_derived = states
        if is_reported is None:
            # An outage may be reported though its samples are lost: then a true state is no guess.
            guessed = its_derived == UP or its_derived == DEGRADED != its_true
            result.hidden_up_s += length * guessed
            continue
        result.reported_s += length
        result.true_s[its_true or _NOTHING] += length
        result.derived_s[its_derived or _NOTHING] += length
        result.wrong_s += length * (its_true != its_derived)
    _outages(db, truth, derived, result)
    usage = queries.usage(db, by="hour", village=truth.slot[:10])
    result.derived_bytes = sum((u.bytes_down or 0) + (u.bytes_up or 0) for u in usage)
    result.true_bytes = sum(down + up for _hour, down, up, *_rest in truth.hours)
    return result


def _outages(
    db: Database, truth: VillageTruth, derived: Sequence[Span], result: Difference
) -> None:
    """Compare outages, and times without power."""
    true = [s[:3] for s in truth.spells if s[2] != UP]
    told = [
        (max(begin, told_begin), min(end, told_end), cause)
        for begin, end, cause in true
        for told_begin, told_end in truth.told
        if min(end, told_end) - max(begin, told_begin) >= LONG_S
    ]
    # One that lasts reaches to the end of what is known.
    last = max((end for _begin, end, _state in derived), default=0)
    shown = [
        (o.begin, max(o.begin, o.known_until or last) if o.end is None else o.end, o.cause)
        for o in queries.outages(db, slot=truth.slot)
    ]
    shown += [span for span in derived if span[2] in OFF]
    result.outages = len(told)
    result.missed = [span for span in told if not _has(shown, span)]
    result.invented = [
        span for span in shown if span[1] - span[0] >= LONG_S and not _has(true, span)
    ]


def _has(spans: Iterable[Span], wanted: Span) -> bool:
    """Whether the same outage is among spans."""
    begin, end, cause = wanted
    return any(
        its_cause == cause and min(end, e) - max(begin, b) >= _SHARED * (end - begin)
        for b, e, its_cause in spans
    )


def _together(*layers: Sequence[Span]) -> Iterator[tuple[int, tuple[str | None, ...]]]:
    """Each piece of time in which nothing changes: its length, and the state in each layer."""
    edges = sorted({edge for layer in layers for span in layer for edge in span[:2]})
    places = [0] * len(layers)
    for left, right in zip(edges, edges[1:], strict=False):
        states: list[str | None] = []
        for index, layer in enumerate(layers):
            while places[index] < len(layer) and layer[places[index]][1] <= left:
                places[index] += 1
            place = places[index]
            inside = place < len(layer) and layer[place][0] <= left
            states.append(layer[place][2] if inside else None)
        yield right - left, tuple(states)
