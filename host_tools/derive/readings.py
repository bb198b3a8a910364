"""Readings of a database by chunks, decoded once and kept while they are used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from host_tools.derive.reading import Reading, read, reading_of
from host_tools.store.database import Database
from host_tools.store.derived import Derived
from host_tools.store.derived_rows import Work
from host_tools.store.derived_schema import CHUNK
from host_tools.store.evidence import StoredReport, stored_chunk
from host_tools.wire import Report, hash8

_KEPT_CHUNKS = 3000  # some 50 MB; two of each of 841 slots are in use all the time
_MOST_FRESH = 20_000  # some 20 MB

Chunk = list[Reading]  # ascending by seq


class Readings:
    """The evidence, read. Placed as the derived tables say."""

    def __init__(self, db: Database, derived: Derived) -> None:
        self._db = db
        self._derived = derived
        self._kept: OrderedDict[tuple[int, int], Chunk] = OrderedDict()
        self._fresh: dict[tuple[int, int], dict[int, Reading]] = {}
        self._fresh_count = 0

    def forget(self) -> None:
        self._kept.clear()
        self._fresh.clear()
        self._fresh_count = 0

    def take(self, row: StoredReport, report: Report) -> None:
        """Keep a report that was just stored, so that it is not decoded a second time."""
        if self._fresh_count < _MOST_FRESH:
            fresh = self._fresh.setdefault((row.stream_id, row.seq // CHUNK), {})
            self._fresh_count += row.seq not in fresh
            fresh[row.seq] = reading_of(row.stream_id, row.received_at, report, hash8(row.message))

    def waits(self, stream_id: int, chunk: int) -> bool:
        """Whether a chunk has reports that were kept and not derived."""
        return (stream_id, chunk) in self._fresh

    def chunk(self, stream_id: int, chunk: int) -> Chunk:
        key = (stream_id, chunk)
        found = self._kept.get(key)
        if found is None:
            return self._load(key, self._fresh.get(key, {}))
        self._kept.move_to_end(key)
        return found

    def _load(self, key: tuple[int, int], known: Mapping[int, Reading]) -> Chunk:
        first = key[1] * CHUNK
        found = self._read(key, first, first + CHUNK - 1, known)
        if any(reading.offset is None for reading in found):
            places = self._derived.placements(*key)
            for reading in found:
                if reading.offset is None:
                    reading.t = places.get(reading.seq)
        self._keep(key, found)
        return found

    def renew(self, work: Work, stored: int) -> None:
        """Take the reports of a chunk that were stored.

        Args:
            stored: how many seqs of the chunk are.
        """
        key = (work.stream_id, work.chunk)
        fresh = self._fresh.pop(key, {})
        self._fresh_count -= len(fresh)
        found = self._kept.get(key)
        if found is None:
            if len(fresh) == stored:
                self._keep(key, _ascending(fresh))
            else:
                self._load(key, fresh)
            return
        known = {reading.seq: reading for reading in found}
        if len(fresh) != work.reports:
            first, last = work.first_seq, work.last_seq
            renewed = self._read(key, first, last, known | fresh)
            known = {seq: r for seq, r in known.items() if not first <= seq <= last}
            fresh = {reading.seq: reading for reading in renewed}
        self._keep(key, _ascending(known | fresh))

    def digest(self, stream_id: int, seq: int) -> bytes | None:
        """The digest of a report, if its chunk is in memory."""
        for reading in self._kept.get((stream_id, seq // CHUNK), ()):
            if reading.seq == seq:
                return reading.digest
        return None

    def _read(
        self, key: tuple[int, int], first: int, last: int, known: Mapping[int, Reading]
    ) -> Chunk:
        """The readings from a seq to another; those that are known are not decoded again."""
        readings = []
        for row in stored_chunk(self._db, key[0], first, last):
            reading = known.get(row.seq)
            if (
                reading is None
                or reading.received_at != row.received_at
                or reading.digest != hash8(row.message)
            ):
                reading = read(key[0], row.received_at, row.message)
            if reading is not None:
                readings.append(reading)
        return readings

    def _keep(self, key: tuple[int, int], chunk: Chunk) -> None:
        self._kept[key] = chunk
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT_CHUNKS:
            self._kept.popitem(last=False)

    def between(self, chunks: Iterable[tuple[int, int]], begin: int, end: int) -> list[Reading]:
        """The readings of some chunks with samples that touch the time from begin to end."""
        return [
            reading
            for stream_id, chunk in chunks
            for reading in self.chunk(stream_id, chunk)
            if (t := reading.t) is not None
            and (n := reading.n)
            and t <= end
            and t + n * reading.step >= begin
        ]


def _ascending(readings: Mapping[int, Reading]) -> Chunk:
    return [readings[seq] for seq in sorted(readings)]
