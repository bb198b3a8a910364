"""One slice of the derivation: some reports, and what their arrival has changed so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from host_tools.wire import Event, Report
from host_tools.wire.payload import MAX_TIME

_DAY_S = 86400
WITA_S = 8 * 3600  # calendar days are those of the province, UTC+8 without summer time
FUTURE_S = 300  # by which a device's clock may be ahead of the province's
# Times and durations are whole seconds, each rounded by itself: what they say of one instant may
# differ by this much.
ROUNDING_S = 2
_WINDOW_GAP_S = 3600  # windows closer than this are painted at once

BootKey = tuple[int, int]  # stream id, boot


def day_of(t: int) -> int:
    """The calendar day in WITA of a Unix time, counted from 1970-01-01."""
    return (t + WITA_S) // _DAY_S


def uint(value: object) -> int | None:
    """A value from an event's detail, where a device tells what it likes, if a clock or a counter
    can hold it; else None."""
    return value if type(value) is int and 0 <= value <= MAX_TIME else None


def plausible(report: Report, event: Event) -> bool:
    """Whether an event can have happened when it says: not before its boot, and not long after
    the report's samples, for it is sent with the report that follows it.

    What is judged does not depend on where the report lies in time, which may change."""
    if report.up + event.offset < -ROUNDING_S:
        return False
    return event.offset <= (report.n + 1) * report.step + FUTURE_S


def extent(report: Report) -> int:
    """Seconds from the first sample's start to the latest instant that a report tells of."""
    end = report.n * report.step
    for event in report.events:
        if event.offset > end and plausible(report, event):
            end = event.offset
    return end


@dataclass(slots=True, eq=False)
class Placed:
    """A stored report with its place in time.

    offset: Unix time of the boot's start by the report's own clock, if that is believed.
    t: Unix time of the first sample's start; None while no report of the boot knew the time.
    extent: seconds from there to the latest instant that it tells of.
    """

    report_id: int
    stream_id: int
    slot_id: int
    received_at: int
    report: Report
    digest: bytes
    offset: int | None
    t: int | None
    extent: int

    @property
    def end(self) -> int | None:
        """Unix time at which its last sample ends."""
        return None if self.t is None else self.t + self.report.n * self.report.step


@dataclass(slots=True)
class Changes:
    """What must be looked at again before the slice is committed.

    now: the receipt of the slice's last report; findings are dated by it, so that a rebuild dates
        them alike.
    """

    now: int = 0
    boots: set[BootKey] = field(default_factory=set)
    streams: set[int] = field(default_factory=set)
    slots: set[int] = field(default_factory=set)
    outages: set[int] = field(default_factory=set)
    hours: set[tuple[int, int]] = field(default_factory=set)
    _windows: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def window(self, slot_id: int, begin: int | None, end: int | None) -> None:
        """The state of a slot may have changed from begin to end."""
        if begin is not None and end is not None and end >= begin:
            self._windows.setdefault(slot_id, []).append((begin, end))

    def windows(self) -> list[tuple[int, int, int]]:
        """(slot id, begin, end), near ones of a slot joined."""
        result = []
        for slot_id, spans in self._windows.items():
            spans.sort()
            begin, end = spans[0]
            for next_begin, next_end in spans[1:]:
                if next_begin - end > _WINDOW_GAP_S:
                    result.append((slot_id, begin, end))
                    begin, end = next_begin, next_end
                else:
                    end = max(end, next_end)
            result.append((slot_id, begin, end))
        return result
