"""A province's database filled with reports as an ingest would, without broker and signatures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from host_tools.derive import Deriver, rebuild
from host_tools.store import Database, open_database
from host_tools.store.evidence import StoredReport, Streams, insert_reports
from host_tools.wire import parse_report
from host_tools.wire.envelope import split
from tests.host_tools.factory import Device

# What the derivation makes, without ids and dates that follow the order of arrival.
FACTS = {
    "placements": "stream_id, seq, boot, offset, t, prev, digest",
    "samples": "*",
    "events": "*",
    "boots": "stream_id, boot, first_seq, last_seq, first_t, last_t, last_up, offset, started_t, "
    "cause, alive_boot, alive_up, alive_t, clean, off_begin, off_end, off_state",
    "outages": "slot_id, stream_id, boot, begin_up, cause, duration, began, ended, flaps, "
    "evidence, t_begin, t_end, interrupted",
    "intervals": "*",
    "usage_hours": "*",
}


class Filled:
    """An open database, and what is put into it."""

    def __init__(self, path: Path) -> None:
        self.db: Database = open_database(path, create=True)
        self.db.execute("PRAGMA synchronous=OFF")
        self.streams = Streams(self.db)
        self.deriver = Deriver(self.db, self.streams)

    def store(
        self, device: Device, messages: Iterable[bytes], *, received_at: int | None = None
    ) -> None:
        """Store reports of a device, in this order; received when each of them was made."""
        with self.db.transaction():
            rows = []
            for message in messages:
                report = parse_report(message[split(message)[1] : -66])
                stream = self.streams.find(device.kid, report.stream) or self.streams.add(
                    device.kid, device.slot, report.stream, 0
                )
                assert stream.ranges.add(report.seq)
                now = received_at
                if now is None:
                    now = device.booted_at + report.up + report.n * report.step
                rows.append(
                    StoredReport(
                        stream.id, report.seq, report.boot, report.up, report.start, now, message
                    )
                )
            insert_reports(self.db, rows)

    def derive(self, limit: int = 200) -> None:
        """Derive until nothing is left."""
        while self.deriver.step(limit):
            pass

    def facts(self) -> dict[str, list[Any]]:
        """Everything that was derived, comparable between databases."""
        facts = {
            table: sorted(self.db.all(f"SELECT {columns} FROM {table}"), key=repr)
            for table, columns in FACTS.items()
        }
        # A gap keeps the extent it had when it was found: what is missing of it is comparable.
        facts["findings"] = sorted(
            self.db.all(
                "SELECT kind, stream_id, boot, first_seq, last_seq FROM findings "
                "WHERE resolved_at IS NULL AND kind != 'gap' UNION ALL "
                "SELECT kind, stream_id, sum(missing), 0, 0 FROM findings "
                "WHERE resolved_at IS NULL AND kind = 'gap' GROUP BY stream_id"
            )
        )
        return facts

    def rebuilt(self) -> dict[str, list[Any]]:
        """The facts after everything was derived again."""
        rebuild(self.db)
        return self.facts()

    def intervals(self) -> list[tuple[int, int, str]]:
        """The intervals of all slots."""
        return self.db.all("SELECT t_begin, t_end, state FROM intervals ORDER BY slot_id, t_begin")

    def outages(self) -> list[tuple[Any, ...]]:
        """cause, begin, end, interrupted of each outage."""
        return self.db.all(
            "SELECT cause, t_begin, t_end, interrupted FROM outages ORDER BY t_begin"
        )

    def findings(self, *, resolved: bool = False) -> list[tuple[Any, ...]]:
        """kind, first seq, last seq, missing of the findings."""
        return self.db.all(
            "SELECT kind, first_seq, last_seq, missing FROM findings "
            f"WHERE resolved_at IS {'NOT ' if resolved else ''}NULL ORDER BY kind, first_seq"
        )
