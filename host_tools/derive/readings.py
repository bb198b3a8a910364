"""Readings of a database by chunks, decoded once and kept while they are used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from host_tools.derive.reading import Reading, read, reading_of
from host_tools.store.database import Database
from host_tools.store.derived import Derived
from host_tools.store.evidence import Evidence, StoredReport, stored_chunk
from host_tools.store.schema import CHUNK
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
        self._fresh: dict[tuple[int, int], Reading] = {}

    def forget(self) -> None:
        """Read everything again, after a transaction that failed."""
        self._kept.clear()
        self._fresh.clear()

    def take(self, row: StoredReport, report: Report) -> None:
        """Keep a report that was just stored, so that it is not decoded a second time."""
        if len(self._fresh) < _MOST_FRESH:
            self._fresh[row.stream_id, row.seq] = reading_of(
                row.stream_id, row.received_at, report, hash8(row.message)
            )

    def chunk(self, stream_id: int, chunk: int) -> Chunk:
        """The readings of a chunk."""
        key = (stream_id, chunk)
        found = self._kept.get(key)
        if found is None:
            found = self._read(stream_id, chunk * CHUNK, chunk * CHUNK + CHUNK - 1)
            if any(reading.offset is None for reading in found):
                places = self._derived.placements(stream_id, chunk)
                for reading in found:
                    if reading.offset is None:
                        reading.t = places.get(reading.seq)
            self._keep(key, found)
        else:
            self._kept.move_to_end(key)
        return found

    def renew(self, stream_id: int, chunk: int, first: int, last: int) -> None:
        """Take the reports of a chunk that were stored, from a seq to another."""
        key = (stream_id, chunk)
        found = self._kept.get(key)
        if found is None:
            return
        known = {reading.seq: reading for reading in found if not first <= reading.seq <= last}
        for reading in self._read(stream_id, first, last):
            known[reading.seq] = reading
        self._keep(key, [known[seq] for seq in sorted(known)])

    def _read(self, stream_id: int, first: int, last: int) -> Chunk:
        readings = (
            self._read_one(stream_id, row)
            for row in stored_chunk(self._db, stream_id, first, last)
        )
        return [reading for reading in readings if reading is not None]

    def _read_one(self, stream_id: int, row: Evidence) -> Reading | None:
        fresh = self._fresh.pop((stream_id, row.seq), None)
        if (
            fresh is not None
            and fresh.received_at == row.received_at
            and fresh.digest == hash8(row.message)
        ):
            return fresh
        return read(stream_id, row.received_at, row.message)

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
            if reading.t is not None and reading.n and reading.t <= end and reading.end >= begin
        ]
