"""Finds what is wrong with streams as a whole, from the evidence, and writes it down."""

from __future__ import annotations

import json
import time

from host_tools.derive import findings
from host_tools.derive.changes import Changes
from host_tools.derive.findings import Kind
from host_tools.derive.reading import Reading
from host_tools.derive.readings import Readings
from host_tools.store.database import Database
from host_tools.store.derived import Derived, FindingRow, Span
from host_tools.store.evidence import (
    Stream,
    Streams,
    corrupt,
    malformed_digests,
    report_message,
    stored_chunk,
)
from host_tools.store.schema import CHUNK
from host_tools.wire import hash8


class StreamFindings:
    """The findings of an open database, within the transactions of a deriver."""

    def __init__(
        self, db: Database, derived: Derived, readings: Readings, streams: Streams
    ) -> None:
        self._db = db
        self._derived = derived
        self._readings = readings
        self._streams = streams
        self.load()

    def load(self) -> None:
        """Forget what was remembered of the database, after a transaction that failed."""
        # Most streams have none: they shall cost no query.
        self._found = self._derived.with_findings(Kind)
        self._seen: set[int] = set()
        self._corrupt = {row[0] for row in corrupt(self._db)}

    def take_chunk(
        self,
        slot_id: int,
        stream_id: int,
        chunk: int,
        readings: list[Reading],
        changes: Changes,
    ) -> None:
        """Chain, lost journals and declared losses of a chunk, and the link that follows it."""
        stream = self._streams.by_id(stream_id)
        first, end = chunk * CHUNK, chunk * CHUNK + CHUNK
        self._links(slot_id, stream_id, chunk, readings, changes.now)
        # Else the link is checked when the next chunk is derived.
        if end in stream.ranges and not self._readings.waits(stream_id, chunk + 1):
            following = self._readings.chunk(stream_id, chunk + 1)
            self._links(slot_id, stream_id, chunk + 1, following, changes.now)
        if not any(reading.claims for reading in readings):
            return
        lost = findings.of_batch(findings.lost_streams(readings))
        self._settle(Kind.STREAM_LOST, slot_id, stream_id, (first, end - 1), lost, changes.now)
        declared = findings.declarations(readings, stream.kid, stream.stream)
        self._derived.put_declared(declared)
        changes.declared.update((row.kid, row.stream) for row in declared)

    def _links(
        self, slot_id: int, stream_id: int, chunk: int, readings: list[Reading], now: int
    ) -> None:
        """The links of the chain from the reports of a chunk to those before them."""
        ranges = self._streams.by_id(stream_id).ranges
        first, last = chunk * CHUNK, chunk * CHUNK + CHUNK - 1
        digests = {reading.seq: reading.digest for reading in readings}
        before = [reading.seq - 1 for reading in readings]
        if any(seq in ranges and seq not in digests for seq in before if seq >= first):
            digests |= malformed_digests(self._db, stream_id, first, last)
        if first - 1 in before and first - 1 in ranges:
            self._digest(digests, stream_id, first - 1)
        breaks = findings.of_batch(findings.chain_breaks(readings, digests))
        self._settle(Kind.CHAIN_BREAK, slot_id, stream_id, (first, last), breaks, now)

    def _digest(self, digests: dict[int, bytes], stream_id: int, seq: int) -> None:
        known = self._readings.digest(stream_id, seq)
        if known is not None:
            digests[seq] = known
            return
        message = report_message(self._db, stream_id, seq)
        if message is not None and stored_chunk(self._db, stream_id, seq, seq):
            digests[seq] = hash8(message)
        elif message is None:
            digests |= malformed_digests(self._db, stream_id, seq, seq)

    def take_streams(self, changes: Changes) -> None:
        """Gaps and declared losses of streams."""
        derived = self._derived
        streams = {self._streams.by_id(stream_id) for stream_id in changes.streams}
        for kid, name in changes.declared:
            stream = self._streams.find(kid, name)
            if stream is not None:
                streams.add(stream)
        for stream in streams:
            if stream.id in self._corrupt or (stream.id, str(Kind.CORRUPT)) in self._found:
                self._note_corrupt(stream)
            both = (stream.kid, stream.stream)
            if (
                stream.ranges.whole
                and not self._found.intersection((stream.id, kind) for kind in ("gap", "dropped"))
                and both not in changes.declared
                # What was declared before the stream was known counts.
                and stream.id in self._seen
            ):
                continue
            self._seen.add(stream.id)
            declared = derived.declared(stream.kid, stream.stream)
            slot_id = self._streams.slot_id(stream)
            whole = (0, 2**32)
            dropped = findings.dropped(declared)
            self._settle(Kind.DROPPED, slot_id, stream.id, whole, dropped, changes.now)
            found = findings.gaps(
                stream.ranges, [(row.first_seq, row.last_seq) for row in declared]
            )
            rows = [
                FindingRow(0, first, last, missing, self._shown(stream.id, last + 1), "")
                for first, last, missing in found
            ]
            self._settle(Kind.GAP, slot_id, stream.id, whole, rows, changes.now)

    def _note_corrupt(self, stream: Stream) -> None:
        rows = [
            FindingRow(0, seq, seq, 0, found_at, json.dumps({"why": detail}))
            for stream_id, seq, found_at, detail in corrupt(self._db)
            if stream_id == stream.id
        ]
        now = max((row.found_at for row in rows), default=int(time.time()))
        slot_id = self._streams.slot_id(stream)
        self._settle(Kind.CORRUPT, slot_id, stream.id, (0, 2**32), rows, now)

    def _shown(self, stream_id: int, seq: int) -> int:
        """When the report arrived that shows a gap before it."""
        found = stored_chunk(self._db, stream_id, seq, seq)
        return found[0].received_at if found else 0

    def _settle(
        self,
        kind: Kind,
        slot_id: int,
        stream_id: int,
        seqs: Span,
        rows: list[FindingRow],
        now: int,
    ) -> None:
        key = (stream_id, str(kind))
        if rows:
            self._found.add(key)
        elif key not in self._found:
            return
        self._derived.settle(kind, slot_id, stream_id, seqs, rows, now)

    def take_clocks(self, slot_id: int, changes: Changes) -> None:
        """Boots without a place in time, and those with a clock from the future."""
        for stream_id in changes.clocks:
            for kind, trouble in ((Kind.UNPLACED, "unplaced"), (Kind.FUTURE_CLOCK, "future")):
                rows = findings.clocks(
                    self._derived.clock_troubles(stream_id, trouble, findings.MOST + 1)
                )
                if len(rows) > findings.MOST:
                    rows = [findings.many(self._derived.all_clock_troubles(stream_id, trouble))]
                self._settle(kind, slot_id, stream_id, (0, 2**32), rows, changes.now)
