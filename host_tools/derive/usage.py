"""Usage by the hour (docs/metrics.md, "Usage"). Days are sums of hours: WITA's midnights are full
hours of UTC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from host_tools.derive.reading import HOUR_S, Values
from host_tools.wire.columns import MAX_VALUE

Span = tuple[int, int]


@dataclass(slots=True)
class Hour:
    """What went through a slot in an hour; None: not measured."""

    measured_s: int = 0
    bytes_down: int | None = None
    bytes_up: int | None = None
    clients_peak: int | None = None
    clients_day: int | None = None


class Measured(NamedTuple):
    """Samples that follow each other: Unix time of the first's start, seconds of each, values."""

    t: int
    step: int
    n: int
    down: Values
    up: Values
    peak: Values
    day: Values


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


def sum_up(begin: int, end: int, boots: Iterable[Sequence[Measured]]) -> dict[int, Hour]:
    """The hours from begin to end (both full hours) in which something was measured.

    Args:
        boots: the samples of each boot, the first in rank first. All that reach into this time,
            and all that overlap one of those.
    """
    hours: dict[int, Hour] = {}
    taken: list[Span] = []
    for blocks in boots:
        for block in blocks:
            first, last = block.t, block.t + block.n * block.step
            hour = first - first % HOUR_S
            if not taken and last <= hour + HOUR_S and begin <= hour < end:
                _count_whole(hours.setdefault(hour, Hour()), block)
                continue
            for i in range(block.n):
                span = (first + i * block.step, first + (i + 1) * block.step)
                if span[1] > begin and span[0] < end:
                    _count(hours, begin, end, block, i, _without(span, taken))
        taken = union((*taken, *((b.t, b.t + b.n * b.step) for b in blocks)))
    for span_begin, span_end in taken:
        for hour in _hours(max(begin, span_begin), min(end, span_end)):
            covered = min(span_end, hour + HOUR_S) - max(span_begin, hour)
            hours.setdefault(hour, Hour()).measured_s += covered
    return hours


def _hours(begin: int, end: int) -> range:
    return range(begin - begin % HOUR_S, end, HOUR_S)


def _count_whole(row: Hour, block: Measured) -> None:
    """Count samples that lie in an hour, which is what nearly all do."""
    if any(value is not None for value in block.down):
        row.bytes_down = min((row.bytes_down or 0) + sum(filter(None, block.down)), MAX_VALUE)
    if any(value is not None for value in block.up):
        row.bytes_up = min((row.bytes_up or 0) + sum(filter(None, block.up)), MAX_VALUE)
    row.clients_peak = _most(row.clients_peak, block.peak)
    row.clients_day = _most(row.clients_day, block.day)


def _most(most: int | None, values: Values) -> int | None:
    return max((v for v in (most, *values) if v is not None), default=None)


def _count(
    hours: dict[int, Hour],
    begin: int,
    end: int,
    block: Measured,
    i: int,
    parts: Sequence[Span],
) -> None:
    """Count the parts of a sample that no boot before it in rank covers."""
    step = block.step
    last = block.t + (i + 1) * step
    done = 0  # seconds of the sample that were counted in hours before
    for part_begin, part_end in parts:
        for hour in _hours(part_begin, part_end):
            seconds = min(part_end, hour + HOUR_S) - max(part_begin, hour)
            before, done = done, done + seconds
            if not begin <= hour < end:
                continue
            row = hours.setdefault(hour, Hour())
            row.bytes_down = _more(row.bytes_down, block.down[i], before, done, step)
            row.bytes_up = _more(row.bytes_up, block.up[i], before, done, step)
            row.clients_peak = _most(row.clients_peak, block.peak[i : i + 1])
            if hour < last <= hour + HOUR_S and part_end == last:
                row.clients_day = _most(row.clients_day, block.day[i : i + 1])


def _more(total: int | None, value: int | None, before: int, done: int, step: int) -> int | None:
    if value is None:
        return total
    if done - before != step:
        value = value * done // step - value * before // step
    return min((total or 0) + value, MAX_VALUE)
