"""Samples and events of reports as rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import repeat
from typing import Any

from host_tools.derive.slice import Changes, Placed, day_of, plausible
from host_tools.store.database import Database
from host_tools.wire import Event, decode_columns

METRICS = (
    "state",
    "rtt_gw_min",
    "rtt_gw_mean",
    "rtt_gw_max",
    "loss_gw",
    "rtt_min",
    "rtt_mean",
    "rtt_max",
    "loss",
    "jitter",
    "dns_time",
    "signal",
    "bytes_down",
    "bytes_up",
    "clients",
    "clients_peak",
    "clients_day",
    "heap_free",
    "storage_free",
    "journal_fill",
    "voltage",
    "temperature",
    "own_month",
    "throughput_down",
)

_NAMES = ", ".join(("day", "slot_id", "t", "stream_id", "seq", "step", *METRICS))
_INSERT = f"INSERT INTO samples ({_NAMES}) VALUES ({', '.join('?' * (6 + len(METRICS)))})"

_HOUR_S = 3600
_FEW_DAYS = 3


def days_with_samples(db: Database, first: int, last: int) -> Iterable[int]:
    """The days from first to last on which there may be samples.

    A device may tell any time it likes: the days of a century are not looked at one by one."""
    if last - first <= _FEW_DAYS:
        yield from range(first, last + 1)
        return
    day: int | None = first - 1
    while day is not None:
        day = db.value(
            "SELECT day FROM samples WHERE day > ? AND day <= ? ORDER BY day LIMIT 1", (day, last)
        )
        if day is not None:
            yield day


def insert_samples(db: Database, reports: Iterable[Placed], changes: Changes) -> None:
    """Unpack the samples of reports that have a place in time; the others are no data."""
    rows: list[tuple[Any, ...]] = []
    for placed in reports:
        report, t = placed.report, placed.t
        if t is None or not report.n:
            continue
        step, n = report.step, report.n
        measured = decode_columns(report)
        nothing = (None,) * n
        times = range(t, t + n * step, step)
        rows += zip(
            map(day_of, times),
            repeat(placed.slot_id),
            times,
            repeat(placed.stream_id),
            repeat(report.seq),
            repeat(step),
            *[measured.get(name, nothing) for name in METRICS],
        )
        end = t + n * step
        changes.window(placed.slot_id, t, end)
        slot_id = placed.slot_id
        changes.hours.update((slot_id, hour) for hour in _hours(t, end - step))
    db.executemany(_INSERT, rows)


def delete_samples(db: Database, placed: Placed, old_t: int | None, changes: Changes) -> None:
    """Take away the samples of a report that lay at old_t."""
    report = placed.report
    if old_t is None or not report.n:
        return
    end = old_t + report.n * report.step
    db.execute(
        "DELETE FROM samples WHERE day BETWEEN ? AND ? AND slot_id = ? AND t BETWEEN ? AND ? "
        "AND stream_id = ? AND seq = ?",
        (
            day_of(old_t),
            day_of(end),
            placed.slot_id,
            old_t,
            end,
            placed.stream_id,
            report.seq,
        ),
    )
    changes.window(placed.slot_id, old_t, end)
    changes.hours.update((placed.slot_id, hour) for hour in _hours(old_t, end - report.step))


def _hours(first: int, last: int) -> range:
    """The hours in which samples that begin from first to last lie."""
    return range(first - first % _HOUR_S, last + 1, _HOUR_S)


def insert_events(db: Database, reports: Iterable[Placed]) -> None:
    """Note the events of reports, those without a place in time with a null for it."""
    db.executemany(
        "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                placed.stream_id,
                placed.report.seq,
                number,
                placed.slot_id,
                placed.report.boot,
                placed.report.up + event.offset,
                event_t(placed, event),
                event.kind,
                json.dumps(event.detail, default=bytes.hex),
            )
            for placed in reports
            for number, event in enumerate(placed.report.events)
        ],
    )


def event_t(placed: Placed, event: Event) -> int | None:
    """Unix time of an event, or None."""
    if placed.t is None or not plausible(placed.report, event):
        return None
    return placed.t + event.offset
