"""What is to be derived: chunks with new reports, times to be painted again, and boots whose
outages are to be found again.

Within a transaction of the caller's, as in `derived`.
"""

from __future__ import annotations

from collections.abc import Iterable

from host_tools.store.database import Database
from host_tools.store.derived_rows import Span, Work
from host_tools.store.derived_schema import CHUNK
from host_tools.store.dialect import UNLESS_KNOWN, greater, or_change
from host_tools.store.ranges import RangeSet

_AT_LEAST_ONE = greater("reports", "1")
_OR_MOVED = or_change("slot_id, stream_id, chunk", "moved = 1")
_OR_LONGER = or_change("slot_id, t_begin", f"t_end = {greater('t_end', 'new.t_end')}")


class Pending:
    """What is to be derived of an open database."""

    def __init__(self, db: Database, suffix: str = "") -> None:
        self._db = db
        self._s = suffix

    def count(self) -> int:
        """How much is to be derived, in reports; 0: nothing is."""
        s = self._s
        return int(
            self._db.value(
                f"SELECT (SELECT coalesce(sum({_AT_LEAST_ONE}), 0) FROM dirty{s}) + "
                f"(SELECT count(*) FROM stale{s}) + (SELECT count(*) FROM redo{s})"
            )
        )

    def reaches(self, end: int, received_before: int) -> bool:
        """Whether figures of the time before `end` lack reports that arrived before a time."""
        s = self._s
        return bool(
            self._db.value(
                f"SELECT EXISTS (SELECT 1 FROM stale{s} WHERE t_begin < ?) "
                f"OR EXISTS (SELECT 1 FROM redo{s}) "
                f"OR EXISTS (SELECT 1 FROM dirty{s} WHERE moved) "
                f"OR EXISTS (SELECT 1 FROM dirty{s} JOIN reports USING (stream_id) "
                "WHERE seq BETWEEN first_seq AND last_seq AND received_at < ? "
                "AND (start IS NULL OR start < ?))",
                (end, received_before, end),
            )
        )

    def next_slot(self, after: int) -> int | None:
        """The next slot with something to do, in turns."""
        s = self._s
        for low in (after, -1):
            found: int | None = self._db.value(
                f"SELECT min(slot_id) FROM (SELECT min(slot_id) AS slot_id FROM dirty{s} "
                f"WHERE slot_id > ? UNION ALL "
                f"SELECT min(slot_id) FROM stale{s} WHERE slot_id > ? UNION ALL "
                f"SELECT min(slot_id) FROM redo{s} WHERE slot_id > ?)",
                (low, low, low),
            )
            if found is not None:
                return found
        return None

    def work(self, slot_id: int, limit: int) -> list[Work]:
        s = self._s
        found = self._db.all(
            "SELECT stream_id, chunk, first_seq, last_seq, reports, moved "
            f"FROM dirty{s} WHERE slot_id = ? ORDER BY stream_id, chunk LIMIT ?",
            (slot_id, limit),
        )
        return [Work(*row) for row in found]

    def work_done(self, slot_id: int, work: Work) -> None:
        self._db.execute(
            f"DELETE FROM dirty{self._s} WHERE slot_id = ? AND stream_id = ? AND chunk = ?",
            (slot_id, work.stream_id, work.chunk),
        )

    def redo(self, slot_id: int, limit: int) -> list[tuple[int, int]]:
        """Boots of a slot whose outages are to be found again; they count as done."""
        s = self._s
        rows = self._db.all(
            f"SELECT stream_id, boot FROM redo{s} WHERE slot_id = ? "
            "ORDER BY stream_id, boot LIMIT ?",
            (slot_id, limit),
        )
        if rows:
            self._db.executemany(
                f"DELETE FROM redo{s} WHERE slot_id = ? AND stream_id = ? AND boot = ?",
                [(slot_id, *row) for row in rows],
            )
        return [(row[0], row[1]) for row in rows]

    def put_redo(self, slot_id: int, boots: Iterable[tuple[int, int]]) -> None:
        """Have outages of boots found again."""
        self._db.executemany(
            f"INSERT INTO redo{self._s} VALUES (?, ?, ?) {UNLESS_KNOWN}",
            [(slot_id, *boot) for boot in boots],
        )

    def redo_untold(self, slot_id: int) -> None:
        """Have the outages of all boots found again that have one whose end was not reported."""
        s = self._s
        self._db.execute(
            f"INSERT INTO redo{s} SELECT slot_id, stream_id, boot FROM boots{s} "
            f"WHERE slot_id = ? AND untold > 0 {UNLESS_KNOWN}",
            (slot_id,),
        )

    def mark_moved(self, slot_id: int, stream_id: int, boot: int, chunk: int) -> None:
        """Have reports without a clock around a chunk placed again: another one in it has, or has
        no more, a clock that is believed."""
        s = self._s
        anchor = f"SELECT chunk FROM pieces{s} WHERE stream_id = ? AND boot = ? AND chunk"
        its = (stream_id, boot)
        self._db.execute(
            f"INSERT INTO dirty{s} SELECT ?, stream_id, chunk, chunk * {CHUNK}, "
            f"chunk * {CHUNK} + {CHUNK - 1}, 0, 1 FROM pieces{s} "
            "WHERE stream_id = ? AND boot = ? AND chunk BETWEEN "
            f"coalesce(({anchor} < ? AND first_anchor IS NOT NULL ORDER BY chunk DESC LIMIT 1), "
            f"0) AND coalesce(({anchor} > ? AND first_anchor IS NOT NULL ORDER BY chunk "
            f"LIMIT 1), {2**32}) AND chunk != ? "
            f"AND clockless > 0 {_OR_MOVED}",
            (slot_id, *its, *its, chunk, *its, chunk, chunk),
        )

    def stale(self, slot_id: int) -> Span | None:
        """The first time of a slot that is to be painted again; it counts as done."""
        s = self._s
        row = self._db.one(
            f"SELECT t_begin, t_end FROM stale{s} WHERE slot_id = ? ORDER BY t_begin LIMIT 1",
            (slot_id,),
        )
        if row is None:
            return None
        self._db.execute(
            f"DELETE FROM stale{s} WHERE slot_id = ? AND t_begin = ?", (slot_id, row[0])
        )
        return row[0], row[1]

    def put_stale(self, slot_id: int, spans: Iterable[Span]) -> None:
        self._db.executemany(
            f"INSERT INTO stale{self._s} VALUES (?, ?, ?) {_OR_LONGER}",
            [(slot_id, *span) for span in spans],
        )

    def mark_stream(self, slot_id: int, stream_id: int, seqs: RangeSet) -> None:
        """Have all of a stream derived, whose seqs are given."""
        chunks = {
            chunk: (chunk * CHUNK, chunk * CHUNK + CHUNK - 1)
            for first, last in seqs
            for chunk in range(first // CHUNK, last // CHUNK + 1)
        }
        self._db.executemany(
            f"INSERT INTO dirty{self._s} VALUES (?, ?, ?, ?, ?, ?, 0) {UNLESS_KNOWN}",
            (
                (slot_id, stream_id, chunk, *span, seqs.count(*span))
                for chunk, span in sorted(chunks.items())
            ),
        )
