"""Usage by the hour (docs/metrics.md, "Usage"). Days and months are sums of hours: WITA's midnights
are full hours of UTC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from host_tools.derive.reading import HOUR_S
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


@dataclass(slots=True)
class Measured:
    """One sample: start and step in seconds, and what it counts."""

    t: int
    step: int
    down: int | None
    up: int | None
    peak: int | None
    day: int | None


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
    for samples in boots:
        for sample in samples:
            span = (sample.t, sample.t + sample.step)
            if span[1] > begin and span[0] < end:
                _count(hours, begin, end, sample, _without(span, taken) if taken else [span])
        taken = union((*taken, *((s.t, s.t + s.step) for s in samples)))
    for span_begin, span_end in taken:
        for hour in _hours(max(begin, span_begin), min(end, span_end)):
            covered = min(span_end, hour + HOUR_S) - max(span_begin, hour)
            hours.setdefault(hour, Hour()).measured_s += covered
    return hours


def _hours(begin: int, end: int) -> range:
    return range(begin - begin % HOUR_S, end, HOUR_S)


def _count(
    hours: dict[int, Hour], begin: int, end: int, sample: Measured, parts: Sequence[Span]
) -> None:
    """Count the parts of a sample that no boot before it in rank covers."""
    last = sample.t + sample.step
    done = 0  # seconds of the sample that were counted in hours before
    for part_begin, part_end in parts:
        for hour in _hours(part_begin, part_end):
            seconds = min(part_end, hour + HOUR_S) - max(part_begin, hour)
            before, done = done, done + seconds
            if not begin <= hour < end:
                continue
            row = hours.setdefault(hour, Hour())
            row.bytes_down = _more(row.bytes_down, sample.down, before, done, sample.step)
            row.bytes_up = _more(row.bytes_up, sample.up, before, done, sample.step)
            if sample.peak is not None:
                row.clients_peak = max(sample.peak, row.clients_peak or 0)
            if sample.day is not None and hour < last <= hour + HOUR_S and part_end == last:
                row.clients_day = max(sample.day, row.clients_day or 0)


def _more(total: int | None, value: int | None, before: int, done: int, step: int) -> int | None:
    if value is None:
        return total
    if done - before != step:
        value = value * done // step - value * before // step
    return min((total or 0) + value, MAX_VALUE)
