"""Outages of one boot, from the events that tell their beginning and end (docs/wire.md)."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent.wire import ids
from host_tools.derive.reading import ROUNDING_S, uint
from host_tools.derive.timeline import LAG_S
from host_tools.store.derived_rows import OutageRow, Told

# Of a boot the first so many events of outages count, by seq: some ten a day for three years.
MOST_EVENTS = 20_000


@dataclass(slots=True)
class Surroundings:
    """What the end of an outage depends on beside the events of its boot.

    up_again: (seq, up) -> Unix time of the boot's first sample, by seq, that says up, in a report
        from seq on and at least `up` seconds after the boot's start.
    sampled_until: the latest end of the boot's samples, of those batches that begin before a time,
        or of all.
    later_boot: the stream has a later boot.
    others_t: the latest end of a sample of another boot of the slot.
    """

    up_again: Callable[[int, int], int | None]
    sampled_until: Callable[[int | None], int | None]
    later_boot: bool
    others_t: int | None


def outages_of(events: Iterable[Told], around: Surroundings) -> list[OutageRow]:
    """The outages of a boot in the order of their beginning.

    Args:
        events: of kind 1 and 2, in the order of seq and number.
    """
    outages = sorted(_paired(events), key=lambda o: (o.begin_up, o.cause))
    following: tuple[int, int] | None = None  # beginning of the next one: up, t
    waiting: tuple[int, int] | None = None  # the same, of those that begin in the same second
    at: int | None = None
    for outage in reversed(outages):
        if outage.begin_up != at:
            at, following = outage.begin_up, waiting or following
            waiting = None
        _conclude(outage, following, around)
        begin = outage.began_t
        if begin is None and outage.ended_t is not None and outage.duration is not None:
            begin = outage.ended_t - outage.duration
        if begin is not None:
            waiting = (outage.begin_up, begin)
    return outages


def _paired(events: Iterable[Told]) -> list[OutageRow]:
    began: dict[int, dict[int, Told]] = {}
    ended: dict[int, dict[int, Told]] = {}
    for event in events:
        cause, duration = uint(event.detail.get(1)), uint(event.detail.get(3))
        if event.kind == ids.OUTAGE_BEGAN:
            table, duration = began, 0
        else:
            table = ended
        if cause is None or duration is None or event.up - duration < -ROUNDING_S:
            continue
        # What is told twice counts once, as it was told first.
        table.setdefault(cause, {}).setdefault(event.up - duration, event)
    result = []
    for cause in began.keys() | ended.keys():
        begins, ends = began.get(cause, {}), ended.get(cause, {})
        up_begins, up_ends = sorted(begins), sorted(ends)
        paired = set()
        for up in up_begins:
            outage = OutageRow(up, cause)
            _take_beginning(outage, begins[up])
            end_up = _nearest(up_ends, up, later=True)
            if end_up is not None and _nearest(up_begins, end_up, later=False) == up:
                paired.add(end_up)
                _take_end(outage, ends[end_up])
            result.append(outage)
        for up in up_ends:
            if up not in paired:
                outage = OutageRow(up, cause)
                _take_end(outage, ends[up])
                result.append(outage)
    return result


def _nearest(ups: list[int], up: int, *, later: bool) -> int | None:
    """The nearest of ascending times, at most ROUNDING_S away; of two the later or the earlier."""
    low, high = bisect_left(ups, up - ROUNDING_S), bisect_right(ups, up + ROUNDING_S)
    return min(
        ups[low:high], key=lambda its: (abs(its - up), -its if later else its), default=None
    )


def _take_beginning(outage: OutageRow, event: Told) -> None:
    outage.began_t, outage.told = event.t, event.seq
    evidence = event.detail.get(2)
    if isinstance(evidence, list):
        outage.evidence = json.dumps(evidence, default=bytes.hex)


def _take_end(outage: OutageRow, event: Told) -> None:
    outage.ended_t, outage.duration = event.t, uint(event.detail.get(3))
    outage.flaps = uint(event.detail.get(4)) or 0


def _conclude(outage: OutageRow, following: tuple[int, int] | None, around: Surroundings) -> None:
    """Find begin and end in time."""
    if outage.duration is not None:
        if outage.ended_t is not None:
            outage.t_begin, outage.t_end = outage.ended_t - outage.duration, outage.ended_t
        return
    begin = outage.t_begin = outage.began_t
    if begin is None:
        return
    assert outage.told is not None
    ends = []
    if following is not None:
        up, t = following
        ends.append(min(begin + up - outage.begin_up, t))
    again = around.up_again(outage.told, outage.begin_up + LAG_S)
    if again is not None:
        ends.append(again)
    later = around.later_boot or (around.others_t is not None and around.others_t > begin)
    if ends or later:
        # It is known only as long as there is evidence of it.
        last = around.sampled_until(min(ends, default=None))
        ends.append(begin if last is None else last)
        outage.t_end, outage.interrupted = max(begin, min(ends)), 1
