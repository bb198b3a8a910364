"""A slot's month, counted anew from nothing but its reports."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from host_tools.contracts.calendar import Month
from host_tools.contracts.closing import as_json
from host_tools.contracts.months import count_slot, reaches
from host_tools.contracts.rules import Rules
from host_tools.derive import Deriver
from host_tools.province.contract_records import Contract, ContractEvent
from host_tools.province.records import Village, village_of
from host_tools.store import Database, open_database
from host_tools.store.evidence import StoredReport, insert_reports
from host_tools.store.streams import Streams
from host_tools.wire import Report
from host_tools.wire.envelope import split

_ROWS = 500


@dataclass(frozen=True)
class Basis:
    """By what a month is counted: its rules, contracts and events, as of one moment."""

    month: Month
    rules: Rules
    contracts: Sequence[Contract]
    events: Sequence[ContractEvent]

    def of(self, slot: str) -> list[Contract]:
        return [c for c in self.contracts if c.slot == slot and reaches(c, self.month)]


Received = tuple[int, bytes, Report]
"""When a report was received, its signed bytes, and what it says."""


class Recounter:
    """Counts months by one basis.

    Each slot has a database of its own meanwhile: the rules of derivation are those of the
    province, and no other slot can have part in its figures.
    """

    def __init__(self, basis: Basis, directory: Path) -> None:
        """
        Args:
            directory: where that database is.
        """
        self._basis = basis
        self._events = [event for event in basis.events if reaches(event, basis.month)]
        self._path = directory / f"slot-{os.getpid()}.db"

    def count(self, slot: str, reports: Iterable[Received]) -> bytes:
        """The figures of a slot's month, as the JSON that is published."""
        basis, path = self._basis, self._path
        path.write_bytes(_empty())
        try:
            with open_database(path) as db:
                _derive(db, slot, reports)
                village, its = Village(village_of(slot), "", "", ""), basis.of(slot)
                found = count_slot(db, basis.month, slot, village, its, self._events, basis.rules)
        finally:
            path.unlink()
        return dumped(as_json(found))


@cache
def _empty() -> bytes:
    """A database without reports: to copy it takes less than to make it."""
    with tempfile.TemporaryDirectory(prefix="desalink-") as directory:
        path = Path(directory) / "empty.db"
        open_database(path, create=True).close()
        return path.read_bytes()


def _derive(db: Database, slot: str, reports: Iterable[Received]) -> None:
    streams, rest = Streams(db), iter(reports)
    deriver = Deriver(db, streams)
    while batch := list(islice(rest, _ROWS)):
        rows = []
        with db.transaction(durable=False):
            for received_at, message, report in batch:
                kid = split(message)[0]
                stream = streams.find(kid, report.stream)
                stream = stream or streams.add(kid, slot, report.stream, received_at)
                stream.ranges.add(report.seq)
                its = (report.seq, report.boot, report.up, report.start)
                rows.append(StoredReport(stream.id, *its, received_at, message))
            insert_reports(db, rows)
        for row, (_, _, report) in zip(rows, batch, strict=True):
            deriver.take(row, report)
    while deriver.step(1000):
        pass


def dumped(value: object) -> bytes:
    """The one JSON text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def totals(figures: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sums over all slots."""
    seconds: Counter[str] = Counter()
    found = {"slots": 0, "price": 0, "restitution": 0}
    for one in figures:
        found["slots"] += 1
        for piece in one["pieces"]:
            seconds.update(piece["seconds"])
            found["price"] += piece["price"]
            found["restitution"] += piece["restitution"]
    return {**found, "seconds": dict(sorted(seconds.items()))}
