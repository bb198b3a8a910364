"""Moves the reports of closed months from the database into the archive, beside a running ingest.

Each file goes through these steps; a crash between two of them loses nothing and doubles nothing:

1. the file is written under another name, and gets its name when it is on the disk;
2. the list names it (`archive.chain`);
3. the database notes where its reports are: from now on they are found in both places;
4. the rows are removed, a few at a time, each after it was compared with what the file holds.

What a crash interrupted is done first at the next time. The month of a report is that of its
receipt: a report of October that comes in December belongs to December, so a closed month stays
closed. Only what waited in quarantine for an enrolment is late; it becomes one more file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from host_tools.archive.chain import DIRECTORY, Chain, Listed, file_digest
from host_tools.archive.file import ArchivedReport, ArchiveFile, write
from host_tools.common.errors import DesalinkError
from host_tools.common.files import (
    give_to_owner_of_directory,
    make_directory,
    sync_directory,
)
from host_tools.common.i18n import _
from host_tools.common.times import DAY_S, WITA, WITA_S
from host_tools.store.archived import archives, check_chain, register, stream_ids
from host_tools.store.database import Database
from host_tools.store.derived_schema import REBUILDING
from host_tools.store.evidence import last_before
from host_tools.store.generation import Generation
from host_tools.store.receipts import counted_mark
from host_tools.store.streams import saved_mark

_FILE_REPORTS = 500_000  # some 70 MB
_PAGE = 1000  # rows that are read or removed at once
_PART = ".part"

Progress = Callable[[str], None]


class MonthOpen(DesalinkError):
    """A month that is not over can't be archived."""


@dataclass
class Moved:
    """What was archived: how many files, reports, and bytes of the files."""

    files: int = 0
    reports: int = 0
    bytes: int = 0


def month_of(unix: float) -> str:
    """The month of WITA in which a time lies: `2026-10`."""
    return datetime.fromtimestamp(unix, WITA).strftime("%Y-%m")


def month_begin(month: str, more: int = 0) -> int:
    """When a month begins, or one so many months later. Unix seconds."""
    year, number = map(int, month.split("-"))
    months = year * 12 + number - 1 + more
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=WITA).timestamp())


class Archiver:
    """Archives from an open database."""

    def __init__(self, db: Database, say: Progress, file_reports: int = _FILE_REPORTS) -> None:
        """
        Raises:
            ArchiveDamaged, StoreDamaged: the archive that is there can't be continued.
            MonthOpen: a rebuild was interrupted, and must end first.
        """
        if Generation(db, REBUILDING).exists():
            raise DesalinkError(
                _(
                    "A rebuild was interrupted; finish it first with 'desalink ingest --rebuild "
                    "--until-idle 0'."
                )
            )
        self._db = db
        self._say = say
        self._file_reports = file_reports
        self.directory = db.path.parent / DIRECTORY
        self.chain = Chain(self.directory)
        for remains in self.directory.glob(".*"):
            remains.unlink()  # of a process that was killed
        for listed in check_chain(db, self.chain):
            self._register(listed)
        for row in archives(db):
            if not row.emptied:
                self._empty(row.id, row.file)

    # ---- what to archive ---------------------------------------------------------------------

    def archive_month(self, month: str, now: float) -> Moved:
        """Archive what arrived in a month.

        Raises:
            MonthOpen: it is not over.
            StoreBusy, StoreFull: run it again later; what was begun is completed then.
        """
        end = month_begin(month, 1)
        if end > now:
            raise MonthOpen(
                _("{month} is not over; only a month that is over can be archived.").format(
                    month=month
                )
            )
        moved = Moved()
        self._archive(month, self._boundary(), moved)
        return moved

    def archive_older(self, hot_months: int, now: float) -> Moved:
        """Archive all that arrived before the last months, but for the present one.

        Args:
            hot_months: so many whole months stay in the database, and the present one.
        """
        cutoff = month_begin(month_of(now), -hot_months)
        boundary = last_before(self._db, cutoff, self._boundary())
        moved = Moved()
        for month in self._months(boundary):
            if month_begin(month, 1) <= cutoff:
                self._archive(month, boundary, moved)
        return moved

    def _boundary(self) -> int:
        """Only rows up to this id may go. The ranges of streams are saved up to there, receipts
        count them, and one row after it stays: the ids of new ones are counted on from the
        newest."""
        saved, counted = saved_mark(self._db), counted_mark(self._db)
        return (saved if counted is None else min(saved, counted)) - 1

    def _months(self, boundary: int) -> list[str]:
        days = self._db.all(
            f"SELECT DISTINCT (received_at + {WITA_S}) / {DAY_S} FROM reports WHERE id <= ?",
            (boundary,),
        )
        return sorted({month_of(day * DAY_S - WITA_S) for (day,) in days})

    # ---- one month ---------------------------------------------------------------------------

    def _archive(self, month: str, boundary: int, moved: Moved) -> None:
        reports = self._reports(month_begin(month), month_begin(month, 1), boundary)
        while first := list(islice(reports, 1)):
            self._say(_("Archiving {month} ...").format(month=month))
            listed = self._write(month, first[0], reports)
            self._empty(self._register(listed), listed.file)
            moved.files += 1
            moved.reports += listed.reports
            moved.bytes += listed.size

    def _reports(self, begin: int, end: int, boundary: int) -> Iterator[ArchivedReport]:
        """What arrived from begin to end, by slot, stream and seq."""
        streams = self._db.all(
            "SELECT streams.id, slot, kid, stream FROM streams JOIN slots ON slots.id = slot_id "
            "ORDER BY slot, streams.id"
        )
        for stream_id, *name in streams:
            after = 0
            while rows := self._db.all(
                "SELECT seq, boot, up, start, received_at, message FROM reports "
                "WHERE stream_id = ? AND seq > ? AND received_at >= ? AND received_at < ? "
                "AND id <= ? AND NOT EXISTS (SELECT 1 FROM corrupt WHERE corrupt.stream_id = "
                "reports.stream_id AND corrupt.seq = reports.seq) ORDER BY seq LIMIT ?",
                (stream_id, after, begin, end, boundary, _PAGE),
            ):
                after = rows[-1][0]
                yield from (ArchivedReport(*name, *row) for row in rows)

    def _write(self, month: str, first: ArchivedReport, more: Iterator[ArchivedReport]) -> Listed:
        """Steps 1 and 2."""
        name = self.chain.next_name(month)
        make_directory(self.directory)
        path, part = self.directory / name, self.directory / f".{name}{_PART}"
        times = [first.received_at, first.received_at]

        def counted() -> Iterator[ArchivedReport]:
            yield first
            for report in islice(more, self._file_reports - 1):
                times[0] = min(times[0], report.received_at)
                times[1] = max(times[1], report.received_at)
                yield report

        count = write(part, counted())
        give_to_owner_of_directory(part)
        handle = os.open(part, os.O_RDONLY)
        os.fchmod(handle, 0o400)
        os.fsync(handle)
        os.close(handle)
        os.replace(part, path)
        sync_directory(self.directory)
        size, digest = path.stat().st_size, file_digest(path)
        listed = Listed(name, month, count, times[0], times[1], size, digest, self.chain.head)
        self.chain.append(listed)
        return listed

    def _register(self, listed: Listed) -> int:
        """Step 3."""
        file = ArchiveFile(self.chain.check(listed))
        with self._db.transaction():
            return register(self._db, listed, file)

    def _empty(self, archive_id: int, name: str) -> None:
        """Step 4."""
        listed = next(each for each in self.chain if each.file == name)
        ids = stream_ids(self._db)
        for group in ArchiveFile(self.chain.check(listed)):
            for begin in range(0, len(group), _PAGE):
                started = time.monotonic()
                with self._db.transaction(durable=False):
                    self._remove(group[begin : begin + _PAGE], ids)
                # Whoever else writes has his turn.
                time.sleep(time.monotonic() - started)
        with self._db.transaction():
            self._db.execute("UPDATE archives SET emptied = 1 WHERE id = ?", (archive_id,))

    def _remove(self, reports: list[ArchivedReport], ids: dict[tuple[bytes, bytes], int]) -> None:
        """Remove the rows that are, byte for byte, what the archive holds."""
        held: dict[int, dict[int, ArchivedReport]] = {}
        for report in reports:
            held.setdefault(ids[report.kid, report.stream], {})[report.seq] = report
        gone = []
        for stream_id, its in held.items():
            rows = self._db.all(
                "SELECT id, seq, boot, up, start, received_at, message FROM reports "
                "WHERE stream_id = ? AND seq BETWEEN ? AND ?",
                (stream_id, min(its), max(its)),
            )
            gone += [(row[0],) for row in rows if row[1] in its and its[row[1]][3:] == row[1:]]
        self._db.executemany("DELETE FROM reports WHERE id = ?", gone)
