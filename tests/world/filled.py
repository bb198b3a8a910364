"""A province's database filled with reports as an ingest would, without broker and signatures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from host_tools.derive import Deriver, rebuild
from host_tools.store import Database, open_database
from host_tools.store.evidence import StoredReport, insert_reports
from host_tools.store.streams import Streams, insert_birth
from host_tools.wire import parse_birth, parse_report
from host_tools.wire.envelope import split
from tests.world.devices import Device

# What the derivation makes, by what devices have signed: without ids, which follow the order of
# arrival, and without what only says where to search.
_RUN = "hex(kid), hex(stream), boot"
_OF = "JOIN streams ON streams.id = stream_id"
FACTS = {
    "places": f"SELECT hex(kid), hex(stream), seq, t FROM placements {_OF}",
    "pieces": f"SELECT {_RUN}, chunk, t_begin, t_end, offset, unplaced_first, unplaced_last, "
    f"future_first, future_last, clockless, last_up FROM pieces {_OF}",
    "events": f"SELECT {_RUN}, seq, number, kind, up, t, detail FROM events {_OF}",
    "boots": f"SELECT {_RUN}, first_t, last_t, offset, started_t, cause, alive_boot, alive_up, "
    f"alive_t, clean, off_begin, off_end, off_state, untold, lasting FROM boots {_OF}",
    "outages": f"SELECT {_RUN}, begin_up, cause, began_t, ended_t, duration, flaps, evidence, "
    f"t_begin, t_end, interrupted, told FROM outages {_OF}",
    "intervals": "SELECT slot, t_begin, t_end, state FROM intervals JOIN slots ON id = slot_id",
    "usage_hours": "SELECT slot, hour, measured_s, bytes_down, bytes_up, clients_peak, "
    "clients_day FROM usage_hours JOIN slots ON id = slot_id",
    "usage_days": "SELECT slot, day, measured_s, bytes_down, bytes_up, clients_peak, "
    "clients_day FROM usage_days JOIN slots ON id = slot_id",
    "latest": "SELECT slot, received_at, t_end, step, rtt, loss, clients, journal_fill "
    "FROM latest JOIN slots ON id = slot_id",
    "findings": f"SELECT kind, {_RUN}, first_seq, last_seq, missing, found_at, detail "
    f"FROM findings {_OF} WHERE resolved_at IS NULL",
    "batches": f"SELECT kind, hex(kid), hex(stream), chunk, number, listed "
    f"FROM batch_findings {_OF}",
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

    def be_born(self, device: Device) -> None:
        """Store the birth of one more connection of a device."""
        message = device.birth()
        with self.db.transaction():
            stream = self.streams.add(device.kid, device.slot, device.stream, device.now)
            birth = parse_birth(message[split(message)[1] : -66])
            insert_birth(self.db, stream, birth, device.now, message)

    def derive(self, limit: int = 200) -> None:
        """Derive until nothing is left."""
        while self.deriver.step(limit):
            pass

    def facts(self) -> dict[str, list[Any]]:
        """Everything that was derived, comparable between databases."""
        return {name: sorted(self.db.all(sql), key=repr) for name, sql in FACTS.items()}

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
