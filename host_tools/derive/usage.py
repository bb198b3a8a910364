"""Usage by the hour (docs/metrics.md, "Usage"). Days are sums of hours: WITA's midnights are full
hours of UTC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.wire import ids
from host_tools.derive.reading import HOUR_S, Reading
from host_tools.wire.columns import MAX_VALUE

_DOWN, _UP, _DAY = ids.BYTES_DOWN, ids.BYTES_UP, ids.CLIENTS_DAY

Span = tuple[int, int]


@dataclass(slots=True)
class Hour:
    """What went through a slot in an hour; None: not measured."""

    measured_s: int = 0
    bytes_down: int | None = None
    bytes_up: int | None = None
    clients_peak: int | None = None
    clients_day: int | None = None


def union(spans: Iterable[Span]) -> list[Span]:
    """Spans as ascending ones that neither overlap nor touch."""
    result: list[Span] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            if end > result[-1][1]:
                result[-1] = (result[-1][0], end)
        elif begin < end:
            result.append((begin, end))
    return result


def _without(span: Span, taken: Sequence[Span]) -> list[Span]:
    begin, end = span
    result: list[Span] = []
    for its_begin, its_end in taken:
        if its_end <= begin:
            continue
        if its_begin >= end:
            break
        if begin < its_begin:
            result.append((begin, its_begin))
        begin = its_end
    if begin < end:
        result.append((begin, end))
    return result


def sum_up(begin: int, end: int, boots: Iterable[Sequence[Reading]]) -> dict[int, Hour]:
    """The hours from begin to end (both full hours) in which something was measured.

    Args:
        boots: the placed readings of each boot, the first in rank first. All that reach into this
            time, and all that overlap one of those.
    """
    hours: dict[int, Hour] = {}
    taken: list[Span] = []
    for readings in boots:
        spans: list[Span] = []
        for reading in readings:
            first, last, step = reading.t or 0, reading.end, reading.step
            spans.append((first, last))
            if last <= begin or first >= end:
                continue
            hour = first - first % HOUR_S
            alone = not taken or _without(spans[-1], taken) == spans[-1:]
            if alone and last <= hour + HOUR_S and hour >= begin:
                row = hours.get(hour)
                if row is None:
                    row = hours[hour] = Hour()
                _count_whole(row, reading)
                continue
            for i in range(
                max(0, (begin - first) // step), min(reading.n, -(-(end - first) // step))
            ):
                span = (first + i * step, first + (i + 1) * step)
                parts = [span] if alone else _without(span, taken)
                _count(hours, begin, end, reading, i, parts)
        taken = union((*taken, *spans))
    for span_begin, span_end in taken:
        for hour in _hours(max(begin, span_begin), min(end, span_end)):
            covered = min(span_end, hour + HOUR_S) - max(span_begin, hour)
            hours.setdefault(hour, Hour()).measured_s += covered
    return hours


def _hours(begin: int, end: int) -> range:
    return range(begin - begin % HOUR_S, end, HOUR_S)


def _count_whole(row: Hour, reading: Reading) -> None:
    """Count samples that lie in an hour, which is what nearly all do."""
    down, up, peak, day = reading.totals()
    if down is not None:
        row.bytes_down = min((row.bytes_down or 0) + down, MAX_VALUE)
    if up is not None:
        row.bytes_up = min((row.bytes_up or 0) + up, MAX_VALUE)
    row.clients_peak = _most(row.clients_peak, peak)
    row.clients_day = _most(row.clients_day, day)


def _most(most: int | None, value: int | None) -> int | None:
    if most is None or value is None:
        return value if most is None else most
    return max(most, value)


def _count(
    hours: dict[int, Hour],
    begin: int,
    end: int,
    reading: Reading,
    i: int,
    parts: Sequence[Span],
) -> None:
    """Count the parts of a sample that no boot before it in rank covers."""
    step = reading.step
    last = (reading.t or 0) + (i + 1) * step
    down, up = reading.values(_DOWN)[i], reading.values(_UP)[i]
    done = 0  # seconds of the sample that were counted in hours before
    for part_begin, part_end in parts:
        for hour in _hours(part_begin, part_end):
            seconds = min(part_end, hour + HOUR_S) - max(part_begin, hour)
            before, done = done, done + seconds
            if not begin <= hour < end:
                continue
            row = hours.setdefault(hour, Hour())
            row.bytes_down = _more(row.bytes_down, down, before, done, step)
            row.bytes_up = _more(row.bytes_up, up, before, done, step)
            row.clients_peak = _most(row.clients_peak, reading.peaks()[i])
            if hour < last <= hour + HOUR_S and part_end == last:
                row.clients_day = _most(row.clients_day, reading.values(_DAY)[i])


def _more(total: int | None, value: int | None, before: int, done: int, step: int) -> int | None:
    if value is None:
        return total
    if done - before != step:
        value = value * done // step - value * before // step
    return min((total or 0) + value, MAX_VALUE)
