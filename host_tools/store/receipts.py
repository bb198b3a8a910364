"""Receipts on record, and the reports that each counts (docs/evidence.md)."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from host_tools.people.receipts import (
    LateBirth,
    LateReports,
    Receipt,
    StreamDigest,
    StreamReceipt,
)
from host_tools.store.archived import archived_ranges, archived_reports
from host_tools.store.database import Database
from host_tools.store.dialect import UNLESS_KNOWN
from host_tools.store.evidence import RECEIPT_MARK, Evidence, corrupt_seqs
from host_tools.store.meta import get_meta, set_meta
from host_tools.store.ranges import RangeSet

_BIRTH_MARK = "receipt_birth"
_PAGE = 1000
_LAST = 2**32


def receipts(db: Database, first: int = 0) -> Iterator[bytes]:
    """The signed receipts from a number on."""
    for (receipt,) in db.iterate(
        "SELECT receipt FROM receipts WHERE number >= ? ORDER BY number", (first,)
    ):
        yield receipt


def newest_receipt(db: Database) -> tuple[int, bytes] | None:
    """Number and bytes of the newest receipt."""
    row = db.one("SELECT number, receipt FROM receipts ORDER BY number DESC LIMIT 1")
    return None if row is None else (row[0], row[1])


class StreamName(NamedTuple):
    """A stream by its id in the database, and as the wire names it."""

    id: int
    kid: bytes
    stream: bytes
    slot: str


def stream_names(db: Database) -> list[StreamName]:
    """All streams by kid and stream, as receipts list them."""
    rows = db.all(
        "SELECT streams.id, kid, stream, slot FROM streams JOIN slots ON slots.id = slot_id "
        "ORDER BY kid, stream"
    )
    return [StreamName(*row) for row in rows]


class ReceiptIndex:
    """Which receipt counts a stored report."""

    def __init__(self, chain: Iterable[Receipt]) -> None:
        self._begin = 0  # of the first receipt that is given
        self._ends: list[int] = []
        self._numbers: list[int] = []
        self._late: dict[tuple[bytes, bytes], list[tuple[int, int, RangeSet]]] = {}
        self._late_births: dict[tuple[bytes, bytes, int, int], tuple[int, int]] = {}
        for receipt in chain:
            if not self._ends:
                self._begin = receipt.begin
            self._ends.append(receipt.end)
            self._numbers.append(receipt.number)
            for late in receipt.late:
                ranges = RangeSet(late.ranges)
                of_stream = self._late.setdefault((late.kid, late.stream), [])
                of_stream.append((receipt.number, receipt.begin, ranges))
            for birth in receipt.late_births:
                name = (birth.kid, birth.stream, birth.boot, birth.conn)
                self._late_births[name] = receipt.number, receipt.begin

    def of_report(self, kid: bytes, stream: bytes, seq: int, received_at: int) -> int | None:
        """The number of the receipt; None: it arrived after the newest."""
        # One that was lost after it had been counted as late, and came again, is not late now.
        for number, begin, ranges in self._late.get((kid, stream), ()):
            if received_at < begin and seq in ranges:
                return number
        return self._by_time(received_at)

    def of_birth(
        self, kid: bytes, stream: bytes, boot: int, conn: int, received_at: int
    ) -> int | None:
        """The same of a birth."""
        number, begin = self._late_births.get((kid, stream, boot, conn), (None, 0))
        return number if received_at < begin else self._by_time(received_at)

    def _by_time(self, received_at: int) -> int | None:
        at = bisect_right(self._ends, received_at)
        return self._numbers[at] if at < len(self._ends) and received_at >= self._begin else None


def stored_pages(
    db: Database, stream_id: int, first: int = 0, last: int = _LAST
) -> Iterator[list[Evidence]]:
    """A stream's reports from a seq to another, ascending, a page at a time: those of the table
    and of the archive, but for corrupt ones."""
    after = first - 1
    archived_ends = [
        end
        for (end,) in db.all(
            "SELECT DISTINCT last_seq FROM archived WHERE stream_id = ? AND last_seq >= ? "
            "ORDER BY 1",
            (stream_id, first),
        )
    ]
    while after < last:
        rows = db.all(
            "SELECT seq, received_at, message FROM reports "
            "WHERE stream_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            (stream_id, after, last, _PAGE),
        )
        end = rows[-1][0] if len(rows) == _PAGE else last
        place = bisect_right(archived_ends, after)
        page = {row[0]: Evidence(*row) for row in rows}
        if place < len(archived_ends):
            end = min(end, archived_ends[place])
            for seq, report in archived_reports(db, stream_id, after + 1, end).items():
                page.setdefault(seq, Evidence(seq, report.received_at, report.message))
        bad = corrupt_seqs(db, stream_id, after + 1, end)
        found = [page[seq] for seq in sorted(page) if seq <= end and seq not in bad]
        if found:
            yield found
        after = end


# ---- what the next receipt counts -------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """What a receipt counts of what is stored, and up to which rows that is."""

    streams: tuple[StreamReceipt, ...]
    births: int
    births_digest: bytes
    late: tuple[LateReports, ...]
    late_births: tuple[LateBirth, ...]
    highest: tuple[tuple[int, int], ...]
    """Highest seq that is counted now, and id, of each stream."""
    report_mark: int
    birth_mark: int

    @property
    def reports(self) -> int:
        return sum(stream.count for stream in self.streams)


def counted_mark(db: Database) -> int | None:
    """The id of the newest report that receipts count; None where there is no receipt."""
    return None if newest_receipt(db) is None else get_meta(db, RECEIPT_MARK)


def has_uncounted(db: Database, begin: int, end: int) -> bool:
    """Whether a report was stored since the newest receipt, and its clock says a time from begin
    to end. Without a receipt there is none."""
    mark = counted_mark(db)
    return mark is not None and bool(
        db.value(
            "SELECT EXISTS (SELECT 1 FROM reports WHERE id > ? AND start >= ? AND start < ?)",
            (mark, begin, end),
        )
    )


def count_reports(db: Database, begin: int, end: int) -> Generator[None, None, Counted]:
    """Count what was stored since the last receipt and arrived before `end`.

    It yields after each page that it has read, so that others get their turn.

    Args:
        begin, end: of the receipt. `begin` is 0 in the first one, which counts the archive too.
    """
    seqs: dict[int, RangeSet] = {}
    late_seqs: dict[int, RangeSet] = {}
    if begin == 0:
        for stream_id, ranges in archived_ranges(db):
            of_stream = seqs.setdefault(stream_id, RangeSet())
            for first, last in ranges:
                of_stream.add_range(first, last)
        yield
    mark = get_meta(db, RECEIPT_MARK)
    # What arrived before the first report of the next day is counted, and no id after that one.
    while rows := db.all(
        "SELECT id, stream_id, seq, received_at FROM reports WHERE id > ? ORDER BY id LIMIT ?",
        (mark, _PAGE),
    ):
        taken = [row for row in rows if row[3] < end]
        if len(taken) < len(rows):
            taken = rows[: next(n for n, row in enumerate(rows) if row[3] >= end)]
        for id, stream_id, seq, received_at in taken:
            mark = id
            seqs.setdefault(stream_id, RangeSet()).add(seq)
            if received_at < begin:
                late_seqs.setdefault(stream_id, RangeSet()).add(seq)
        yield
        if len(taken) < len(rows):
            break
    streams, late, highest = [], [], []
    before: dict[int, int] = dict(db.all("SELECT id, receipt_seq FROM streams"))
    for name in stream_names(db):
        if name.id not in seqs:
            continue
        digest, first, last = StreamDigest(), 0, 0
        really_late = RangeSet()
        for ends in seqs[name.id]:
            for page in stored_pages(db, name.id, *ends):
                for seq, received_at, message in page:
                    if seq in late_seqs.get(name.id, ()):
                        really_late.add(seq)
                    digest.add(message, received_at)
                    first, last = first or seq, seq
                yield
        if digest.count:
            last = max(last, before.get(name.id, 0))
            names = (name.kid, name.stream)
            streams.append(
                StreamReceipt(*names, name.slot, digest.count, first, last, digest.digest())
            )
            highest.append((last, name.id))
            if ranges_late := tuple(really_late):
                late.append(LateReports(*names, ranges_late))
    births, late_births, birth_mark = _births(db, begin, end)
    digest = StreamDigest()
    for *_, sha256, received_at in sorted(births):
        digest.add_hash(sha256, received_at)
    return Counted(
        *(tuple(streams), len(births), digest.digest(), tuple(late)),
        *(tuple(sorted(late_births, key=_birth_order)), tuple(highest), mark, birth_mark),
    )


_BirthRow = tuple[bytes, bytes, int, int, bytes, int]


def _births(db: Database, begin: int, end: int) -> tuple[list[_BirthRow], list[LateBirth], int]:
    mark = get_meta(db, _BIRTH_MARK)
    births, late = [], []
    for id, kid, stream, boot, conn, received_at, message in db.iterate(
        "SELECT births.id, kid, stream, boot, conn, received_at, message FROM births "
        "JOIN streams ON streams.id = stream_id WHERE births.id > ? ORDER BY births.id",
        (mark,),
    ):
        if received_at >= end:
            break
        mark = id
        births.append((kid, stream, boot, conn, hashlib.sha256(message).digest(), received_at))
        if received_at < begin:
            late.append(LateBirth(kid, stream, boot, conn))
    return births, late, mark


def _birth_order(birth: LateBirth) -> tuple[bytes, bytes, int, int]:
    return birth.kid, birth.stream, birth.boot, birth.conn


def add_receipt(db: Database, number: int, receipt: bytes, counted: Counted) -> None:
    """Keep a signed receipt, within a transaction."""
    db.execute("INSERT INTO receipts VALUES (?, ?)", (number, receipt))
    db.executemany("UPDATE streams SET receipt_seq = ? WHERE id = ?", counted.highest)
    set_meta(db, RECEIPT_MARK, counted.report_mark)
    set_meta(db, _BIRTH_MARK, counted.birth_mark)


def append_receipt(db: Database, receipt: Receipt, signed: bytes) -> None:
    """Keep a receipt of another copy of the database, within a transaction.

    A stream that only the other copy knows begins here too: its highest seq must not go back.
    """
    db.execute("INSERT INTO receipts VALUES (?, ?)", (receipt.number, signed))
    for row in receipt.streams:
        slot = row.slot, row.slot[:10]
        db.execute(f"INSERT INTO slots (slot, village) VALUES (?, ?) {UNLESS_KNOWN}", slot)
        db.execute(
            "INSERT INTO streams (kid, slot_id, stream, first_at) "
            f"SELECT ?, id, ?, ? FROM slots WHERE slot = ? {UNLESS_KNOWN}",
            (row.kid, row.stream, receipt.begin, row.slot),
        )
        db.execute(
            "UPDATE streams SET receipt_seq = ? WHERE kid = ? AND stream = ?",
            (row.highest_seq, row.kid, row.stream),
        )
