"""Which reports are in the archive, and where; and these reports.

A report may be in the table `reports` and in the archive: it was stored again, or the archive has
just been written. Then the row in the table counts. Of two in the archive the newer counts.
Readers ask the table first and the archive after it, because nothing leaves the table before it
can be found in the archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from host_tools.archive.chain import Chain, Listed
from host_tools.archive.file import ArchivedReport
from host_tools.archive.reader import ArchivePlace
from host_tools.common.i18n import _
from host_tools.store.database import Database
from host_tools.store.dialect import THEN_JOIN
from host_tools.store.errors import StoreDamaged
from host_tools.store.ranges import RangeSet


class ArchiveRow(NamedTuple):
    """A row of `archives`; emptied: none of its reports is left in the table `reports`."""

    id: int
    file: str
    sha256: str
    emptied: bool


def archives(db: Database) -> list[ArchiveRow]:
    """The files of the archive that the database knows, the oldest first."""
    rows = db.all("SELECT id, file, sha256, emptied FROM archives ORDER BY id")
    return [ArchiveRow(id, file, sha, bool(emptied)) for id, file, sha, emptied in rows]


def check_chain(db: Database, chain: Chain) -> list[Listed]:
    """Compare the list of the archive with the database; returns what only the list names.

    Raises:
        StoreDamaged: the database knows files that the list does not name.
    """
    known = {row.file: row.sha256 for row in archives(db)}
    listed = {each.file: each.sha256 for each in chain}
    for file, sha256 in known.items():
        if listed.get(file) != sha256:
            raise StoreDamaged(
                _(
                    "{path} does not name {file} as {database} does; put the list and the file "
                    "back from a backup."
                ).format(path=chain.path, file=file, database=db.path)
            )
    return [each for each in chain if each.file not in known]


def places(
    db: Database, stream_id: int, first: int = 0, last: int = 2**32
) -> Iterator[ArchivePlace]:
    """Where the archive has reports of a stream from a seq to another, the newest file last."""
    rows = db.all(
        "SELECT file, row_group, first_row, reports FROM archived "
        "JOIN archives ON archives.id = archive_id "
        "WHERE stream_id = ? AND last_seq >= ? AND first_seq <= ? ORDER BY archive_id, row_group",
        (stream_id, first, last),
    )
    return (ArchivePlace(*row) for row in rows)


def archived_reports(
    db: Database, stream_id: int, first: int = 0, last: int = 2**32
) -> dict[int, ArchivedReport]:
    """The archived reports of a stream from a seq to another."""
    found: dict[int, ArchivedReport] = {}
    for place in places(db, stream_id, first, last):
        its = db.archive.read(place)
        if last - first < len(its):
            found |= {seq: its[seq] for seq in range(first, last + 1) if seq in its}
        else:
            found |= {seq: report for seq, report in its.items() if first <= seq <= last}
    return found


def archived_ranges(db: Database) -> Iterator[tuple[int, RangeSet]]:
    """Stream id and seqs of all that is in the archive."""
    for stream_id, text in db.iterate("SELECT stream_id, ranges FROM archived"):
        yield stream_id, RangeSet.parse(text)


def archived_seqs(db: Database, stream_id: int) -> RangeSet:
    """The seqs of a stream that are in the archive."""
    found = RangeSet()
    for (text,) in db.all("SELECT ranges FROM archived WHERE stream_id = ?", (stream_id,)):
        for first, last in RangeSet.parse(text):
            found.add_range(first, last)
    return found


def count_archived(db: Database, slot: str) -> int:
    """How many reports of a slot are in the archive."""
    return int(
        db.value(
            f"SELECT coalesce(sum(reports), 0) FROM slots {THEN_JOIN} streams "
            f"ON slot_id = slots.id {THEN_JOIN} archived ON stream_id = streams.id WHERE slot = ?",
            (slot,),
        )
    )


def register(db: Database, listed: Listed, groups: Iterable[list[ArchivedReport]]) -> int:
    """Note where the reports of a file are, within a transaction; returns the id of the file.

    Raises:
        StoreDamaged: the database does not know a stream of it.
    """
    archive_id = db.insert(
        "INSERT INTO archives (file, sha256, emptied) VALUES (?, ?, 0)",
        (listed.file, listed.sha256),
    )
    ids = stream_ids(db)
    for number, reports in enumerate(groups):
        begin = 0
        while begin < len(reports):
            kid, stream = reports[begin].kid, reports[begin].stream
            end = begin
            ranges = RangeSet()
            while end < len(reports) and (reports[end].kid, reports[end].stream) == (kid, stream):
                ranges.add(reports[end].seq)
                end += 1
            stream_id = ids.get((kid, stream))
            if stream_id is None:
                raise StoreDamaged(
                    _(
                        "The archive {file} has reports of a stream that {database} does not "
                        "know; "
                        "put the newest backup of the database back."
                    ).format(file=listed.file, database=db.path)
                )
            db.execute(
                "INSERT INTO archived (stream_id, last_seq, archive_id, row_group, first_row, "
                "first_seq, reports, ranges) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(stream_id, ranges.last, archive_id, number, begin),
                    *(reports[begin].seq, end - begin, ranges.text()),
                ),
            )
            begin = end
    return archive_id


def stream_ids(db: Database) -> dict[tuple[bytes, bytes], int]:
    """The id of each stream by kid and name."""
    return {(kid, stream): id for id, kid, stream in db.all("SELECT id, kid, stream FROM streams")}
