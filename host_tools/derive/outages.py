"""Outages: from the events that tell their beginning and end to one row each.

The two events may come in any order, and either may be lost. `outage_ended` says everything by
itself; a beginning without an end ends, for the record, where the next outage of the boot begins,
where a sample says up again, or where the last sample of the boot ends, once that boot is over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields

from agent.wire import ids
from host_tools.derive import boots
from host_tools.derive.intervals import LAG_S
from host_tools.derive.measured import days_with_samples, event_t
from host_tools.derive.slice import (
    ROUNDING_S,
    Changes,
    Placed,
    day_of,
    plausible,
    uint,
)
from host_tools.store.database import Database
from host_tools.wire import Event, decode_columns

# Outages of one boot whose end was not told, that are looked at again and again. There are as
# many as reports were lost in the boot; a device that makes up more is shown what it makes up.
_MOST_UNTOLD = 100


@dataclass(slots=True)
class Outage:
    """A row of `outages`; the schema says what each field means."""

    id: int
    slot_id: int
    stream_id: int
    boot: int
    begin_up: int
    cause: int
    began_t: int | None = None
    ended_t: int | None = None
    duration: int | None = None
    began: int = 0
    ended: int = 0
    flaps: int = 0
    evidence: str | None = None
    up_again_t: int | None = None
    t_begin: int | None = None
    t_end: int | None = None
    interrupted: int = 0


_NAMES = tuple(field.name for field in fields(Outage))
_COLUMNS = ", ".join(_NAMES)
_PLACES = ", ".join("?" * len(_NAMES))


def _find(db: Database, where: str, *values: int) -> list[Outage]:
    return [
        Outage(*row) for row in db.all(f"SELECT {_COLUMNS} FROM outages WHERE {where}", values)
    ]


def _put(db: Database, outage: Outage) -> int:
    return db.insert(
        f"INSERT OR REPLACE INTO outages ({_COLUMNS}) VALUES ({_PLACES})",
        [getattr(outage, name) if name != "id" else outage.id or None for name in _NAMES],
    )


def note(db: Database, reports: Iterable[Placed], changes: Changes) -> None:
    """Take the outage events and the samples that say up from reports."""
    reports = list(reports)
    for placed in reports:
        for event in placed.report.events:
            if event.kind not in (ids.OUTAGE_BEGAN, ids.OUTAGE_ENDED):
                continue
            outage = _take(db, placed, event)
            if outage is None:
                continue
            if not outage.ended and outage.began_t is not None:
                outage.up_again_t = _first_up(db, outage)
            changes.outages.add(_put(db, outage))
            changes.boots.add((placed.stream_id, placed.report.boot))
    _note_up_again(db, reports)


def _take(db: Database, placed: Placed, event: Event) -> Outage | None:
    """The outage that an event tells of; None where it tells nothing that can be shown."""
    cause, duration = uint(event.detail.get(1)), uint(event.detail.get(3))
    began = event.kind == ids.OUTAGE_BEGAN
    if began:
        duration = 0
    if cause is None or duration is None or not plausible(placed.report, event):
        return None
    begin_up = placed.report.up + event.offset - duration
    if begin_up < -ROUNDING_S:
        return None  # before the agent had started
    outage = _get(db, placed, begin_up, cause)
    if began:
        outage.began, outage.began_t, outage.begin_up = 1, event_t(placed, event), begin_up
        outage.evidence = json.dumps(event.detail.get(2), default=bytes.hex)
    else:
        outage.ended, outage.ended_t, outage.duration = 1, event_t(placed, event), duration
        outage.flaps = uint(event.detail.get(4)) or 0
    return outage


def _get(db: Database, placed: Placed, begin_up: int, cause: int) -> Outage:
    """The outage of an event, which the other event may have made already."""
    near = _find(
        db,
        "stream_id = ? AND boot = ? AND begin_up BETWEEN ? AND ? AND cause = ?",
        placed.stream_id,
        placed.report.boot,
        begin_up - ROUNDING_S,
        begin_up + ROUNDING_S,
        cause,
    )
    if near:
        return min(near, key=lambda outage: abs(outage.begin_up - begin_up))
    return Outage(0, placed.slot_id, placed.stream_id, placed.report.boot, begin_up, cause)


def _up_after(outage: Outage) -> int | None:
    """From when on a sample that says up says that the outage is over.

    It begins with the first of the failing rounds that confirm it: until they have, samples still
    say up."""
    return None if outage.began_t is None else outage.began_t + LAG_S


def _first_up(db: Database, outage: Outage) -> int | None:
    """Start of the first stored sample of its boot, after its beginning, that says up."""
    boot = boots.get(db, (outage.stream_id, outage.boot))
    after = _up_after(outage)
    if after is None or boot is None or boot.last_t is None:
        return None
    for day in days_with_samples(db, day_of(after), day_of(boot.last_t)):
        row = db.one(
            "SELECT t FROM samples WHERE day = ? AND slot_id = ? AND t >= ? AND stream_id = ? "
            "AND seq BETWEEN ? AND ? AND state = ? ORDER BY t LIMIT 1",
            (
                day,
                outage.slot_id,
                after,
                outage.stream_id,
                boot.first_seq,
                boot.last_seq,
                ids.UP,
            ),
        )
        if row:
            return int(row[0])
    return None


def _untold(db: Database, stream_id: int, boot: int) -> list[Outage]:
    return _find(
        db,
        "stream_id = ? AND boot = ? AND ended = 0 ORDER BY id DESC LIMIT ?",
        stream_id,
        boot,
        _MOST_UNTOLD,
    )


def _note_up_again(db: Database, reports: Iterable[Placed]) -> None:
    """Samples that say up end the outages before them whose end was not told."""
    for placed in reports:
        report, t = placed.report, placed.t
        if t is None or not report.n:
            continue
        untold = _untold(db, placed.stream_id, report.boot)
        if not untold:
            continue
        states = decode_columns(report).get("state", [])
        ups = [t + i * report.step for i, state in enumerate(states) if state == ids.UP]
        for outage in untold:
            after = _up_after(outage)
            first = next((up for up in ups if after is not None and up >= after), None)
            if first is not None and (outage.up_again_t is None or first < outage.up_again_t):
                outage.up_again_t = first
                _put(db, outage)


def look_again(db: Database, stream_id: int, boot: int) -> None:
    """Find anew which samples say up after reports of a boot have moved in time."""
    for outage in _untold(db, stream_id, boot):
        outage.up_again_t = _first_up(db, outage)
        _put(db, outage)


def conclude(db: Database, changes: Changes) -> None:
    """Settle begin and end of every outage that the slice may have changed."""
    concerned = {
        outage.id: outage for number in changes.outages for outage in _find(db, "id = ?", number)
    }
    for key in changes.boots:
        earlier = boots.before(db, key)
        for stream_id, boot in (key, (key[0], earlier.boot)) if earlier else (key,):
            for outage in _untold(db, stream_id, boot):
                concerned[outage.id] = outage
    for slot_id in changes.slots:
        for outage in _find(
            db,
            "slot_id = ? AND ended = 0 AND t_end IS NULL ORDER BY id DESC LIMIT ?",
            slot_id,
            _MOST_UNTOLD,
        ):
            concerned[outage.id] = outage
    for outage in concerned.values():
        old = (outage.t_begin, outage.t_end, outage.interrupted)
        if outage.ended:
            outage.t_begin, outage.t_end, outage.interrupted = None, outage.ended_t, 0
            if outage.ended_t is not None and outage.duration is not None:
                outage.t_begin = outage.ended_t - outage.duration
        else:
            outage.t_begin = outage.began_t
            outage.t_end = _end_for_the_record(db, outage)
            outage.interrupted = int(outage.t_end is not None)
        run = boots.get(db, (outage.stream_id, outage.boot))
        if outage.t_end is None and run is not None:
            # It lasts from before the first sample, which may have come only now.
            changes.window(outage.slot_id, outage.t_begin, run.first_t)
        if old == (outage.t_begin, outage.t_end, outage.interrupted):
            continue
        _put(db, outage)
        end = run.last_t if run else None
        for begin, its_end in (old[:2], (outage.t_begin, outage.t_end)):
            if begin is not None:
                changes.window(outage.slot_id, begin, max(begin, its_end or end or begin))


def _told_begin(outage: Outage) -> int:
    """When an outage with a place in time began, by its events."""
    if outage.began_t is not None:
        return outage.began_t
    assert outage.ended_t is not None and outage.duration is not None
    return outage.ended_t - outage.duration


def _end_for_the_record(db: Database, outage: Outage) -> int | None:
    begin = outage.t_begin
    if begin is None:
        return None
    # One without a place in time ends nothing: where it lies in the boot is its device's word.
    following = _find(
        db,
        "stream_id = ? AND boot = ? AND begin_up > ? "
        "AND (began_t IS NOT NULL OR ended_t IS NOT NULL) ORDER BY begin_up LIMIT 1",
        outage.stream_id,
        outage.boot,
        outage.begin_up,
    )
    ends = [outage.up_again_t]
    if following:
        following_t = _told_begin(following[0])
        end = begin + following[0].begin_up - outage.begin_up
        ends.append(max(begin, min(end, following_t)))
    told = [end for end in ends if end is not None]
    if told:
        return min(told)
    key = (outage.stream_id, outage.boot)
    following_boot = boots.after(db, key)
    if following_boot is None and not db.one(
        # Not where they begin: older ones of a boot may come after newer ones.
        "SELECT 1 FROM boots WHERE slot_id = ? AND stream_id != ? AND last_t > ? LIMIT 1",
        (outage.slot_id, outage.stream_id, begin),
    ):
        return None
    own = boots.get(db, key)
    if own is not None and own.last_t is not None and own.last_t > begin:
        return own.last_t
    alive = following_boot.alive_t if following_boot else None
    return max(begin, alive or begin)
