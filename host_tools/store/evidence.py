"""Evidence: streams, reports and births as they arrived, and which seqs of a stream are stored.

The seqs live in memory, as ranges (`Stream.ranges`); the database has them twice: exactly, as the
reports' own rows, and as the ranges of some moment (`streams.ranges`, up to the marks in `meta`).
At start the ranges are read and the few rows since are added, so that nobody reads millions.

Reports of closed months may be in the archive. Every function here that returns reports finds them
there as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from host_tools.store.archived import archived_ranges, archived_reports, archived_seqs
from host_tools.store.database import Database, Row
from host_tools.store.dialect import REPLACE, UNLESS_KNOWN, greater, lesser, or_change
from host_tools.store.ranges import RangeSet
from host_tools.store.schema import CHUNK
from host_tools.wire.hashing import hash8

if TYPE_CHECKING:
    from host_tools.wire import Birth

_OR_MORE = or_change(
    "slot_id, stream_id, chunk",
    f"first_seq = {lesser('first_seq', 'new.first_seq')}, "
    f"last_seq = {greater('last_seq', 'new.last_seq')}, reports = reports + new.reports",
)
_REPORTS_MARK = "ranges_reports"
_QUARANTINE_MARK = "ranges_quarantine"
RECEIPT_MARK = "receipt_report"
"""The id of the newest report that a receipt counts."""


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


class StoredReport(NamedTuple):
    """A report's row."""

    stream_id: int
    seq: int
    boot: int
    up: int
    start: int | None
    received_at: int
    message: bytes


class Streams:
    """All streams of the database, by (kid, stream). Loaded once, then kept by the only writer."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._by_key: dict[tuple[bytes, bytes], Stream] = {}
        self._by_id: dict[int, Stream] = {}
        self._slot_ids: dict[str, int] = {}
        self._of_kid: Counter[bytes] = Counter()
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
        self._of_kid = Counter(s.kid for s in self._by_id.values())
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
        """A stream that is known."""
        return self._by_key.get((kid, stream))

    def count(self, kid: bytes) -> int:
        """How many streams a device has begun."""
        return self._of_kid[kid]

    def by_id(self, stream_id: int) -> Stream:
        """The stream of an id in the database."""
        return self._by_id[stream_id]

    def slot_id(self, stream: Stream) -> int:
        """The id of a stream's slot in the database."""
        return self._slot_ids[stream.slot]

    def all(self) -> Iterable[Stream]:
        """Every stream."""
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
        self._of_kid[kid] += 1
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


def stream_name(db: Database, stream_id: int) -> bytes:
    """The 4 bytes that name a stream."""
    name: bytes = db.value("SELECT stream FROM streams WHERE id = ?", (stream_id,))
    return name


def insert_reports(db: Database, reports: Iterable[StoredReport]) -> dict[tuple[int, int], int]:
    """Store reports, within a transaction.

    A corrupt one that has arrived again, in good order, takes the place of the old row. If a
    receipt has counted that, its time of receipt stays.

    Returns:
        That time, by stream id and seq. The ranges of streams must be saved with it, because the
        row has no new id.
    """
    rows = list(reports)
    again: dict[tuple[int, int], int] = {}
    if db.value("SELECT 1 FROM corrupt LIMIT 1"):
        for row in rows:
            old = db.one(
                "SELECT id, received_at FROM corrupt JOIN reports USING (stream_id, seq) "
                "WHERE stream_id = ? AND seq = ? AND counted",
                row[:2],
            )
            if old is not None:
                db.execute(
                    "UPDATE reports SET boot = ?, up = ?, start = ?, message = ? WHERE id = ?",
                    (row.boot, row.up, row.start, row.message, old[0]),
                )
                again[row.stream_id, row.seq] = old[1]
        db.executemany(
            "DELETE FROM corrupt WHERE stream_id = ? AND seq = ?", [row[:2] for row in rows]
        )
    db.executemany(
        f"{REPLACE} reports (stream_id, seq, boot, up, start, received_at, message) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [row for row in rows if row[:2] not in again] if again else rows,
    )
    mark_dirty(db, [(row.stream_id, row.seq) for row in rows])
    return again


def mark_dirty(db: Database, reports: Iterable[tuple[int, int]]) -> None:
    """Have reports (stream id, seq) derived, within a transaction."""
    chunks: dict[tuple[int, int], list[int]] = {}
    for stream_id, seq in reports:
        chunks.setdefault((stream_id, seq // CHUNK), []).append(seq)
    db.executemany(
        "INSERT INTO dirty SELECT slot_id, id, ?, ?, ?, ?, 0 FROM streams WHERE id = ? "
        f"{_OR_MORE}",
        [
            (chunk, min(seqs), max(seqs), len(seqs), stream_id)
            for (stream_id, chunk), seqs in chunks.items()
        ],
    )


class Evidence(NamedTuple):
    """A stored report as it arrived."""

    seq: int
    received_at: int
    message: bytes


def stored_chunk(db: Database, stream_id: int, first: int, last: int) -> list[Evidence]:
    """The reports from a seq to another that are what was signed, ascending."""
    rows = db.all(
        "SELECT seq, received_at, message FROM reports WHERE stream_id = ? "
        "AND seq BETWEEN ? AND ? AND NOT EXISTS (SELECT 1 FROM corrupt "
        "WHERE corrupt.stream_id = reports.stream_id AND corrupt.seq = reports.seq) ORDER BY seq",
        (stream_id, first, last),
    )
    found = [Evidence(*row) for row in rows]
    if len(found) == last - first + 1:
        return found
    archived = archived_reports(db, stream_id, first, last)
    if not archived:
        return found
    for seq in corrupt_seqs(db, stream_id, first, last) | {row.seq for row in found}:
        archived.pop(seq, None)
    found += [Evidence(r.seq, r.received_at, r.message) for r in archived.values()]
    return sorted(found)


def corrupt_seqs(db: Database, stream_id: int, first: int, last: int) -> set[int]:
    """The seqs, from one to another, of stored reports that are not what was signed."""
    rows = db.all(
        "SELECT seq FROM corrupt WHERE stream_id = ? AND seq BETWEEN ? AND ?",
        (stream_id, first, last),
    )
    return {seq for (seq,) in rows}


def malformed_digests(db: Database, stream_id: int, first: int, last: int) -> dict[int, bytes]:
    """Seq to what `prev` must be after it, of malformed reports that count as stored."""
    rows = db.all(
        "SELECT seq, payload FROM quarantine WHERE stream_id = ? AND seq BETWEEN ? AND ? "
        "AND stream_id IS NOT NULL AND reason != 'conflict'",
        (stream_id, first, last),
    )
    return {seq: hash8(payload) for seq, payload in rows}


def evidence_after(db: Database, report_id: int, limit: int) -> list[Row]:
    """Stored reports after an id: id, stream_id, seq, boot, up, start, received_at, message."""
    return db.all(
        "SELECT id, stream_id, seq, boot, up, start, received_at, message FROM reports "
        "WHERE id > ? ORDER BY id LIMIT ?",
        (report_id, limit),
    )


def seqs_after(db: Database, report_id: int) -> list[tuple[int, int]]:
    """Stream id and seq of the reports stored after an id."""
    return [
        (row[0], row[1])
        for row in db.all("SELECT stream_id, seq FROM reports WHERE id > ?", (report_id,))
    ]


def stored_seqs(db: Database, stream_id: int) -> RangeSet:
    """The seqs of a stream that are stored, by their rows and by the archive."""
    found = RangeSet()
    for sql in (
        "SELECT seq FROM reports WHERE stream_id = ? ORDER BY seq",
        "SELECT seq FROM quarantine WHERE stream_id = ? AND reason != 'conflict' ORDER BY seq",
    ):
        for (seq,) in db.iterate(sql, (stream_id,)):
            found.add(seq)
    for first, last in archived_seqs(db, stream_id):
        found.add_range(first, last)
    return found


def mark_corrupt(db: Database, stream_id: int, seq: int, now: int, detail: str) -> None:
    """Count a stored report as missing: it is not what was signed."""
    db.execute(
        "INSERT INTO corrupt SELECT ?, ?, ?, ?, EXISTS (SELECT 1 FROM reports WHERE stream_id = ? "
        f"AND seq = ? AND id <= ?) WHERE true {UNLESS_KNOWN}",
        (stream_id, seq, now, detail, stream_id, seq, get_meta(db, RECEIPT_MARK)),
    )


def corrupt(db: Database) -> list[Row]:
    """The reports that are not what was signed: stream_id, seq, found_at, detail."""
    return db.all("SELECT stream_id, seq, found_at, detail FROM corrupt ORDER BY stream_id, seq")


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


def count_duplicates(db: Database, counts: dict[int, int]) -> None:
    """Add to the duplicates of streams (id -> how many more), within a transaction."""
    db.executemany(
        "UPDATE streams SET duplicates = duplicates + ? WHERE id = ?",
        [(count, stream_id) for stream_id, count in counts.items()],
    )


def report_message(db: Database, stream_id: int, seq: int) -> bytes | None:
    """The signed bytes of a stored report, or None."""
    message: bytes | None = db.value(
        "SELECT message FROM reports WHERE stream_id = ? AND seq = ?", (stream_id, seq)
    )
    if message is None:
        archived = archived_reports(db, stream_id, seq, seq)
        return archived[seq].message if archived else None
    return message


def reports_at(
    db: Database, keys: Iterable[tuple[int, int]], *, archived: bool = False
) -> Iterator[tuple[int, int, bytes]]:
    """Stream, time of receipt and signed bytes of some reports, named by stream and seq.

    Args:
        archived: also of those that are only in the archive, a few thousand of which are read for
            each.
    """
    for stream_id, seq in keys:
        row = db.one(
            "SELECT received_at, message FROM reports WHERE stream_id = ? AND seq = ?",
            (stream_id, seq),
        )
        if row is None and archived:
            found = archived_reports(db, stream_id, seq, seq).get(seq)
            row = found and (found.received_at, found.message)
        if row is not None:
            yield stream_id, row[0], row[1]


def birth_message(db: Database, stream_id: int, boot: int, conn: int) -> bytes | None:
    """The signed bytes of a stored birth, or None."""
    message: bytes | None = db.value(
        "SELECT message FROM births WHERE stream_id = ? AND boot = ? AND conn = ?",
        (stream_id, boot, conn),
    )
    return message


def stream_births(db: Database, stream_id: int) -> list[Row]:
    """The births of a stream in their order: boot, conn, received_at, message."""
    return db.all(
        "SELECT boot, conn, received_at, message FROM births WHERE stream_id = ? "
        "ORDER BY boot, conn",
        (stream_id,),
    )


def all_births(db: Database) -> Iterator[Row]:
    """Every birth in the order of receipts: kid, stream, boot, conn, received_at, message."""
    return db.iterate(
        "SELECT kid, stream, boot, conn, received_at, message FROM births "
        "JOIN streams ON streams.id = stream_id ORDER BY kid, stream, boot, conn"
    )


def saved_mark(db: Database) -> int:
    """The id of the newest report that the saved ranges of streams cover."""
    return get_meta(db, _REPORTS_MARK)


def last_before(db: Database, moment: float, newest: int) -> int:
    """About the id of the last report, of those up to `newest`, that arrived before a moment; 0 if
    there is none. What waited in quarantine has a greater id than its receipt would give it."""
    low, high = 0, newest
    while low < high:
        middle = (low + high) // 2
        if received_after(db, middle) < moment:
            low = middle + 1
        else:
            high = middle
    return low


def received_after(db: Database, report_id: int) -> int:
    """When the first report after an id arrived; 0 if there is none."""
    return int(
        db.value("SELECT received_at FROM reports WHERE id > ? ORDER BY id LIMIT 1", (report_id,))
        or 0
    )


def newest_report(db: Database) -> int:
    """The id of the report stored last; 0 if there is none."""
    return int(db.value("SELECT max(id) FROM reports") or 0)


def newest_arrival(db: Database) -> int:
    """When the report or birth that was stored last arrived, in Unix seconds; 0: there is none."""
    return max(
        int(
            db.value(f"SELECT received_at FROM {table} WHERE id = (SELECT max(id) FROM {table})")
            or 0
        )
        for table in ("reports", "births")
    )


def get_meta(db: Database, key: str) -> int:
    """A number that the store keeps for itself; 0 if it was never set."""
    return int(db.value("SELECT value FROM meta WHERE key = ?", (key,)) or 0)


def set_meta(db: Database, key: str, value: int) -> None:
    """Set such a number, within a transaction."""
    db.execute(
        f"INSERT INTO meta (key, value) VALUES (?, ?) {or_change('key', 'value = new.value')}",
        (key, value),
    )
