"""SenML packs (RFC 8428): what measuring systems and time series databases read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from host_tools.store.queries import SlotStatus

# Of RFC 8428, section 12.1, and RFC 8798.
_VALUES = (
    ("rtt", "s", lambda s: None if s.rtt_ms is None else s.rtt_ms / 1000),
    ("loss", "/", lambda s: None if s.loss_percent is None else s.loss_percent / 100),
    ("traffic_today", "B", lambda s: s.bytes_today),
    ("clients", "count", lambda s: s.clients),
    ("journal_fill", "/", lambda s: None if s.journal_fill is None else s.journal_fill / 100),
    ("backlog", "count", lambda s: s.backlog),
)


def pack(slots: Iterable[SlotStatus], now: int) -> list[dict[str, Any]]:
    """The newest values of slots, each with the time (Unix) of its slot's newest report.

    A slot that is silent has its state, which is then "no_data", as of now, and no values: they
    would look like new ones."""
    return [record for status in slots for record in _records(status, now)]


def _records(status: SlotStatus, now: int) -> Iterator[dict[str, Any]]:
    time = status.last_report if status.fresh and status.last_report is not None else now
    # A base name holds for all records that follow, until the next.
    begin = {"bver": 10, "bn": f"urn:dev:ops:desalink-{status.slot}:", "bt": time}
    yield {**begin, "n": "state", "vs": status.state}
    if status.fresh:
        for name, unit, value in _VALUES:
            found = value(status)
            if found is not None:
                yield {"n": name, "u": unit, "v": found}
