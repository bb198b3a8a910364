"""Findings: what is wrong or worth knowing about a stream as a whole, each with its place in it.

A gap that fills, or that the device declares later, and reports that find their place in time are
resolved and kept. A gap keeps the extent with which it was found, beside what is missing of it
now.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum

from agent.wire import ids
from host_tools.derive.slice import FUTURE_S, BootKey, Changes, Placed, uint
from host_tools.store.database import Database
from host_tools.store.evidence import Streams
from host_tools.store.ranges import RangeSet
from host_tools.wire import hash8

_MAX_NEW_GAPS = 100  # of one stream at once; more are told as one


class Kind(StrEnum):
    """One word for each finding; stored in the database as it is."""

    GAP = "gap"
    DROPPED = "dropped"
    CHAIN_BREAK = "chain_break"
    FUTURE_CLOCK = "future_clock"
    UNPLACED = "unplaced"
    STREAM_LOST = "stream_lost"


def _add(
    db: Database,
    kind: Kind,
    slot_id: int,
    stream_id: int,
    first: int,
    last: int,
    now: int,
    *,
    boot: int = 0,
    missing: int = 0,
    detail: str = "",
) -> None:
    """Note a finding, unless it is known with this kind, boot and first seq."""
    if db.one(
        "SELECT 1 FROM findings WHERE stream_id = ? AND kind = ? AND boot = ? AND first_seq = ? "
        "AND resolved_at IS NULL",
        (stream_id, kind, boot, first),
    ):
        return
    _insert(db, kind, slot_id, stream_id, first, last, now, boot, missing, detail)


def _insert(
    db: Database,
    kind: Kind,
    slot_id: int,
    stream_id: int,
    first: int,
    last: int,
    now: int,
    boot: int,
    missing: int,
    detail: str,
) -> None:
    db.execute(
        "INSERT INTO findings (kind, slot_id, stream_id, boot, first_seq, last_seq, missing, "
        "found_at, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (kind, slot_id, stream_id, boot, first, last, missing, now, detail),
    )


def _drop(
    db: Database, slot_id: int, stream_id: int, first: int, last: int, now: int, detail: str
) -> None:
    """Note what a device says that it dropped, as one with what it told of the same reports.

    It tells of a drop again, and of more, whenever the report that told it may be lost."""
    known = db.all(
        "SELECT id, first_seq, last_seq FROM findings WHERE stream_id = ? AND kind = ? "
        "AND detail = ? AND first_seq <= ? AND last_seq >= ?",
        (stream_id, Kind.DROPPED, detail, last, first),
    )
    if not known:
        _insert(db, Kind.DROPPED, slot_id, stream_id, first, last, now, 0, 0, detail)
        return
    first = min(first, *(row[1] for row in known))
    last = max(last, *(row[2] for row in known))
    for number, _, _ in known[1:]:
        db.execute("DELETE FROM findings WHERE id = ?", (number,))
    db.execute(
        "UPDATE findings SET first_seq = ?, last_seq = ? WHERE id = ?", (first, last, known[0][0])
    )


# ---- the chain ---------------------------------------------------------------------------


def check_chain(db: Database, reports: Iterable[Placed], now: int) -> None:
    """Compare each link at the reports of a slice, to the one before and from the one after."""
    links = {(p.stream_id, p.report.seq): (p.slot_id, p.report.prev, p.digest) for p in reports}
    for (stream_id, seq), (slot_id, prev, digest) in links.items():
        if (prev is None) != (seq == 1):
            _broken(db, slot_id, stream_id, seq, now)
        elif prev is not None and _digest(db, links, stream_id, seq - 1) not in (None, prev):
            _broken(db, slot_id, stream_id, seq, now)
        if (stream_id, seq + 1) not in links:
            following = db.one(
                "SELECT prev FROM placements WHERE stream_id = ? AND seq = ?", (stream_id, seq + 1)
            )
            if following and following[0] is not None and following[0] != digest:
                _broken(db, slot_id, stream_id, seq + 1, now)


def _digest(
    db: Database,
    links: dict[tuple[int, int], tuple[int, bytes | None, bytes]],
    stream_id: int,
    seq: int,
) -> bytes | None:
    """What `prev` must be after a report, or None while that is not stored."""
    if (stream_id, seq) in links:
        return links[stream_id, seq][2]
    values = (stream_id, seq)
    digest: bytes | None = db.value(
        "SELECT digest FROM placements WHERE stream_id = ? AND seq = ?", values
    )
    if digest is not None:
        return digest
    # A report whose content is bad is a link of the chain all the same.
    kept = db.value(
        "SELECT payload FROM quarantine WHERE stream_id = ? AND seq = ? AND reason != 'conflict'",
        values,
    )
    return None if kept is None else hash8(kept)


def _broken(db: Database, slot_id: int, stream_id: int, seq: int, now: int) -> None:
    _add(db, Kind.CHAIN_BREAK, slot_id, stream_id, seq, seq, now)


# ---- clocks ------------------------------------------------------------------------------


def note_future_clocks(db: Database, reports: Iterable[Placed]) -> None:
    """One finding for each boot with a clock from the future, with the first and last such seq."""
    for placed in reports:
        report = placed.report
        if report.start is None or placed.offset is not None:
            continue
        ahead = report.start + placed.extent - placed.received_at
        if ahead <= FUTURE_S:
            continue
        where = (placed.stream_id, Kind.FUTURE_CLOCK, report.boot)
        if not db.execute(
            "UPDATE findings SET first_seq = min(first_seq, ?), last_seq = max(last_seq, ?) "
            "WHERE stream_id = ? AND kind = ? AND boot = ?",
            (report.seq, report.seq, *where),
        ):
            _add(
                db,
                Kind.FUTURE_CLOCK,
                placed.slot_id,
                placed.stream_id,
                report.seq,
                report.seq,
                placed.received_at,
                boot=report.boot,
                detail=json.dumps({"ahead_s": ahead}),
            )


def note_unplaced(db: Database, boots: Iterable[BootKey], now: int) -> None:
    """One finding for each boot with reports without a place in time, resolved once they have one.

    Args:
        boots: those of the slice with reports without a clock of their own.
    """
    for stream_id, boot in boots:
        known = db.value(
            "SELECT id FROM findings WHERE stream_id = ? AND kind = ? AND boot = ? "
            "AND resolved_at IS NULL",
            (stream_id, Kind.UNPLACED, boot),
        )
        key = (stream_id, boot)
        low, high = (
            db.one(
                "SELECT seq, slot_id FROM placements WHERE stream_id = ? AND boot = ? "
                f"AND offset IS NULL AND t IS NULL ORDER BY seq {order} LIMIT 1",
                key,
            )
            for order in ("ASC", "DESC")
        )
        if low is None or high is None:
            if known:
                db.execute("UPDATE findings SET resolved_at = ? WHERE id = ?", (now, known))
            continue
        (first, slot_id), (last, _) = low, high
        if known:
            db.execute(
                "UPDATE findings SET first_seq = ?, last_seq = ? WHERE id = ?",
                (first, last, known),
            )
        else:
            _add(db, Kind.UNPLACED, slot_id, stream_id, first, last, now, boot=boot)


# ---- what devices tell of themselves -----------------------------------------------------


def note_events(
    db: Database, streams: Streams, reports: Iterable[Placed], changes: Changes
) -> None:
    """Take `dropped` and `stream_began` events from reports."""
    for placed in reports:
        for event in placed.report.events:
            detail = event.detail
            if event.kind == ids.DROPPED:
                span, other = detail.get(2), detail.get(3)
                if not (
                    isinstance(span, list)
                    and len(span) == 2
                    and all(type(seq) is int for seq in span)
                    and 1 <= span[0] <= span[1] <= 0xFFFFFFFF
                ):
                    continue
                stream_id = placed.stream_id
                if isinstance(other, bytes):
                    before = streams.find(streams.by_id(stream_id).kid, other)
                    if before is None:
                        continue  # of which nothing was ever stored, so that nothing is missing
                    stream_id = before.id
                reason = uint(detail.get(1)) or 0
                why = json.dumps({"reason": reason})
                _drop(db, placed.slot_id, stream_id, span[0], span[1], changes.now, why)
                changes.streams.add(stream_id)
            elif event.kind == ids.STREAM_BEGAN and detail.get(1) == ids.STREAM_LOST:
                told = {"before": detail.get(2), "last_seq": detail.get(3)}
                _add(
                    db,
                    Kind.STREAM_LOST,
                    placed.slot_id,
                    placed.stream_id,
                    placed.report.seq,
                    placed.report.seq,
                    changes.now,
                    detail=json.dumps(told, default=bytes.hex),
                )


# ---- gaps --------------------------------------------------------------------------------


class Gaps:
    """The holes in streams that no `dropped` event declares."""

    def __init__(self, db: Database) -> None:
        self._db = db
        # Most streams have no gap and never had one: they shall cost no query.
        self._open = {
            stream_id
            for (stream_id,) in db.all(
                "SELECT DISTINCT stream_id FROM findings WHERE kind = 'gap' "
                "AND resolved_at IS NULL"
            )
        }

    def check(self, streams: Streams, changes: Changes) -> None:
        """Bring the gaps of the streams of a slice up to date."""
        for stream_id in changes.streams:
            stream = streams.by_id(stream_id)
            if stream.ranges.whole and stream_id not in self._open:
                continue
            self._check(stream_id, stream.ranges, changes.now)

    def _check(self, stream_id: int, stored: RangeSet, now: int) -> None:
        db = self._db
        declared = RangeSet(
            (first, last)
            for first, last in db.all(
                "SELECT first_seq, last_seq FROM findings WHERE stream_id = ? AND kind = ?",
                (stream_id, Kind.DROPPED),
            )
        )
        holes = RangeSet(stored.holes()).without(declared)
        known = RangeSet()
        still_open = False
        for number, first, last, missing in db.all(
            "SELECT id, first_seq, last_seq, missing FROM findings "
            "WHERE stream_id = ? AND kind = ? AND resolved_at IS NULL",
            (stream_id, Kind.GAP),
        ):
            left = holes.count(first, last)
            if not left:
                db.execute(
                    "UPDATE findings SET missing = 0, resolved_at = ? WHERE id = ?", (now, number)
                )
                continue
            still_open = True
            known.add_range(first, last)
            if left != missing:
                db.execute("UPDATE findings SET missing = ? WHERE id = ?", (left, number))
        new = list(holes.without(known))
        if len(new) > _MAX_NEW_GAPS:
            new = [(new[0][0], new[-1][1])]
        slot_id = db.value("SELECT slot_id FROM streams WHERE id = ?", (stream_id,))
        for first, last in new:
            missing = holes.count(first, last)
            _add(db, Kind.GAP, slot_id, stream_id, first, last, now, missing=missing)
            still_open = True
        (self._open.add if still_open else self._open.discard)(stream_id)
