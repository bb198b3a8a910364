"""The derivation: takes stored reports, some at a time, and brings every derived table up to date.

Each step is one transaction that also moves the mark up to which reports are derived. So a crash
at any instant leaves a state that the next step continues from.
"""

from __future__ import annotations

from collections.abc import Callable

from host_tools.derive import boots, findings, intervals, measured, outages, placing, usage
from host_tools.derive.slice import BootKey, Changes, Placed, extent
from host_tools.store.database import Database, Row
from host_tools.store.evidence import Streams, get_meta, newest_report, set_meta
from host_tools.store.schema import DERIVED_TABLES
from host_tools.wire import Refused, hash8, parse_report
from host_tools.wire.envelope import split

_MARK = "derived_upto"


class Deriver:
    """Derives from the reports of an open database, within the process that stores them."""

    def __init__(self, db: Database, streams: Streams) -> None:
        self._db = db
        self._streams = streams
        self._gaps = findings.Gaps(db)

    def pending(self) -> int:
        """How many reports are stored and not derived yet."""
        return newest_report(self._db) - get_meta(self._db, _MARK)

    def load(self) -> None:
        """Forget what was remembered of the database, after a transaction that failed."""
        self._gaps = findings.Gaps(self._db)

    def step(self, limit: int = 200) -> int:
        """Derive from the next reports in the order of storing; returns how many there were.

        Raises:
            StoreBusy, StoreFull: nothing was changed; call `load` and try again later.
        """
        db = self._db
        with db.transaction(durable=False):
            rows = db.all(
                "SELECT reports.id, stream_id, slot_id, received_at, message FROM reports "
                "JOIN streams ON streams.id = stream_id WHERE reports.id > ? "
                "ORDER BY reports.id LIMIT ?",
                (get_meta(db, _MARK), limit),
            )
            if rows:
                self._derive([placed for placed in map(_placed, rows) if placed is not None])
                set_meta(db, _MARK, rows[-1][0])
        return len(rows)

    def _derive(self, reports: list[Placed]) -> None:
        db = self._db
        if not reports:
            return
        changes = Changes(now=max(placed.received_at for placed in reports))
        changes.streams.update(placed.stream_id for placed in reports)
        changes.slots.update(placed.slot_id for placed in reports)

        placing.insert(db, reports)
        keys = {(placed.stream_id, placed.report.boot) for placed in reports}
        clockless = placing.clockless_boots(db, keys)
        moved = self._moved(placing.place(db, reports, clockless), changes)

        findings.check_chain(db, reports, changes.now)
        measured.insert_samples(db, [*reports, *moved], changes)
        measured.insert_events(db, [p for p in (*reports, *moved) if p.report.events])
        boots.note(db, [*reports, *moved], changes)
        for key in {(placed.stream_id, placed.report.boot) for placed in moved}:
            boots.measure_again(db, key, changes)
            outages.look_again(db, *key)
        outages.note(db, [*reports, *moved], changes)
        outages.conclude(db, changes)
        boots.find_off_times(db, changes)

        findings.note_future_clocks(db, reports)
        findings.note_unplaced(db, clockless, changes.now)
        findings.note_events(db, self._streams, reports, changes)
        self._gaps.check(self._streams, changes)

        for slot_id, begin, end in changes.windows():
            intervals.repaint(db, slot_id, begin, end)
        usage.sum_up(db, changes)
        _note_latest(db, reports)

    def _moved(self, moves: list[placing.Moved], changes: Changes) -> list[Placed]:
        """The reports of earlier slices that lie elsewhere now, their old samples taken away."""
        result = []
        for move in moves:
            row = self._db.one(
                "SELECT reports.id, stream_id, slot_id, received_at, message FROM reports "
                "JOIN streams ON streams.id = stream_id WHERE reports.id = ?",
                (move.report_id,),
            )
            placed = _placed(row) if row else None
            if placed is None:
                continue
            placed.t = self._db.value(
                "SELECT t FROM placements WHERE stream_id = ? AND seq = ?",
                (move.stream_id, move.seq),
            )
            measured.delete_samples(self._db, placed, move.old_t, changes)
            changes.slots.add(placed.slot_id)
            result.append(placed)
        return result


def _placed(row: Row) -> Placed | None:
    report_id, stream_id, slot_id, received_at, message = row
    try:
        _, begin = split(message)
        report = parse_report(message[begin:-66])
    except Refused:
        return None  # stored by a version that read it otherwise; it stays evidence
    latest = extent(report)
    offset = None
    if report.start is not None and placing.believed(report, latest, received_at):
        offset = report.start - report.up
    return Placed(
        report_id,
        stream_id,
        slot_id,
        received_at,
        report,
        hash8(message),
        offset,
        None if offset is None else report.start,
        latest,
    )


def _note_latest(db: Database, reports: list[Placed]) -> None:
    newest: dict[int, Placed] = {}
    for placed in reports:
        newest[placed.slot_id] = placed
    # Devices send what is newest first: the pace is that of the newest samples, not of what came
    # last, which may be from a long outage.
    ends: dict[int, tuple[int, int]] = {}
    for placed in reports:
        if placed.end is not None and placed.report.n:
            end = (placed.end, placed.report.step)
            ends[placed.slot_id] = max(ends.get(placed.slot_id, end), end)
    db.executemany(
        "INSERT INTO latest VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (slot_id) DO UPDATE SET "
        "report_id = excluded.report_id, stream_id = excluded.stream_id, "
        "received_at = max(received_at, excluded.received_at), "
        "step = CASE WHEN t_end IS NULL OR excluded.t_end >= t_end THEN excluded.step "
        "ELSE step END, "
        "t_end = max(coalesce(t_end, excluded.t_end), coalesce(excluded.t_end, t_end))",
        [
            (slot_id, p.report_id, p.stream_id, p.received_at, end, step)
            for slot_id, p in newest.items()
            for end, step in (ends.get(slot_id, (None, p.report.step)),)
        ],
    )


def rebuild(db: Database, progress: Callable[[int, int], None] | None = None) -> int:
    """Make every derived table again from the stored reports; returns how many there are.

    May be interrupted at any time: the next start of the ingest goes on with the rest.

    Args:
        progress: called now and then with how many are done and how many there are.
    """
    with db.transaction():
        for table in DERIVED_TABLES:
            db.execute(f"DELETE FROM {table}")
        set_meta(db, _MARK, 0)
    deriver = Deriver(db, Streams(db))
    total, done = newest_report(db), 0
    while count := deriver.step(1000):
        done += count
        if progress is not None:
            progress(done, total)
    return done


__all__ = ["BootKey", "Deriver", "rebuild"]
