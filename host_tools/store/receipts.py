"""Receipts on record, and the reports that each counts (docs/evidence.md)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from host_tools.people.receipts import Receipt
from host_tools.store.archived import archived_reports
from host_tools.store.database import Database
from host_tools.store.evidence import Evidence, corrupt_seqs
from host_tools.store.ranges import RangeSet

_REPORT_MARK, _BIRTH_MARK = "receipt_report", "receipt_birth"
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
        self._ends: list[int] = []
        self._late: dict[tuple[bytes, bytes], list[tuple[int, RangeSet]]] = {}
        self._late_births: dict[tuple[bytes, bytes, int, int], int] = {}
        for receipt in chain:
            self._ends.append(receipt.end)
            for late in receipt.late:
                ranges = RangeSet(late.ranges)
                of_stream = self._late.setdefault((late.kid, late.stream), [])
                of_stream.append((receipt.number, ranges))
            for birth in receipt.late_births:
                name = (birth.kid, birth.stream, birth.boot, birth.conn)
                self._late_births[name] = receipt.number

    def of_report(self, kid: bytes, stream: bytes, seq: int, received_at: int) -> int | None:
        """The number of the receipt; None: it arrived after the newest."""
        for number, ranges in self._late.get((kid, stream), ()):
            if seq in ranges:
                return number
        return self._by_time(received_at)

    def of_birth(
        self, kid: bytes, stream: bytes, boot: int, conn: int, received_at: int
    ) -> int | None:
        """The same of a birth."""
        late = self._late_births.get((kid, stream, boot, conn))
        return self._by_time(received_at) if late is None else late

    def _by_time(self, received_at: int) -> int | None:
        number = bisect_right(self._ends, received_at)
        return number if number < len(self._ends) else None


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
