"""Finds what is wrong with streams as a whole, from the evidence, and writes it down."""

from __future__ import annotations

import json
import time
from collections import Counter

from host_tools.derive import findings
from host_tools.derive.changes import Changes
from host_tools.derive.findings import Kind
from host_tools.derive.reading import Reading
from host_tools.derive.readings import Readings
from host_tools.store.database import Database
from host_tools.store.derived import Derived
from host_tools.store.derived_rows import FindingRow
from host_tools.store.derived_schema import CHUNK
from host_tools.store.evidence import corrupt, malformed_digests, report_message, stored_chunk
from host_tools.store.finding_table import FindingTable
from host_tools.store.streams import Stream, Streams
from host_tools.wire import hash8


class StreamFindings:
    """The findings of an open database, within the transactions of a deriver."""

    def __init__(
        self,
        db: Database,
        derived: Derived,
        found: FindingTable,
        readings: Readings,
        streams: Streams,
    ) -> None:
        self._db = db
        self._derived = derived
        self._found = found
        self._readings = readings
        self._streams = streams
        self.load()

    def load(self) -> None:
        """Forget what was remembered of the database, after a transaction that failed."""
        # How many there are, by slot and kind and then by stream. Most streams have none: they
        # shall cost no query.
        self._counts: dict[tuple[int, str], dict[int, int]] = {}
        rows: Counter[tuple[int, str]] = Counter()
        for slot_id, kind, stream_id, detail in self._found.open_findings():
            counts = self._counts.setdefault((slot_id, kind), {})
            row = FindingRow(0, 0, 0, 0, 0, detail)
            counts[stream_id] = counts.get(stream_id, 0) + findings.count(row)
            rows[slot_id, kind] += 1
        # Slots and kinds whose findings are one for each stream.
        self._many = {
            key
            for key, counts in self._counts.items()
            if rows[key] == len(counts) < sum(counts.values()) > findings.MOST
        }
        self._batches = self._found.with_batches()
        self._seen: set[int] = set()
        self._corrupt = {row[0] for row in corrupt(self._db)}

    def take_chunk(
        self, stream_id: int, chunk: int, readings: list[Reading], changes: Changes
    ) -> None:
        """Chain, lost journals and declared losses of a chunk, and the link that follows it."""
        stream = self._streams.by_id(stream_id)
        end = chunk * CHUNK + CHUNK
        self._links(stream_id, chunk, readings, changes)
        # Else the link is checked when the next chunk is derived.
        if end in stream.ranges and not self._readings.waits(stream_id, chunk + 1):
            following = self._readings.chunk(stream_id, chunk + 1)
            self._links(stream_id, chunk + 1, following, changes)
        if not any(reading.claims for reading in readings):
            return
        lost = findings.lost_streams(readings)
        self._note_batch(Kind.STREAM_LOST, stream_id, chunk, lost, changes)
        declared = findings.declarations(readings, stream.kid, stream.stream)
        self._derived.put_declared(declared)
        changes.declared.update((row.kid, row.stream) for row in declared)
        changes.cost += len(declared)

    def _links(
        self, stream_id: int, chunk: int, readings: list[Reading], changes: Changes
    ) -> None:
        """The links of the chain from the reports of a chunk to those before them."""
        ranges = self._streams.by_id(stream_id).ranges
        first, last = chunk * CHUNK, chunk * CHUNK + CHUNK - 1
        digests = {reading.seq: reading.digest for reading in readings}
        before = [reading.seq - 1 for reading in readings]
        unread = [seq for seq in before if seq >= first and seq not in digests]
        if any(seq in ranges for seq in unread):
            digests |= malformed_digests(self._db, stream_id, first, last)
        if first - 1 in before and first - 1 in ranges:
            self._digest(digests, stream_id, first - 1)
        breaks = findings.chain_breaks(readings, digests)
        self._note_batch(Kind.CHAIN_BREAK, stream_id, chunk, breaks, changes)

    def _note_batch(
        self, kind: Kind, stream_id: int, chunk: int, rows: list[FindingRow], changes: Changes
    ) -> None:
        key = (stream_id, str(kind))
        if rows:
            self._batches.add(key)
        elif key not in self._batches:
            return
        self._found.put_batch(kind, stream_id, chunk, rows)
        changes.batches.add(key)

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
        """What is found in streams as a whole."""
        for stream_id, kind in changes.batches:
            self._settle(Kind(kind), self._streams.by_id(stream_id), changes.now)
        for stream_id in changes.clocks:
            for clock in (Kind.UNPLACED, Kind.FUTURE_CLOCK):
                self._settle(clock, self._streams.by_id(stream_id), changes.now)
        streams = {self._streams.by_id(stream_id) for stream_id in changes.streams}
        for kid, name in changes.declared:
            stream = self._streams.find(kid, name)
            if stream is not None:
                streams.add(stream)
        for stream in streams:
            slot_id = self._streams.slot_id(stream)
            if stream.id in self._corrupt or self._has(Kind.CORRUPT, slot_id, stream.id):
                self._note_corrupt(stream, slot_id)
            both = (stream.kid, stream.stream)
            if (
                stream.ranges.whole
                and not self._has(Kind.GAP, slot_id, stream.id)
                and not self._has(Kind.DROPPED, slot_id, stream.id)
                and both not in changes.declared
                # What was declared before the stream was known counts.
                and stream.id in self._seen
            ):
                continue
            self._seen.add(stream.id)
            self._settle(Kind.DROPPED, stream, changes.now)
            self._settle(Kind.GAP, stream, changes.now)

    def _has(self, kind: Kind, slot_id: int, stream_id: int) -> bool:
        return stream_id in self._counts.get((slot_id, kind), ())

    def _note_corrupt(self, stream: Stream, slot_id: int) -> None:
        """Damage of the province's own: each is named, however many they are."""
        rows = [
            FindingRow(0, seq, seq, 0, found_at, json.dumps({"why": detail}))
            for stream_id, seq, found_at, detail in corrupt(self._db)
            if stream_id == stream.id
        ]
        now = max((row.found_at for row in rows), default=int(time.time()))
        self._found.settle(Kind.CORRUPT, slot_id, stream.id, rows, now)
        self._counts.setdefault((slot_id, Kind.CORRUPT), {})[stream.id] = len(rows)

    def _settle(self, kind: Kind, stream: Stream, now: int) -> None:
        """Write the findings of a kind in a stream; those of its slot's others too, if all have
        become too many, or are no more."""
        slot_id = self._streams.slot_id(stream)
        rows = self._wanted(kind, stream)
        key = (slot_id, str(kind))
        counts = self._counts.setdefault(key, {})
        if not rows and stream.id not in counts:
            return
        counts[stream.id] = sum(map(findings.count, rows))
        if not rows:
            del counts[stream.id]
        many = sum(counts.values()) > findings.MOST
        self._found.settle(kind, slot_id, stream.id, findings.as_one(rows) if many else rows, now)
        if many == (key in self._many):
            return
        (self._many.add if many else self._many.discard)(key)
        for stream_id in counts.keys() - {stream.id}:
            rows = self._wanted(kind, self._streams.by_id(stream_id))
            self._found.settle(
                kind, slot_id, stream_id, findings.as_one(rows) if many else rows, now
            )

    def _wanted(self, kind: Kind, stream: Stream) -> list[FindingRow]:
        """The findings of a kind in a stream; more than a slot may have as one."""
        derived = self._derived
        if kind in (Kind.UNPLACED, Kind.FUTURE_CLOCK):
            trouble = "unplaced" if kind is Kind.UNPLACED else "future"
            rows = findings.clocks(derived.clock_troubles(stream.id, trouble, findings.MOST + 1))
            if len(rows) <= findings.MOST:
                return rows
            boots, first, last = derived.all_clock_troubles(stream.id, trouble)
            ends = rows[0]._replace(first_seq=first, last_seq=last)
            return findings.as_one([ends], boots)
        if kind in (Kind.CHAIN_BREAK, Kind.STREAM_LOST):
            number, rows = self._found.of_batches(kind, stream.id, findings.MOST)
            return findings.as_one(rows, number) if number > findings.MOST else rows
        its = sorted(self._streams.of_kid(stream.kid), key=lambda its: its.stream)
        ids = [source.id for source in its]
        declared = derived.declared(stream.kid, stream.stream, ids, findings.MOST_DECLARED)
        if kind is Kind.DROPPED:
            return findings.dropped(declared)
        return findings.gaps(
            stream.ranges,
            [(row.first_seq, row.last_seq) for row in declared],
            lambda seq: self._shown(stream.id, seq),
        )

    def _shown(self, stream_id: int, seq: int) -> int:
        """When the report arrived that shows a gap before it."""
        found = stored_chunk(self._db, stream_id, seq, seq)
        return found[0].received_at if found else 0
