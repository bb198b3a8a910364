"""A slot's timeline and usage between two times, from its readings, outages and off times."""

from __future__ import annotations

from itertools import pairwise, repeat

from agent.wire import ids
from host_tools.derive.reading import DAY_S, HOUR_S, WITA_S, Reading
from host_tools.derive.readings import Readings
from host_tools.derive.timeline import LAG_S, SEAM_S, Interval, Sample, merged, paint, paint_boot
from host_tools.derive.usage import sum_up
from host_tools.store.derived import Derived, HourRow, LatestRow, Span
from host_tools.store.evidence import Streams
from host_tools.wire.vocabulary import NO_DATA, state_name

_TOUCH_S = LAG_S + SEAM_S
_REACH_S = 600  # by which nearly no sample reaches farther
_PLAIN = (ids.UP, ids.UNKNOWN, None)
_NEWEST = 10  # samples, of which the newest value of each metric is that of now

Rank = tuple[bytes, bytes, int]  # kid, stream, boot: where two tell of the same time


class Slot:
    """Paints one slot again."""

    def __init__(
        self, derived: Derived, readings: Readings, streams: Streams, latest: LatestRow
    ) -> None:
        self._derived = derived
        self._readings = readings
        self._streams = streams
        self._id = latest.slot_id
        self._latest = latest

    def _rank(self, stream_id: int, boot: int) -> Rank:
        stream = self._streams.by_id(stream_id)
        return stream.kid, stream.stream, boot

    def paint(self, begin: int, end: int) -> None:
        """Make intervals and usage from begin to end again, both full hours."""
        derived, slot_id = self._derived, self._id
        boots, low, high = self._boots(begin, end)
        outages: dict[Rank, list[tuple[int, int, int, int]]] = {}
        for stream_id, boot, b, e, up, cause in derived.outages_in(
            slot_id, low - _TOUCH_S, high + _TOUCH_S, self._latest.longest_s
        ):
            outages.setdefault(self._rank(stream_id, boot), []).append((b, up, cause, e))
        told = {
            rank: [(b, e, state_name(cause)) for b, _, cause, e in sorted(rows)]
            for rank, rows in outages.items()
        }
        layers = [
            paint_boot(_samples(boots.get(rank, [])), told.get(rank, []))
            for rank in sorted(boots.keys() | told.keys())
        ]
        offs = sorted(
            (off[0], self._rank(stream_id, boot), off)
            for stream_id, boot, off in derived.offs(slot_id, begin, end, self._latest.longest_s)
        )
        self._replace(begin, end, paint(begin, end, layers, [off for *_, off in offs]))
        self._usage(begin, end, [boots[rank] for rank in sorted(boots)])

    def _boots(self, begin: int, end: int) -> tuple[dict[Rank, list[Reading]], int, int]:
        """The readings, by boot, of all samples that reach into a time, and of those that touch
        one of them; and how far the first reach."""
        derived, slot_id = self._derived, self._id
        low, high = begin, end
        longest_s = self._latest.longest_s
        chunks = derived.chunks_in(slot_id, begin - _REACH_S, end + _REACH_S, longest_s)
        for reading in self._readings.between(chunks, begin, end):
            t, step = reading.t, reading.step
            assert t is not None
            if t < begin:
                low = min(low, t + (begin - t) // step * step)
            if reading.end > end:
                high = max(high, t + -(-(end - t) // step) * step)
        low_touched, high_touched = low - _TOUCH_S, high + _TOUCH_S
        if low_touched < begin - _REACH_S or high_touched > end + _REACH_S:
            chunks = derived.chunks_in(slot_id, low_touched, high_touched, longest_s)
        boots: dict[Rank, list[Reading]] = {}
        for reading in self._readings.between(chunks, low_touched, high_touched):
            boots.setdefault(self._rank(reading.stream_id, reading.boot), []).append(reading)
        for readings in boots.values():
            readings.sort(key=lambda r: (r.t, r.seq))
        return boots, low, high

    def _replace(self, begin: int, end: int, painted: list[Interval]) -> None:
        derived, slot_id = self._derived, self._id
        extent = derived.extent(slot_id)
        if extent is not None and (begin > extent[1] or end < extent[0]):
            # The time up to what is known is known to be without data.
            if begin > extent[1]:
                painted = [(extent[1], begin, NO_DATA), *painted]
                begin = extent[1]
            else:
                painted = [*painted, (end, extent[0], NO_DATA)]
                end = extent[0]
        old = derived.intervals(slot_id, begin, end)
        left = [(b, min(e, begin), state) for b, e, state in old if b < begin]
        right = [(max(b, end), e, state) for b, e, state in old if e > end]
        new = merged([*left, *painted, *right])
        # The record of a slot begins and ends with evidence, not with its absence.
        if new and new[0][2] == NO_DATA and (extent is None or begin <= extent[0]):
            del new[0]
        if new and new[-1][2] == NO_DATA and (extent is None or end >= extent[1]):
            del new[-1]
        gone, come = set(old) - set(new), set(new) - set(old)
        derived.change_intervals(slot_id, gone, come)

    def _usage(self, begin: int, end: int, boots: list[list[Reading]]) -> None:
        hours = sum_up(begin, end, boots)
        rows = [
            HourRow(hour, h.measured_s, h.bytes_down, h.bytes_up, h.clients_peak, h.clients_day)
            for hour, h in hours.items()
        ]
        changed = self._derived.put_hours(self._id, begin, end, rows)
        for day in {(hour + WITA_S) // DAY_S * DAY_S - WITA_S for hour in changed}:
            self._derived.sum_day(self._id, day, day + DAY_S)

    def renew_latest(self) -> None:
        """Find again what is newest, from the last samples of the slot."""
        latest = self._latest
        newest: list[tuple[int, Rank, int, int, Reading]] = []
        top: tuple[int, Rank, int, Reading] | None = None
        seen: set[tuple[int, int]] = set()
        for stream_id, chunk, t_end in self._derived.newest_chunks(self._id):
            if (stream_id, chunk) in seen:  # by two boots
                continue
            seen.add((stream_id, chunk))
            if len(newest) >= _NEWEST and t_end < sorted(newest, key=_key)[-_NEWEST][0]:
                break
            for reading in self._readings.chunk(stream_id, chunk):
                if reading.t is None or not reading.n:
                    continue
                rank = self._rank(stream_id, reading.boot)
                mine = (reading.end, rank, reading.seq, reading)
                if top is None or mine[:3] > top[:3]:
                    top = mine
                newest += [
                    (reading.t + i * reading.step, rank, reading.seq, i, reading)
                    for i in range(max(0, reading.n - _NEWEST), reading.n)
                ]
        if top is None:
            latest.t_end = latest.rtt = latest.loss = latest.clients = None
            latest.journal_fill = None
            return
        latest.stream_id, latest.t_end, latest.step = top[3].stream_id, top[0], top[3].step
        last = sorted(newest, key=_key)[-_NEWEST:]
        latest.rtt = _newest_value(last, ids.RTT_MEAN)
        # A round-trip time from before the link went down is not one of now.
        if _newest_value(last[-1:], ids.RTT_MEAN) is None:
            latest.rtt = None
        latest.loss = _newest_value(last, ids.LOSS)
        latest.clients = _newest_value(last, ids.CLIENTS)
        latest.journal_fill = _newest_value(last, ids.JOURNAL_FILL)


def _key(row: tuple[int, Rank, int, int, Reading]) -> tuple[int, Rank, int, int]:
    return row[:4]


def _newest_value(rows: list[tuple[int, Rank, int, int, Reading]], metric: int) -> int | None:
    for _, _, _, i, reading in reversed(rows):
        value = reading.values(metric)[i]
        if value is not None:
            return value
    return None


def _samples(readings: list[Reading]) -> list[Sample]:
    """In the order of their start; readings are."""
    if any(before.end > (after.t or 0) for before, after in pairwise(readings)):
        ordered = sorted(
            ((reading.t or 0) + i * reading.step, reading.seq, i, reading)
            for reading in readings
            for i in range(reading.n)
        )
        return [(t, r.step, r.values(ids.STATE)[i]) for t, _, i, r in ordered]
    samples: list[Sample] = []
    for reading in readings:
        t, step, n = reading.t or 0, reading.step, reading.n
        states = reading.values(ids.STATE)
        if states[0] in _PLAIN and states.count(states[0]) == n:
            # Painted as one: no outage explains them.
            samples.append((t, n * step, states[0]))
        else:
            samples += zip(range(t, t + n * step, step), repeat(step), states)
    return samples


def hours_of(spans: list[Span]) -> list[Span]:
    """Spans widened to full hours, those that touch joined."""
    result: list[Span] = []
    for begin, end in sorted(spans):
        begin, end = begin - begin % HOUR_S, -(-end // HOUR_S) * HOUR_S
        if begin == end:
            end += HOUR_S
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return result
