"""The place of each report in time (docs/wire.md, "Time").

A report whose clock is not set, or lies in the future, takes the time of the nearest report, by
seq, of its boot that knows it. So a report may be placed late, or placed anew when a nearer one
comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from host_tools.derive.slice import FUTURE_S, BootKey, Placed
from host_tools.store.database import Database
from host_tools.wire import Report


class Moved(NamedTuple):
    """A report of an earlier slice that has got another place in time."""

    report_id: int
    stream_id: int
    seq: int
    old_t: int | None


def believed(report: Report, extent: int, received_at: int) -> bool:
    """Whether a report's own clock counts: nothing it tells of lies ahead of its receipt, and its
    boot not before 1970."""
    start = report.start
    return start is not None and report.up <= start and start + extent <= received_at + FUTURE_S


def insert(db: Database, reports: Iterable[Placed]) -> None:
    """Note the reports of a slice, those without a clock as not placed."""
    db.executemany(
        "INSERT INTO placements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                p.stream_id,
                r.seq,
                p.report_id,
                p.slot_id,
                r.boot,
                r.up,
                r.step,
                r.n,
                p.offset,
                p.t,
                r.prev,
                p.digest,
            )
            for p in reports
            for r in (p.report,)
        ],
    )


def clockless_boots(db: Database, boots: Iterable[BootKey]) -> set[BootKey]:
    """Those boots that hold reports without a clock of their own."""
    return {
        key
        for key in boots
        if db.one(
            "SELECT 1 FROM placements WHERE stream_id = ? AND boot = ? AND offset IS NULL LIMIT 1",
            key,
        )
    }


def place(db: Database, reports: Iterable[Placed], boots: set[BootKey]) -> list[Moved]:
    """Place what the reports of a slice allow to place; sets `t` of the slice's own.

    Args:
        boots: those with clockless reports; reports of others have their place already.

    Returns:
        Reports of earlier slices that were moved.
    """
    own = {(p.stream_id, p.report.seq): p for p in reports}
    boots = {key for key in boots if anchored(db, own.values(), key)}
    done: set[tuple[int, int]] = set()
    moved = []
    for (stream_id, seq), placed in own.items():
        boot = placed.report.boot
        if (stream_id, boot) not in boots or (stream_id, seq) in done:
            continue
        around, clockless = _neighbourhood(db, stream_id, boot, seq)
        for number, report_id, up, old_t in clockless:
            done.add((stream_id, number))
            anchor = min(around, key=lambda a: (abs(a[0] - number), a[0]), default=None)
            t = None if anchor is None else anchor[1] + up
            if t is not None and t != old_t and t > _latest(db, own, stream_id, number):
                t = None
            if t == old_t:
                continue
            db.execute(
                "UPDATE placements SET t = ? WHERE stream_id = ? AND seq = ?",
                (t, stream_id, number),
            )
            if (stream_id, number) in own:
                own[stream_id, number].t = t
            else:
                moved.append(Moved(report_id, stream_id, number, old_t))
    return moved


def _latest(db: Database, own: dict[tuple[int, int], Placed], stream_id: int, seq: int) -> int:
    """The latest start at which nothing that a report tells of lies ahead of its receipt."""
    placed = own.get((stream_id, seq))
    if placed is not None:
        return placed.received_at + FUTURE_S - placed.extent
    # As `extent` finds it, of an earlier slice.
    latest: int = db.value(
        "SELECT received_at + ? - max(n * step, coalesce((SELECT max(events.up) FROM events "
        "WHERE events.stream_id = p.stream_id AND events.seq = p.seq "
        "AND events.up <= p.up + (n + 1) * step + ?) - p.up, 0)) "
        "FROM placements p JOIN reports ON reports.id = report_id "
        "WHERE p.stream_id = ? AND p.seq = ?",
        (FUTURE_S, FUTURE_S, stream_id, seq),
    )
    return latest


def anchored(db: Database, reports: Iterable[Placed], key: BootKey) -> bool:
    """Whether any report of a boot knows the time, those of a slice included."""
    if any((p.stream_id, p.report.boot) == key and p.offset is not None for p in reports):
        return True
    return db.value("SELECT offset FROM boots WHERE stream_id = ? AND boot = ?", key) is not None


Anchor = tuple[int, int]  # seq, offset
Clockless = tuple[int, int, int, int | None]  # seq, report id, up, t


def _neighbourhood(
    db: Database, stream_id: int, boot: int, seq: int
) -> tuple[list[Anchor], list[Clockless]]:
    """The reports of a boot around a seq, out to the nearest on each side that knows the time."""
    anchors: list[Anchor] = []
    clockless: list[Clockless] = []
    for order in ("seq <= ? ORDER BY seq DESC", "seq > ? ORDER BY seq"):
        for number, its_boot, report_id, up, offset, t in db.iterate(
            "SELECT seq, boot, report_id, up, offset, t FROM placements "
            f"WHERE stream_id = ? AND {order}",
            (stream_id, seq),
        ):
            if its_boot != boot:
                break
            if offset is None:
                clockless.append((number, report_id, up, t))
                continue
            anchors.append((number, offset))
            # The report itself may be the anchor: then what lies before it is affected too.
            if number != seq:
                break
    return anchors, clockless
