"""A slot's timeline and usage between two times, from its readings, outages and off times."""

from __future__ import annotations

from itertools import repeat
from operator import gt

from agent.wire import ids
from host_tools.derive.reading import DAY_S, HOUR_S, WITA_S, Reading
from host_tools.derive.readings import Readings
from host_tools.derive.timeline import (
    LAG_S,
    SEAM_S,
    Interval,
    Outage,
    Sample,
    merged,
    paint,
    paint_boot,
)
from host_tools.derive.usage import sum_up
from host_tools.store.derived import Derived
from host_tools.store.derived_rows import HourRow, LatestRow, Span
from host_tools.store.derived_schema import CHUNK
from host_tools.store.streams import Streams
from host_tools.store.timelines import Timelines
from host_tools.wire.vocabulary import NO_DATA, state_name

_TOUCH_S = LAG_S + SEAM_S
_REACH_S = 600  # by which nearly no sample reaches farther
# An hour with more is crowded, and shows nothing: 3200 reports, one in a second.
MOST_CHUNKS = 200
MOST_ROWS = 2000  # outages, and times in which nothing ran
_PLAIN = (ids.UP, ids.UNKNOWN, None)
_NEWEST = 10  # samples, of which the newest value of each metric is that of now

Rank = tuple[bytes, bytes, int]  # kid, stream, boot: where two tell of the same time


class Slot:
    """Paints one slot again."""

    def __init__(
        self,
        derived: Derived,
        timelines: Timelines,
        readings: Readings,
        streams: Streams,
        latest: LatestRow,
    ) -> None:
        self._derived = derived
        self._timelines = timelines
        self._readings = readings
        self._streams = streams
        self._id = latest.slot_id
        self._latest = latest

    def _rank(self, stream_id: int, boot: int) -> Rank:
        stream = self._streams.by_id(stream_id)
        return stream.kid, stream.stream, boot

    def affected(self, begin: int, end: int) -> Span:
        """The hours that follow from evidence in these, both full hours."""
        derived, latest = self._derived, self._latest
        nearby = begin - DAY_S - HOUR_S, end + DAY_S + HOUR_S
        if self._crowded(derived.chunks_in(self._id, *nearby, latest.longest_s, MOST_CHUNKS + 1)):
            # They may make other hours crowded, as far as the longest sample reaches.
            return begin - DAY_S, end + DAY_S
        if latest.t_end is None or latest.t_end <= end:
            return begin, end
        chunks = derived.chunks_in(self._id, end, end, latest.longest_s)
        _, high = _reach(self._readings.between(chunks, end, end), end, end)
        return begin, -(-high // HOUR_S) * HOUR_S

    def explained(self, begins: list[int]) -> list[Span]:
        """What outages explain of the hour before that in which they begin.

        A sample may reach from there to an outage; it is painted in both hours.
        """
        first: dict[int, int] = {}
        for begin in begins:
            hour = begin // HOUR_S * HOUR_S
            first[hour] = min(begin, first.get(hour, begin))
        spans = []
        for hour, begin in first.items():
            longest_s = self._latest.longest_s
            chunks = self._derived.chunks_in(self._id, hour, hour, longest_s, MOST_CHUNKS + 1)
            if self._crowded(chunks):
                continue
            for reading in self._readings.between(chunks, hour, hour):
                t, step = reading.t or 0, reading.step
                start = t + (hour - t) // step * step
                if start < hour and start + step + SEAM_S >= begin:
                    spans.append((start, hour))
        return spans

    def paint(self, begin: int, end: int) -> int:
        """Make intervals and usage again from begin, or from there to an earlier end.

        Args:
            begin: a full hour, as is the end.

        Returns:
            Up to where that was done.
        """
        found = self._evidence(begin, end)
        if found is None and end > begin + HOUR_S:
            end = begin + HOUR_S
            found = self._evidence(begin, end)
        if found is None:
            self._replace(begin, end, [(begin, end, NO_DATA)])
            self._usage(begin, end, [])
            return end
        boots, told, offs = found
        layers = [
            paint_boot(_samples(boots.get(rank, [])), told.get(rank, []))
            for rank in sorted(boots.keys() | told.keys())
        ]
        self._replace(begin, end, paint(begin, end, layers, offs))
        self._usage(begin, end, [boots[rank] for rank in sorted(boots)])
        return end

    def _evidence(
        self, begin: int, end: int
    ) -> tuple[dict[Rank, list[Reading]], dict[Rank, list[Outage]], list[Interval]] | None:
        """What a time is painted from: by boot the readings with samples that reach into it, and
        with others that touch one of them, and its outages; and the times in which nothing ran.

        Returns:
            None if the time is crowded.
        """
        derived, slot_id, longest_s = self._derived, self._id, self._latest.longest_s
        many = MOST_CHUNKS + 1
        chunks = derived.chunks_in(slot_id, begin - _REACH_S, end + _REACH_S, longest_s, many)
        crowded = self._crowded(chunks)
        if crowded:
            chunks = derived.chunks_in(slot_id, begin, end, longest_s, many)
            if self._crowded(chunks):
                return None
        low, high = _reach(self._readings.between(chunks, begin, end), begin, end)
        low, high = low - _TOUCH_S, high + _TOUCH_S
        if crowded or low < begin - _REACH_S or high > end + _REACH_S:
            chunks = derived.chunks_in(slot_id, low, high, longest_s, many)
            if self._crowded(chunks):
                return None
        outages = derived.outages_in(slot_id, low, high, longest_s, MOST_ROWS + 1)
        offs = derived.offs(slot_id, low, high, longest_s, MOST_ROWS + 1)
        if len(outages) > MOST_ROWS or len(offs) > MOST_ROWS:
            return None
        runs: dict[tuple[int, int], list[Reading]] = {}
        for reading in self._readings.between(chunks, low, high):
            runs.setdefault((reading.stream_id, reading.boot), []).append(reading)
        for readings in runs.values():
            readings.sort(key=lambda r: (r.t, r.seq))
        boots = {self._rank(*run): readings for run, readings in runs.items()}
        told: dict[Rank, list[Outage]] = {}
        outages.sort(key=lambda o: (o[2], o[4], o[5]))
        for stream_id, boot, b, e, _, cause, ended in outages:
            its = told.setdefault(self._rank(stream_id, boot), [])
            its.append((b, e, (state_name(cause), bool(ended))))
        ranked = sorted((off[0], self._rank(*run), off) for *run, off in offs)
        return boots, told, [off for *_, off in ranked]

    @staticmethod
    def _crowded(chunks: list[tuple[int, int]]) -> bool:
        return len(chunks) > MOST_CHUNKS

    def _replace(self, begin: int, end: int, painted: list[Interval]) -> None:
        timelines, slot_id = self._timelines, self._id
        extent = timelines.extent(slot_id)
        if extent is not None and (begin > extent[1] or end < extent[0]):
            # The time up to what is known is known to be without data.
            if begin > extent[1]:
                painted = [(extent[1], begin, NO_DATA), *painted]
                begin = extent[1]
            else:
                painted = [*painted, (end, extent[0], NO_DATA)]
                end = extent[0]
        old = timelines.intervals(slot_id, begin, end)
        left = [(b, min(e, begin), state) for b, e, state in old if b < begin]
        right = [(max(b, end), e, state) for b, e, state in old if e > end]
        new = merged([*left, *painted, *right])
        # The record of a slot begins and ends with evidence, not with its absence.
        if new and new[0][2] == NO_DATA and (extent is None or begin <= extent[0]):
            del new[0]
        if new and new[-1][2] == NO_DATA and (extent is None or end >= extent[1]):
            del new[-1]
        gone, come = set(old) - set(new), set(new) - set(old)
        timelines.change_intervals(slot_id, gone, come)

    def _usage(self, begin: int, end: int, boots: list[list[Reading]]) -> None:
        hours = sum_up(begin, end, boots)
        rows = [
            HourRow(hour, h.measured_s, h.bytes_down, h.bytes_up, h.clients_peak, h.clients_day)
            for hour, h in hours.items()
        ]
        changed = self._timelines.put_hours(self._id, begin, end, rows)
        for day in {(hour + WITA_S) // DAY_S * DAY_S - WITA_S for hour in changed}:
            self._timelines.sum_day(self._id, day, day + DAY_S)

    def renew_latest(self) -> None:
        """Find again what is newest, from the last samples of the newest report's boot."""
        latest = self._latest
        found = self._derived.newest_chunk(self._id)
        if found is None:
            latest.t_end = latest.rtt = latest.loss = latest.clients = None
            latest.journal_fill = None
            self._take_cadence()
            return
        stream_id, boot, chunk, latest.t_end = found
        readings = [
            reading
            for number in (chunk - 1, chunk)
            if number >= 0
            for reading in self._readings.chunk(stream_id, number)
            if reading.boot == boot and reading.t is not None and reading.n
        ]
        newest = max((r for r in readings if r.end == latest.t_end), key=lambda r: r.seq)
        latest.stream_id, latest.step = stream_id, newest.step
        last = [r for r in readings if newest.seq - CHUNK < r.seq <= newest.seq]
        # A round-trip time from before the link went down is not one of now.
        down = newest.values(ids.RTT_MEAN)[-1] is None
        latest.rtt = None if down else _newest_value(last, ids.RTT_MEAN)
        latest.loss = _newest_value(last, ids.LOSS)
        latest.clients = _newest_value(last, ids.CLIENTS)
        latest.journal_fill = _newest_value(last, ids.JOURNAL_FILL)

    def _take_cadence(self) -> None:
        """How often a device reports of whose reports the time is not known."""
        last = self._derived.last_chunk(self._id)
        readings = self._readings.chunk(*last) if last is not None else []
        if readings:
            self._latest.stream_id, self._latest.step = readings[-1].stream_id, readings[-1].step


def _newest_value(readings: list[Reading], metric: int) -> int | None:
    """The newest value that is not null of the last ten samples of some readings."""
    left = _NEWEST
    for reading in reversed(readings):
        for value in reversed(reading.values(metric)[-left:]):
            if value is not None:
                return value
        left -= reading.n
        if left <= 0:
            break
    return None


def _reach(readings: list[Reading], begin: int, end: int) -> Span:
    """From where to where the samples reach that lie in a time in part."""
    low, high = begin, end
    for reading in readings:
        t, step = reading.t or 0, reading.step
        if t < begin:
            low = min(low, t + (begin - t) // step * step)
        if t + reading.n * step > end:
            high = max(high, t + -(-(end - t) // step) * step)
    return low, high


def _samples(readings: list[Reading]) -> list[Sample]:
    """In the order of their start; readings are."""
    begins = [reading.t or 0 for reading in readings]
    ends = [reading.end for reading in readings]
    if any(map(gt, ends, begins[1:])):
        ordered = sorted(
            ((reading.t or 0) + i * reading.step, reading.seq, i, reading)
            for reading in readings
            for i in range(reading.n)
        )
        return [(t, r.step, r.values(ids.STATE)[i]) for t, _, i, r in ordered]
    samples: list[Sample] = []
    for t, end, reading in zip(begins, ends, readings, strict=True):
        step, n = reading.step, reading.n
        states = reading.values(ids.STATE)
        if states[0] in _PLAIN and states.count(states[0]) == n:
            # Painted as one: no outage explains them.
            samples.append((t, end - t, states[0]))
        else:
            samples += zip(range(t, end, step), repeat(step), states)
    return samples


def hours_of(spans: list[Span]) -> list[Span]:
    """Spans and what touches them, widened to full hours, those that touch joined."""
    result: list[Span] = []
    for begin, end in sorted(spans):
        begin, end = begin - _TOUCH_S, end + _TOUCH_S
        begin, end = begin - begin % HOUR_S, -(-end // HOUR_S) * HOUR_S
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return result
