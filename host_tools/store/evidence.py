"""Evidence: reports and births as they arrived.

Reports of closed months may be in the archive. Every function here that returns reports finds them
there as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from host_tools.store.archived import archived_reports, archived_seqs
from host_tools.store.database import Database, Row
from host_tools.store.derived_schema import CHUNK
from host_tools.store.dialect import REPLACE, UNLESS_KNOWN, greater, lesser, or_change
from host_tools.store.meta import get_meta
from host_tools.store.ranges import RangeSet
from host_tools.wire.hashing import hash8

if TYPE_CHECKING:
    pass

_OR_MORE = or_change(
    "slot_id, stream_id, chunk",
    f"first_seq = {lesser('first_seq', 'new.first_seq')}, "
    f"last_seq = {greater('last_seq', 'new.last_seq')}, reports = reports + new.reports",
)
RECEIPT_MARK = "receipt_report"
"""The id of the newest report that a receipt counts."""


class StoredReport(NamedTuple):
    stream_id: int
    seq: int
    boot: int
    up: int
    start: int | None
    received_at: int
    message: bytes


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
    seqs_of: dict[int, list[int]] = {}
    for stream_id, seq in keys:
        seqs_of.setdefault(stream_id, []).append(seq)
    for stream_id, seqs in seqs_of.items():
        # One statement for all: between two of them a busy thread may take its turn.
        rows = db.all(
            "SELECT seq, received_at, message FROM reports WHERE stream_id = ? "
            f"AND seq IN ({', '.join(map(str, seqs))})",
            (stream_id,),
        )
        if archived:
            for seq in sorted({*seqs}.difference(row[0] for row in rows)):
                found = archived_reports(db, stream_id, seq, seq).get(seq)
                if found is not None:
                    rows.append((seq, found.received_at, found.message))
        for _seq, received_at, message in rows:
            yield stream_id, received_at, message


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
