"""The state of a slot from-to, without holes (docs/wire.md, "The timeline").

First each boot by itself: its samples, and over them its outages, which are true to a round of
probes where samples are true to a minute. An outage whose end was not reported is known only where
there are samples. Then the boots of a slot over each other, the first in rank on top. Below all of
them lie the times in which nothing ran. The rest is `no_data`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import TypeVar

from agent.wire import ids
from host_tools.wire.vocabulary import NO_DATA, state_name

# Samples of one boot follow each other without a gap but for rounding and steps of the clock.
SEAM_S = 10
# The state of a sample follows its link by a few rounds (hysteresis); an outage that has ended
# less than this before a sample explains a state that is not up yet.
LAG_S = 30

_UNKNOWN, _UP = state_name(ids.UNKNOWN), state_name(ids.UP)

Interval = tuple[int, int, str]  # begin, end, state
Sample = tuple[int, int, int | None]  # start, step, state at its end
Cause = tuple[str, bool]  # the state that an outage shows, and whether its end was reported
Outage = tuple[int, int, Cause]  # begin, end
Shown = TypeVar("Shown")


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Ascending intervals with equal neighbours joined and empty ones left out."""
    result: list[Interval] = []
    for begin, end, state in intervals:
        if begin >= end:
            continue
        if result and result[-1][2] == state and result[-1][1] == begin:
            result[-1] = (result[-1][0], end, state)
        else:
            result.append((begin, end, state))
    return result


def _disjoint(intervals: Iterable[tuple[int, int, Shown]]) -> list[tuple[int, int, Shown]]:
    """Intervals in the order of their beginning; where they overlap, the later one is seen."""
    result: list[tuple[int, int, Shown]] = []
    for interval in intervals:
        begin, end, _ = interval
        if begin >= end:
            continue
        rest: list[tuple[int, int, Shown]] = []
        while result and result[-1][1] > begin:
            old_begin, old_end, state = result.pop()
            if old_end > end:
                rest.append((max(old_begin, end), old_end, state))
            if old_begin < begin:
                result.append((old_begin, begin, state))
                break
        result += [interval, *reversed(rest)]
    return result


def _over(top: Sequence[Interval], bottom: Sequence[Interval]) -> list[Interval]:
    """One disjoint layer over another."""
    if not bottom or not top:
        return list(top or bottom)
    result: list[Interval] = []
    at = 0
    for begin, end, state in bottom:
        while at < len(top) and top[at][1] <= begin:
            result.append(top[at])
            at += 1
        while at < len(top) and top[at][0] < end:
            if begin < top[at][0]:
                result.append((begin, top[at][0], state))
            begin = top[at][1]
            if begin > end:
                break
            result.append(top[at])
            at += 1
        if begin < end:
            result.append((begin, end, state))
    return result + list(top[at:])


def _sampled(samples: Sequence[Sample], outages: Sequence[Outage]) -> list[Interval]:
    """What samples say of the time they cover, but for outages, which are painted over it."""
    begins = [begin for begin, _, _ in outages]
    layer: list[Interval] = []
    before, before_end = _UNKNOWN, 0  # the state at the sample's start, as far as it is known
    for number, (t, step, code) in enumerate(samples):
        if t - before_end > SEAM_S:
            before = _UNKNOWN
        end = before_end = t + step
        if number + 1 < len(samples):
            following = samples[number + 1][0]
            if end < following <= end + SEAM_S:
                end = following
        state = state_name(code)
        shown = state
        if state not in (_UP, _UNKNOWN):
            at = bisect_right(begins, end) - 1
            if at >= 0 and outages[at][1] >= t - LAG_S:
                # An outage tells when exactly; the rest of the sample is what was before or after.
                shown = _UNKNOWN if before == _UNKNOWN else _UP
        layer.append((t, end, shown))
        before = state
    return _disjoint(layer)


def _known(outages: Sequence[Outage], sampled: Sequence[Interval]) -> list[Interval]:
    """What is known of outages: all of one whose end was reported, else what samples cover."""
    covered = merged((begin, end, "") for begin, end, _ in sampled)
    ends = [end for _, end, _ in covered]
    result: list[Interval] = []
    for begin, end, (state, ended) in outages:
        if ended:
            result.append((begin, end, state))
            continue
        for at in range(bisect_right(ends, begin), len(covered)):
            its_begin, its_end, _ = covered[at]
            if its_begin >= end:
                break
            result.append((max(begin, its_begin), min(end, its_end), state))
    return result


def paint_boot(samples: Sequence[Sample], outages: Iterable[Outage]) -> list[Interval]:
    """The states that one boot reports.

    Args:
        samples: in the order of their start.
        outages: in the order of their beginning.
    """
    seen = _disjoint(outages)
    sampled = _sampled(samples, seen)
    return _over(_known(seen, sampled), sampled)


def paint(
    begin: int, end: int, boots: Iterable[Sequence[Interval]], offs: Iterable[Interval]
) -> list[Interval]:
    """The states of a slot from begin to end, without holes.

    Args:
        boots: what each boot tells, the first in rank first.
        offs: times in which nothing ran, in the order of their beginning.
    """
    layer: list[Interval] = []
    for boot in boots:
        layer = _over(layer, boot)
    layer = _over(layer, _disjoint(offs))
    result: list[Interval] = []
    at = begin
    for its_begin, its_end, state in layer:
        its_begin, its_end = max(its_begin, begin), min(its_end, end)
        if its_begin < its_end:
            result += [(at, its_begin, NO_DATA), (its_begin, its_end, state)]
            at = its_end
    return merged([*result, (at, end, NO_DATA)])
