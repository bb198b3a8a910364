"""How long the pages take, with 841 villages, a year, 20 readers, and a writer beside them.

    python -m tests.bench.pages [--days 365] [--readers 20] [--seconds 30]

`desalink serve` runs as a process of its own; readers ask for pages as people do, and think for a
second in between. The writer commits every second, as an ingest of 841 devices does.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.wire import ids
from host_tools.alerts.records import open_records
from host_tools.keys import private_keys
from host_tools.office.founding import found_province
from host_tools.pages import access
from host_tools.pages.records import PagesBook
from host_tools.people.office_pen import open_office
from host_tools.province.registry import Registry
from host_tools.store import Database, open_database
from host_tools.store.sessions import save_alive
from tests import support
from tests.bench.queries import fill, fill_quarantine
from tests.world.devices import Device, ordinary

_PASSWORD = "a sentence for the bench"
_PROVIDERS = ("IndiHome", "Icon+", "Comtelindo", "Starlink")
_PATHS = (
    *("/", "/", "/", "/?regency=6403", "/villages", "/outages", "/outages?since=30d"),
    *("/outages?provider=Starlink&cause=portal&since=300d", "/cases", "/providers", "/devices"),
    *("/quarantine", "/usage", "/months", "/search?q=sungai", "/api/v1/status"),
    *("/alerts", "/alerts?state=all&since=30d", "/alerts/7", "/alerts/messages"),
    *("/maintenance", "/audit", "/accounts", "/account", "/months/files"),
    *(f"/village/CODE?range={name}" for name in ("24h", "24h", "7d", "30d", "year")),
    *("/village/CODE/usage?range=year", "/village/CODE/link?range=7d"),
    *("/outages?village=CODE&since=365d", "/api/v1/villages/CODE"),
    *(f"/api/v1/{name}" for name in ("villages", "outages", "devices", "usage", "providers")),
    *(f"/api/v1/{name}" for name in ("cases", "alerts", "quarantine", "maintenance", "months")),
    *("/api/v1/netjson", "/api/v1/senml"),
)


# More than the server has threads.
_AT_ONCE = 8
# Readers look at villages that have reports, over so many days.
_WITH_REPORTS, _REPORT_DAYS = 15, 30


def make(directory: Path, days: int) -> list[str]:
    """A province with its villages, devices, and what was derived; returns the codes of those that
    have reports as well."""
    private_keys.ROUNDS = 1
    province, _ = found_province(directory, "64", "only for the bench", bind="127.0.0.1")
    end = int(time.time()) // 3600 * 3600
    rng = random.Random(1)
    with Registry.open(directory) as registry, registry.transaction():
        open_office(province, registry, "only for the bench")
        codes = [village.code for village in registry.villages()]
        registry.place_villages(
            (code, (rng.uniform(-2.4, 2.4), rng.uniform(114, 118.9)), None, rng.choice(_PROVIDERS))
            for code in codes
        )
        for number, code in enumerate(codes):
            key = number.to_bytes(32, "big")
            registry.enrol(f"{code}-1", key, board="esp32-c3", firmware="1", by="bench", at=end)
    with open_database(directory / "province.db", create=True) as db:
        fill(db, codes, days, end=end)
        fill_quarantine(db, len(codes))
        _fill_reports(db, len(codes), end)
    with open_records(directory) as records, records.transaction(durable=False):
        for number, code in enumerate(codes):
            slot, begin = f"{code}-1", end - 3600 * (number % 700 + 1)
            alert = records.open_alert(
                "provider", "down", "critical", ("slot", slot), "provider", begin, begin + 1800
            )
            records.add_members(alert.id, [(slot, begin, "provider", "")])
            records.queue(
                "opened", str(number), "a", "s", "b", now=begin, due=begin, alert=alert.id
            )
            if number % 20:
                records.close_alert(alert.id, begin + 3000)
    with PagesBook.open(directory / "pages.db") as book:
        access.add_account(book, "bench", "administrator", (), end)
        account = book.account("bench")
        assert account is not None
        book.set_password(account.id, access.hash_password(_PASSWORD), must_change=False)
    return codes[:_WITH_REPORTS]


def _fill_reports(db: Database, slots: int, end: int) -> None:
    """The newest report of each slot, and those of a month of some. What is in a report does not
    name its slot: all have the same ones."""
    device = Device(now=end - _REPORT_DAYS * 86_400)
    kept = {ids.VOLTAGE: [1210] * 5}
    messages = [device.report({**ordinary(), **kept}) for _ in range(_REPORT_DAYS * 288)]
    seqs = len(messages)
    with db.transaction(durable=False):
        for slot_id in range(1, slots + 1):
            first = 1 if slot_id <= _WITH_REPORTS else seqs
            db.executemany(
                "INSERT INTO reports (stream_id, seq, boot, up, received_at, message) "
                "VALUES (?, ?, 1, 0, ?, ?)",
                [(slot_id, seq, end, messages[seq - 1]) for seq in range(first, seqs + 1)],
            )
            times = [(c, end - (_REPORT_DAYS * 288 - c * 16) * 300) for c in range(seqs // 16 + 1)]
            db.executemany(
                "INSERT INTO pieces (stream_id, boot, chunk, slot_id, t_begin, t_end, clockless, "
                "ahead, received_at) VALUES (?, 1, ?, ?, ?, ?, 0, 0, ?)",
                [
                    (slot_id, chunk, slot_id, t, min(t + 4800, end), end)
                    for chunk, t in times
                    if chunk >= first // 16
                ],
            )


def _log_in(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = f"name=bench&password={_PASSWORD.replace(' ', '+')}"
    connection.request("POST", "/login", body)
    cookie = str(connection.getresponse().headers["set-cookie"]).partition(";")[0]
    connection.close()
    return cookie


def _warm_up(port: int, cookie: str, codes: Sequence[str]) -> None:
    """Ask for every page, some at a time: what a server, and each of its threads, loads once is
    not what readers wait for."""

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for path in _PATHS:
            connection.request("GET", path.replace("CODE", codes[0]), headers={"cookie": cookie})
            connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _read(port: int, cookie: str, codes: Sequence[str], until: float, seed: int) -> dict[str, Any]:
    """One reader: milliseconds and bytes by path."""
    rng = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"cookie": cookie, "accept-encoding": "gzip", "accept-language": "id"}
    found: dict[str, Any] = {}
    # Readers don't all begin at the same moment: in a short run, that would be what is measured.
    time.sleep(rng.uniform(0, 1.5))
    while time.monotonic() < until:
        path = rng.choice(_PATHS)
        start = time.monotonic()
        connection.request("GET", path.replace("CODE", rng.choice(codes)), headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (path, answer.status)
        found.setdefault(path, []).append(((time.monotonic() - start) * 1000, len(body)))
        time.sleep(rng.uniform(0.5, 1.5))
    return found


def _write(directory: Path, stop: threading.Event) -> None:
    """Commit as an ingest does: what is newest of some slots, each second."""
    with open_database(directory / "province.db") as db:
        slot_id = 0
        while not stop.wait(1):
            now = int(time.time())
            with db.transaction():
                save_alive(db, now, connected=True)
                for _ in range(3):
                    slot_id = slot_id % 841 + 1
                    db.execute(
                        "UPDATE latest SET received_at = ?, t_end = ? WHERE slot_id = ?",
                        (now, now, slot_id),
                    )


def _p95(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


def run(days: int = 365, readers: int = 20, seconds: float = 30) -> dict[str, Any]:
    """Measure; times in milliseconds, as readers see them."""
    with tempfile.TemporaryDirectory(prefix="desalink-bench-") as folder:
        directory = Path(folder) / "kaltim"
        codes = make(directory, days)
        port = support.free_port()
        program = "from host_tools.cli import main; main()"
        command = [sys.executable, "-c", program, "-C", directory, "serve", "--port", str(port)]
        stop = threading.Event()
        writer = threading.Thread(target=_write, args=(directory, stop))
        with subprocess.Popen(command, cwd=support.ROOT) as server:
            try:
                _wait(port)
                cookie = _log_in(port)
                _warm_up(port, cookie, codes)
                writer.start()
                before = _cpu_s(server.pid)
                until = time.monotonic() + seconds
                results: list[dict[str, Any]] = []
                threads = [
                    threading.Thread(
                        target=lambda n=n: results.append(_read(port, cookie, codes, until, n))
                    )
                    for n in range(readers)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                cpu = _cpu_s(server.pid) - before
            finally:
                stop.set()
                server.terminate()
        writer.join()
    assert len(results) == readers
    by_path: dict[str, list[tuple[float, int]]] = {}
    for result in results:
        for path, values in result.items():
            by_path.setdefault(path, []).extend(values)
    everything = [ms for values in by_path.values() for ms, _size in values]
    return {
        "requests": len(everything),
        "p50_ms": sorted(everything)[len(everything) // 2],
        "p95_ms": _p95(everything),
        # With looking for changes every second.
        "server_cpu_ms_per_request": cpu * 1000 / len(everything),
        "worst_page_p95_ms": max(_p95([ms for ms, _size in v]) for v in by_path.values()),
        "first_page_bytes": max(size for _ms, size in by_path.get("/", [(0, 0)])),
        "p95_by_page_ms": {p: _p95([ms for ms, _ in v]) for p, v in sorted(by_path.items())},
    }


def _wait(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=5).connect()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def _cpu_s(pid: int) -> float:
    """Processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.days, arguments.readers, arguments.seconds), indent=2))
