"""Rows of the derived tables; the schema says what each field means."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

Span = tuple[int, int]
State = tuple[int, int, str]  # begin, end, state


class Work(NamedTuple):
    stream_id: int
    chunk: int
    first_seq: int
    last_seq: int
    reports: int
    moved: int


class Told(NamedTuple):
    """An event of a boot: `up` seconds after the boot's start; `t` its Unix time, None: no place;
    received_at of its report."""

    seq: int
    number: int
    kind: int
    up: int
    t: int | None
    received_at: int
    detail: dict[int, Any]


class Declared(NamedTuple):
    """A `dropped` event: the reports of a stream that its device has lost."""

    stream_id: int
    seq: int
    number: int
    kid: bytes
    stream: bytes
    first_seq: int
    last_seq: int
    reason: int
    received_at: int


class FindingRow(NamedTuple):
    boot: int
    first_seq: int
    last_seq: int
    missing: int
    found_at: int
    detail: str


class ClockTrouble(NamedTuple):
    """The reports of a boot without a place in time, or with a clock that is ahead."""

    boot: int
    first_seq: int
    last_seq: int
    received_at: int
    ahead_s: int


class HourRow(NamedTuple):
    hour: int
    measured_s: int
    bytes_down: int | None
    bytes_up: int | None
    clients_peak: int | None
    clients_day: int | None


@dataclass(slots=True)
class Piece:
    """A row of `pieces`; the schema says what each field means."""

    stream_id: int
    boot: int
    chunk: int
    slot_id: int
    t_begin: int | None = None
    t_end: int | None = None
    first_anchor: int | None = None
    first_offset: int | None = None
    last_anchor: int | None = None
    last_offset: int | None = None
    clockless: int = 0
    offset: int | None = None
    last_up: int | None = None
    unplaced_first: int | None = None
    unplaced_last: int | None = None
    future_first: int | None = None
    future_last: int | None = None
    ahead: int = 0
    received_at: int = 0


@dataclass(slots=True)
class BootRow:
    """A row of `boots`; the schema says what each field means."""

    stream_id: int
    boot: int
    slot_id: int
    first_t: int | None = None
    last_t: int | None = None
    offset: int | None = None
    started_t: int | None = None
    cause: int | None = None
    alive_boot: int | None = None
    alive_up: int | None = None
    alive_t: int | None = None
    clean: int = 0
    off_begin: int | None = None
    off_end: int | None = None
    off_state: str | None = None
    untold: int = 0
    lasting: int = 0


@dataclass(slots=True)
class OutageRow:
    """A row of `outages` of one boot; the schema says what each field means."""

    begin_up: int
    cause: int
    began_t: int | None = None
    ended_t: int | None = None
    duration: int | None = None
    flaps: int = 0
    evidence: str | None = None
    t_begin: int | None = None
    t_end: int | None = None
    interrupted: int = 0
    told: int | None = None


@dataclass(slots=True)
class LatestRow:
    """A row of `latest`; the schema says what each field means."""

    slot_id: int
    stream_id: int
    received_at: int
    t_end: int | None
    step: int
    rtt: int | None = None
    loss: int | None = None
    clients: int | None = None
    journal_fill: int | None = None
    longest_s: int = 0


def columns(row: type) -> str:
    """The columns of a row, as a statement names them."""
    return ", ".join(field.name for field in fields(row))


def values(row: Any) -> list[Any]:
    """The values of a row, in the order of its columns."""
    return [getattr(row, name) for name in row.__slots__]


def marks(count: int) -> str:
    """So many values of a statement."""
    return ", ".join("?" * count)
