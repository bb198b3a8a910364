"""A slot's month, counted anew from nothing but its reports."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from host_tools.contracts.calendar import Month
from host_tools.contracts.months import as_json, count_slot, reaches
from host_tools.contracts.rules import Rules
from host_tools.derive import Deriver
from host_tools.province.contract_records import Contract, ContractEvent
from host_tools.province.records import Village, village_of
from host_tools.store import open_database
from host_tools.store.evidence import StoredReport, Streams, insert_reports
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
        """The contracts of a slot in the month."""
        return [c for c in self.contracts if c.slot == slot and reaches(c, self.month)]


Received = tuple[int, bytes, Report]
"""When a report was received, its signed bytes, and what it says."""


def recount(basis: Basis, slot: str, reports: Iterable[Received]) -> bytes:
    """The figures of a slot's month, as the JSON that is published.

    A database of its own holds the reports meanwhile, so that the rules of derivation are those of
    the province, and no other slot can have part in them.
    """
    month = basis.month
    events = [event for event in basis.events if reaches(event, month)]
    with (
        tempfile.TemporaryDirectory(prefix="desalink-") as directory,
        open_database(Path(directory) / "slot.db", create=True) as db,
    ):
        streams = Streams(db)
        rest = iter(reports)
        while batch := list(islice(rest, _ROWS)):
            rows = []
            with db.transaction(durable=False):
                for received_at, message, report in batch:
                    kid = split(message)[0]
                    stream = streams.find(kid, report.stream) or streams.add(
                        kid, slot, report.stream, received_at
                    )
                    stream.ranges.add(report.seq)
                    its = (report.seq, report.boot, report.up, report.start)
                    rows.append(StoredReport(stream.id, *its, received_at, message))
                insert_reports(db, rows)
        deriver = Deriver(db, streams)
        while deriver.step(1000):
            pass
        village = Village(village_of(slot), "", "", "")
        found = count_slot(db, month, slot, village, basis.of(slot), events, basis.rules)
    return dumped(as_json(found))


def dumped(value: object) -> bytes:
    """The one JSON text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
