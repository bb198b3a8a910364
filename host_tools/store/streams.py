"""Streams, and which of their seqs are stored.

The seqs live in memory, as ranges (`Stream.ranges`); the database has them twice: exactly, as the
reports' own rows, and as the ranges of some moment (`streams.ranges`, up to the marks in `meta`).
At start the ranges are read and the few rows since are added, so that nobody reads millions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from host_tools.store.archived import archived_ranges
from host_tools.store.database import Database
from host_tools.store.evidence import corrupt, newest_report
from host_tools.store.meta import get_meta, set_meta
from host_tools.store.ranges import RangeSet
from host_tools.wire.hashing import hash8

if TYPE_CHECKING:
    from host_tools.wire import Birth

_REPORTS_MARK = "ranges_reports"
_QUARANTINE_MARK = "ranges_quarantine"


@dataclass(slots=True, eq=False)
class Stream:
    """A device's stream, what is stored of it, and (boot, conn, digest) of its newest birth."""

    id: int
    kid: bytes
    slot: str
    stream: bytes
    ranges: RangeSet = field(default_factory=RangeSet)
    birth: tuple[int, int, bytes] | None = None
    dirty: bool = False


class Streams:
    """All streams of the database, by (kid, stream). Loaded once, then kept by the only writer."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._by_key: dict[tuple[bytes, bytes], Stream] = {}
        self._by_id: dict[int, Stream] = {}
        self._slot_ids: dict[str, int] = {}
        self._of_kid: dict[bytes, list[Stream]] = {}
        self.load()

    def load(self) -> None:
        """Read everything from the database: at start, and after a transaction that failed."""
        db = self._db
        self._slot_ids = dict(db.all("SELECT slot, id FROM slots"))
        self._by_id = {
            row[0]: Stream(row[0], row[1], row[2], row[3], RangeSet.parse(row[4]))
            for row in db.all(
                "SELECT streams.id, kid, slot, stream, ranges FROM streams "
                "JOIN slots ON slots.id = slot_id"
            )
        }
        self._by_key = {(s.kid, s.stream): s for s in self._by_id.values()}
        self._of_kid = {}
        for stream in self._by_id.values():
            self._of_kid.setdefault(stream.kid, []).append(stream)
        since = (
            ("SELECT stream_id, seq FROM reports WHERE id > ?", _REPORTS_MARK),
            (
                "SELECT stream_id, seq FROM quarantine WHERE id > ? AND stream_id IS NOT NULL",
                _QUARANTINE_MARK,
            ),
        )
        for sql, mark in since:
            for stream_id, seq in db.iterate(sql, (get_meta(db, mark),)):
                stream = self._by_id[stream_id]
                stream.ranges.add(seq)
                stream.dirty = True
        for stream_id, ranges in archived_ranges(db):
            for first, last in ranges:
                self._by_id[stream_id].ranges.add_range(first, last)
        self.leave_out_corrupt()
        for stream in self._by_id.values():
            birth = db.one(
                "SELECT boot, conn, message FROM births WHERE stream_id = ? "
                "ORDER BY boot DESC, conn DESC LIMIT 1",
                (stream.id,),
            )
            if birth:
                stream.birth = (birth[0], birth[1], hash8(birth[2]))

    def leave_out_corrupt(self) -> list[tuple[int, int]]:
        """Count as missing what was found corrupt, so that it is asked for again.

        Returns:
            Stream id and seq of what counted as stored.
        """
        found = []
        for stream_id, seq, _, _ in corrupt(self._db):
            stream = self._by_id[stream_id]
            if seq in stream.ranges:
                stream.ranges = stream.ranges.without(RangeSet([(seq, seq)]))
                stream.dirty = True
                found.append((stream_id, seq))
        return found

    def find(self, kid: bytes, stream: bytes) -> Stream | None:
        return self._by_key.get((kid, stream))

    def of_kid(self, kid: bytes) -> list[Stream]:
        """The streams that a device has begun."""
        return self._of_kid.get(kid, [])

    def by_id(self, stream_id: int) -> Stream:
        return self._by_id[stream_id]

    def slot_id(self, stream: Stream) -> int:
        return self._slot_ids[stream.slot]

    def all(self) -> Iterable[Stream]:
        return self._by_id.values()

    def add(self, kid: bytes, slot: str, stream: bytes, now: int) -> Stream:
        """Begin a stream, within a transaction."""
        slot_id = self._slot_ids.get(slot)
        if slot_id is None:
            slot_id = self._db.insert(
                "INSERT INTO slots (slot, village) VALUES (?, ?)", (slot, slot[:10])
            )
            self._slot_ids[slot] = slot_id
        stream_id = self._db.insert(
            "INSERT INTO streams (kid, slot_id, stream, first_at) VALUES (?, ?, ?, ?)",
            (kid, slot_id, stream, now),
        )
        new = Stream(stream_id, kid, slot, stream)
        self._by_key[kid, stream] = self._by_id[stream_id] = new
        self._of_kid.setdefault(kid, []).append(new)
        return new

    def save_ranges(self) -> None:
        """Write the ranges that have changed, as the last thing of a transaction."""
        db = self._db
        changed = [stream for stream in self._by_id.values() if stream.dirty]
        db.executemany(
            "UPDATE streams SET ranges = ? WHERE id = ?",
            [(stream.ranges.text(), stream.id) for stream in changed],
        )
        set_meta(db, _REPORTS_MARK, newest_report(db))
        set_meta(db, _QUARANTINE_MARK, int(db.value("SELECT max(id) FROM quarantine") or 0))
        for stream in changed:
            stream.dirty = False


def insert_birth(db: Database, stream: Stream, birth: Birth, now: int, message: bytes) -> None:
    """Store a birth that is newer than all of its stream, within a transaction."""
    db.execute(
        "INSERT INTO births (stream_id, boot, conn, received_at, board, agent, interpreter, "
        "reset_cause, next_seq, round_s, sample_s, samples, message) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            stream.id,
            birth.boot,
            birth.conn,
            now,
            birth.board,
            birth.agent,
            birth.interpreter,
            birth.reset_cause,
            birth.next,
            *birth.cadence,
            message,
        ),
    )


def saved_mark(db: Database) -> int:
    """The id of the newest report that the saved ranges of streams cover."""
    return get_meta(db, _REPORTS_MARK)
