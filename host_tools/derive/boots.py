"""Boots: each run of an agent, and the time before it in which nothing ran, with its cause.

A power cut and a lost link look alike from the province until the device tells, after its next
start, when it was last alive and why it started. Between the two nothing measured: that time is
`power` where power was cut, `agent` where only the agent or the device was started anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from agent.wire import ids
from host_tools.derive.intervals import OFF_AGENT, OFF_POWER
from host_tools.derive.measured import event_t
from host_tools.derive.slice import (
    FUTURE_S,
    BootKey,
    Changes,
    Placed,
    plausible,
    uint,
)
from host_tools.store.database import Database
from host_tools.wire import Event


@dataclass(slots=True)
class Boot:
    """A row of `boots`; the schema says what each field means."""

    stream_id: int
    boot: int
    slot_id: int
    first_seq: int
    last_seq: int
    first_t: int | None
    last_t: int | None
    last_up: int
    offset: int | None
    started_t: int | None = None
    cause: int | None = None
    alive_boot: int | None = None
    alive_up: int | None = None
    alive_t: int | None = None
    clean: int | None = None
    off_begin: int | None = None
    off_end: int | None = None
    off_state: str | None = None


_NAMES = tuple(field.name for field in fields(Boot))
_COLUMNS = ", ".join(_NAMES)
_PLACES = ", ".join("?" * len(_NAMES))


def _least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _most(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def get(db: Database, key: BootKey) -> Boot | None:
    """The row of a boot."""
    return _boot(db, "stream_id = ? AND boot = ?", *key)


def before(db: Database, key: BootKey) -> Boot | None:
    """The boot of the stream before this one, of those that are known."""
    return _boot(db, "stream_id = ? AND boot < ? ORDER BY boot DESC LIMIT 1", *key)


def after(db: Database, key: BootKey) -> Boot | None:
    """The boot of the stream after this one, of those that are known."""
    return _boot(db, "stream_id = ? AND boot > ? ORDER BY boot LIMIT 1", *key)


def _boot(db: Database, where: str, *values: int) -> Boot | None:
    row = db.one(f"SELECT {_COLUMNS} FROM boots WHERE {where}", values)
    return Boot(*row) if row else None


def put(db: Database, boot: Boot) -> None:
    """Write the row of a boot."""
    db.execute(
        f"INSERT OR REPLACE INTO boots VALUES ({_PLACES})",
        [getattr(boot, name) for name in _NAMES],
    )


def note(db: Database, reports: Iterable[Placed], changes: Changes) -> None:
    """Let boots know of the reports of a slice."""
    found: dict[BootKey, Boot] = {}
    for placed in reports:
        report = placed.report
        key = (placed.stream_id, report.boot)
        boot = found.get(key) or get(db, key)
        end_up = report.up + report.n * report.step
        if boot is None:
            boot = Boot(*key, placed.slot_id, report.seq, report.seq, None, None, end_up, None)
        found[key] = boot
        if placed.t is not None:
            if report.n:
                boot.first_t = _least(boot.first_t, placed.t)
                last_t, boot.last_t = boot.last_t, _most(boot.last_t, placed.end)
                # An outage that lasts reaches to here, also over a silence since the last sample.
                changes.window(boot.slot_id, last_t, boot.last_t)
            if report.seq >= boot.last_seq or not _placed_after(db, boot, report.seq):
                boot.offset = placed.t - report.up
        boot.first_seq = min(boot.first_seq, report.seq)
        boot.last_seq = max(boot.last_seq, report.seq)
        boot.last_up = max(boot.last_up, end_up)
        for event in report.events:
            if event.kind == ids.BOOTED and plausible(report, event):
                _booted(boot, placed, event)
    for key, boot in found.items():
        put(db, boot)
        changes.boots.add(key)


def _placed_after(db: Database, boot: Boot, seq: int) -> bool:
    """Whether a newer report of a boot has a place in time: the newest of all may have none."""
    return bool(
        db.one(
            "SELECT 1 FROM placements WHERE stream_id = ? AND seq > ? AND seq <= ? AND boot = ? "
            "AND t IS NOT NULL LIMIT 1",
            (boot.stream_id, seq, boot.last_seq, boot.boot),
        )
    )


def _booted(boot: Boot, placed: Placed, event: Event) -> None:
    detail = event.detail
    boot.started_t = event_t(placed, event)
    cause = uint(detail.get(1))
    boot.cause = ids.RESET_UNKNOWN if cause is None else cause
    alive = detail.get(2)
    pair = alive if isinstance(alive, list) and len(alive) == 2 else (None, None)
    boot.alive_boot, boot.alive_up = uint(pair[0]), uint(pair[1])
    boot.alive_t = uint(detail.get(3)) or None
    if boot.alive_t is not None and boot.alive_t > placed.received_at + FUTURE_S:
        boot.alive_t = None
    boot.clean = int(detail.get(4) is True)


def measure_again(db: Database, key: BootKey, changes: Changes) -> None:
    """Find a boot's place in time anew after reports of it have moved."""
    boot = get(db, key)
    if boot is None:
        return
    where = (
        "FROM placements WHERE stream_id = ? AND seq BETWEEN ? AND ? AND boot = ? "
        "AND t IS NOT NULL"
    )
    values = (boot.stream_id, boot.first_seq, boot.last_seq, boot.boot)
    last_t = boot.last_t
    boot.first_t, boot.last_t = db.one(
        f"SELECT min(t), max(t + n * step) {where} AND n > 0", values
    ) or (None, None)
    if last_t is not None and boot.last_t is not None:
        changes.window(boot.slot_id, min(last_t, boot.last_t), max(last_t, boot.last_t))
    boot.offset = db.value(f"SELECT t - up {where} ORDER BY seq DESC LIMIT 1", values)
    boot.started_t = db.value(
        "SELECT t FROM events WHERE stream_id = ? AND seq BETWEEN ? AND ? AND boot = ? "
        "AND kind = ? AND t IS NOT NULL ORDER BY seq LIMIT 1",
        (*values, ids.BOOTED),
    )
    put(db, boot)


def find_off_times(db: Database, changes: Changes) -> None:
    """Find the time in which nothing ran before each changed boot and before the next one."""
    boots: dict[BootKey, Boot] = {}
    for key in changes.boots:
        for boot in (get(db, key), after(db, key)):
            if boot is not None:
                boots[boot.stream_id, boot.boot] = boot
    for boot in boots.values():
        off = _off_time(db, boot)
        old = (boot.off_begin, boot.off_end, boot.off_state)
        if off == old:
            continue
        boot.off_begin, boot.off_end, boot.off_state = off
        put(db, boot)
        changes.window(boot.slot_id, *old[:2])
        changes.window(boot.slot_id, *off[:2])


_NEVER = (None, None, None)


def _off_time(db: Database, boot: Boot) -> tuple[int, int, str] | tuple[None, None, None]:
    if boot.cause is None or boot.started_t is None:
        return _NEVER
    begin = boot.alive_t
    last = before(db, (boot.stream_id, boot.boot))
    if begin is None and boot.alive_boot is not None:
        run = last if last and last.boot == boot.alive_boot else None
        if run and run.offset is not None and boot.alive_up is not None:
            begin = run.offset + boot.alive_up
    elif begin is None and last is not None and last.boot == boot.boot - 1:
        begin = last.last_t
    if begin is not None and last is not None and last.last_t is not None:
        # A sample that was taken proves that something ran, whatever was saved of it.
        begin = max(begin, last.last_t)
    if begin is None or begin >= boot.started_t:
        return _NEVER
    return begin, boot.started_t, _off_state(boot)


def _off_state(boot: Boot) -> str:
    if boot.cause in (ids.RESET_POWER, ids.RESET_BROWNOUT):
        return OFF_POWER
    # Where the platform can't tell why it started, an orderly end before says that it was no cut.
    if boot.cause == ids.RESET_UNKNOWN and not boot.clean:
        return OFF_POWER
    return OFF_AGENT
