"""The findings of streams as rows; what they are is for `derive` to say.

Within a transaction of the caller's, as in `derived`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from host_tools.store.database import Database, Row
from host_tools.store.derived_rows import FindingRow, marks
from host_tools.store.dialect import ALL, REPLACE

MOST_RESOLVED = 100  # findings of a slot and kind that are kept


def _replaces(new: FindingRow, old: Row) -> bool:
    """Whether a finding takes the place of an open one (id, boot, first_seq, last_seq, ...)."""
    same_boot = new.boot == old[1] or 0 in (new.boot, old[1])
    return same_boot and new.first_seq <= old[3] and new.last_seq >= old[2]


class FindingTable:
    """The findings of an open database."""

    def __init__(self, db: Database, suffix: str = "") -> None:
        self._db = db
        self._s = suffix

    def settle(
        self, kind: str, slot_id: int, stream_id: int, wanted: Iterable[FindingRow], now: int
    ) -> None:
        """Make the findings of a kind in a stream what is wanted.

        One that is not wanted any more is resolved, unless another one takes its place.
        """
        s = self._s
        known = {
            (row[1], row[2], row[6]): row
            for row in self._db.all(
                "SELECT id, boot, first_seq, last_seq, missing, found_at, detail "
                f"FROM findings{s} WHERE stream_id = ? AND kind = ? AND resolved_at IS NULL",
                (stream_id, kind),
            )
        }
        new = {(row.boot, row.first_seq, row.detail): row for row in wanted}
        gone = []
        for key, row in known.items():
            found = new.pop(key, None)
            if found is None:
                gone.append(row)
            elif found[:5] != row[1:6]:
                self._db.execute(
                    f"UPDATE findings{s} SET last_seq = ?, missing = ?, found_at = ? WHERE id = ?",
                    (found.last_seq, found.missing, found.found_at, row[0]),
                )
        replaced = [row for row in gone if any(_replaces(n, row) for n in new.values())]
        self._db.executemany(
            f"DELETE FROM findings{s} WHERE id = ?", [(row[0],) for row in replaced]
        )
        resolved = [(now, row[0]) for row in gone if row not in replaced]
        if resolved:
            self._db.executemany(
                f"UPDATE findings{s} SET missing = 0, resolved_at = ? WHERE id = ?", resolved
            )
            self._db.execute(
                f"DELETE FROM findings{s} WHERE id IN (SELECT id FROM findings{s} WHERE "
                "slot_id = ? AND kind = ? AND resolved_at IS NOT NULL "
                "ORDER BY resolved_at DESC, id DESC LIMIT ? OFFSET ?)",
                (slot_id, kind, ALL, MOST_RESOLVED),
            )
        self._db.executemany(
            f"INSERT INTO findings{s} (kind, slot_id, stream_id, boot, first_seq, last_seq, "
            f"missing, found_at, detail) VALUES ({marks(9)})",
            [(kind, slot_id, stream_id, *row) for row in new.values()],
        )

    def open_findings(self) -> list[tuple[int, str, int, str]]:
        """Slot, kind, stream and detail of each finding that is not resolved."""
        return self._db.all(
            f"SELECT slot_id, kind, stream_id, detail FROM findings{self._s} "
            "WHERE resolved_at IS NULL"
        )

    def put_batch(self, kind: str, stream_id: int, chunk: int, rows: list[FindingRow]) -> None:
        """Note the findings in the reports of a chunk, each of one report."""
        if not rows:
            self._db.execute(
                f"DELETE FROM batch_findings{self._s} WHERE stream_id = ? AND kind = ? "
                "AND chunk = ?",
                (stream_id, kind, chunk),
            )
            return
        listed = json.dumps([(row.first_seq, row.found_at, row.detail) for row in rows])
        self._db.execute(
            f"{REPLACE} batch_findings{self._s} VALUES (?, ?, ?, ?, ?)",
            (stream_id, kind, chunk, len(rows), listed),
        )

    def with_batches(self) -> set[tuple[int, str]]:
        """Streams that have findings in chunks, with their kinds."""
        rows = self._db.all(f"SELECT DISTINCT stream_id, kind FROM batch_findings{self._s}")
        return {(row[0], row[1]) for row in rows}

    def of_batches(self, kind: str, stream_id: int, most: int) -> tuple[int, list[FindingRow]]:
        """How many findings the chunks of a stream have; and all of them in the order of seq, or,
        if they are too many, those of the first and the last chunk."""
        its = (stream_id, kind)
        of_stream = f"FROM batch_findings{self._s} WHERE stream_id = ? AND kind = ?"
        number = int(self._db.value(f"SELECT coalesce(sum(number), 0) {of_stream}", its))
        chunks = (
            f"{of_stream} AND chunk IN ((SELECT min(chunk) {of_stream}), "
            f"(SELECT max(chunk) {of_stream}))"
            if number > most
            else of_stream
        )
        rows = self._db.all(
            f"SELECT listed {chunks} ORDER BY chunk", its * (3 if number > most else 1)
        )
        return number, [
            FindingRow(0, seq, seq, 0, found_at, detail)
            for (listed,) in rows
            for seq, found_at, detail in json.loads(listed)
        ]
