"""A stored report with what its figures need (docs/wire.md, "Time").

Nothing here depends on another report. Where a report lies in time may depend on the others of its
boot: that is `t`, which `placing` finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.wire import ids
from host_tools.common.times import PROGRAMME
from host_tools.wire import Event, Refused, Report, hash8, parse_report
from host_tools.wire.columns import decode_column, greatest, total
from host_tools.wire.envelope import split
from host_tools.wire.payload import MAX_TIME

MOST_EVENTS = 100  # of a report the first so many count; an agent makes half as many at most
FUTURE_S = 300  # by which a device's clock may be ahead of the province's
# Times and durations are whole seconds, each rounded by itself. Two that say the same instant may
# differ by this much.
ROUNDING_S = 2
WITA_S = 8 * 3600  # calendar days are those of the province, UTC+8 without summer time
DAY_S = 86400
HOUR_S = 3600

_STATE, _IS_UP = ids.STATE, ids.UP
_DOWN, _UP = ids.BYTES_DOWN, ids.BYTES_UP
_CLIENTS, _PEAK, _DAY = ids.CLIENTS, ids.CLIENTS_PEAK, ids.CLIENTS_DAY
_KEPT = frozenset(
    (_STATE, ids.RTT_MEAN, ids.LOSS, _DOWN, _UP, _CLIENTS, _PEAK, _DAY, ids.JOURNAL_FILL)
)

Values = Sequence[int | None]


class Totals(NamedTuple):
    """What the samples of a report measured together; None: not measured."""

    down: int | None
    up: int | None
    peak: int | None
    day: int | None


def uint(value: object) -> int | None:
    """A value from an event's detail if a clock or a counter can hold it, else None."""
    return value if type(value) is int and 0 <= value <= MAX_TIME else None


def plausible(report: Report, event: Event) -> bool:
    """Whether an event can have happened at its time: not before its boot, not long after the
    report's samples."""
    if report.up + event.offset < -ROUNDING_S:
        return False
    return event.offset <= (report.n + 1) * report.step + FUTURE_S


@dataclass(slots=True, eq=False)
class Reading:
    """A stored report.

    offset: Unix time of the boot's start by the report's own clock; None: not believed.
    t: Unix time of the first sample's start; None: without a place in time.
    extent: seconds from there to the latest instant of which it tells.
    ahead: seconds by which its clock is ahead of its receipt, where that is too much; else 0.
    events: number in the report, event; only those with a place in their boot.
    claims: number in the report, event; `dropped` and `stream_began`, wherever they lie.
    """

    stream_id: int
    seq: int
    boot: int
    up: int
    step: int
    n: int
    prev: bytes | None
    digest: bytes
    received_at: int
    offset: int | None
    t: int | None
    extent: int
    ahead: int
    columns: dict[int, list[int | None]]
    events: tuple[tuple[int, Event], ...]
    claims: tuple[tuple[int, Event], ...]
    # An hour is painted again with each of its reports: what that needs is computed once.
    _values: dict[int, Values] = field(default_factory=dict)
    _totals: Totals | None = None

    @property
    def end(self) -> int:
        """Unix time at which the last sample of a placed report ends."""
        assert self.t is not None
        return self.t + self.n * self.step

    def values(self, metric: int) -> Values:
        values = self._values.get(metric)
        if values is None:
            column = self.columns.get(metric)
            if column is None:
                values = (None,) * self.n
            else:
                values = decode_column(column, self.n, metric)
            self._values[metric] = values
        return values

    def peaks(self) -> Values:
        """The most clients at once in each sample."""
        if _PEAK not in self.columns:
            return self.values(_CLIENTS)
        peaks = self.values(_PEAK)
        if None in peaks:
            clients = self.values(_CLIENTS)
            peaks = [c if peak is None else peak for peak, c in zip(peaks, clients, strict=True)]
        return peaks

    def totals(self) -> Totals:
        """What the samples measured together: the sum of bytes, the most clients."""
        if self._totals is None:
            columns = self.columns
            peaks, day = columns.get(_PEAK, columns.get(_CLIENTS)), columns.get(_DAY)
            if peaks is not None and None in peaks:
                # Where the most of a sample is not known, its clients are.
                peak = max((p for p in self.peaks() if p is not None), default=None)
            else:
                peak = None if peaks is None else greatest(peaks)
            self._totals = Totals(
                total(columns.get(_DOWN), self.n),
                total(columns.get(_UP), self.n),
                peak,
                None if day is None else greatest(day),
            )
        return self._totals

    def last_up(self) -> int | None:
        """Seconds since the boot at the start of the last sample that says up."""
        states = self.values(_STATE)
        for i in range(self.n - 1, -1, -1):
            if states[i] == _IS_UP:
                return self.up + i * self.step
        return None


def read(stream_id: int, received_at: int, message: bytes) -> Reading | None:
    """Read a stored report; None where an older version has stored what this one can't read."""
    try:
        _, begin = split(message)
        report = parse_report(message[begin:-66])
    except Refused:
        return None
    return reading_of(stream_id, received_at, report, hash8(message))


def reading_of(stream_id: int, received_at: int, report: Report, digest: bytes) -> Reading:
    """What the figures need of a report; digest: `prev` of the next one."""
    extent = report.n * report.step
    events, claims = [], []
    for number, event in enumerate(report.events[:MOST_EVENTS]):
        if event.kind in (ids.DROPPED, ids.STREAM_BEGAN):
            claims.append((number, event))
        if plausible(report, event):
            extent = max(extent, event.offset)
            if event.kind in (ids.OUTAGE_BEGAN, ids.OUTAGE_ENDED, ids.BOOTED):
                events.append((number, event))
    start, up = report.start, report.up
    offset, ahead = None, 0
    if start is not None:
        ahead = start + extent - received_at
        if ahead <= FUTURE_S:
            ahead = 0
            offset = start - up if start - up >= PROGRAMME else None
    return Reading(
        stream_id,
        report.seq,
        report.boot,
        up,
        report.step,
        report.n,
        report.prev,
        digest,
        received_at,
        offset,
        None if offset is None else start,
        extent,
        ahead,
        {key: column for key, column in report.metrics.items() if key in _KEPT},
        tuple(events),
        tuple(claims),
    )
