"""One device sends valid reports as fast as it can, for a minute; the others must not notice.

`python -m tests.bench.flood [SECONDS] [PER_SECOND] [VILLAGES]`: a founded province with Mosquitto
and ingest as they run in an office, TLS and rules included. Three villages have real agents. Each
of the others connects with its own certificate once within the time and reports. Exits with 1 if
one of them was derived later than 10 s after its arrival, or if the noisy one got more of the disk
than its allowance.
"""

from __future__ import annotations

import json
import random
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from host_tools.demo.small_province import SmallProvince
from host_tools.ingest.allowance import Limits
from host_tools.province.villages import villages_of_province
from host_tools.store import StoreBusy
from tests.support import free_port, rows
from tests.world.devices import Device, ordinary
from tests.world.plant import SETTINGS, Agent, Part

LATEST_S = 10.0
AGENTS = ("micropython", "cpython", "cpython")
_DISTINCT = 12_000  # more than the allowance stores; after that they come again
_MOST_BYTES = 600  # of the disk for a report, with all that is derived from it
_POLL_S = 0.25


class Sender:
    """A device's connection to the province's broker."""

    def __init__(self, small: SmallProvince, slot: str) -> None:
        province = small.province
        issued = small.authority.issue_client(slot)
        pem = small.folder / f"{slot}.pem"
        pem.write_bytes(issued.key_pem + issued.certificate_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(province.ca_certificate)
        context.load_cert_chain(pem)
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, slot)
        self.client.tls_set_context(context)
        self.client.max_inflight_messages_set(1000)
        self.client.connect("localhost", province.broker.port, 120)
        self.client.loop_start()

    def send(self, topic: str, message: bytes) -> mqtt.MQTTMessageInfo:
        return self.client.publish(topic, message, 1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Watch:
    """When each slot was derived, as its status would show it."""

    def __init__(self, small: SmallProvince) -> None:
        self.seen: dict[str, float] = {}
        self.silent_s: dict[str, float] = {}  # the longest time without a newer derived report
        self._small = small
        self._newest: dict[str, tuple[int, float]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(_POLL_S):
            try:
                found = rows(
                    self._small.province.database,
                    "SELECT slot, received_at FROM latest JOIN slots ON id = slot_id",
                )
            except StoreBusy:
                continue
            now = time.time()
            for slot, received_at in found:
                self.seen.setdefault(slot, now)
                newest, since = self._newest.get(slot, (0, now))
                if received_at > newest:
                    self._newest[slot] = received_at, now
                silent = self.silent_s.get(slot, 0.0)
                self.silent_s[slot] = max(silent, now - since)

    def close(self) -> None:
        self._end.set()
        self._thread.join()


def run(seconds: float = 60, per_second: int = 2000, villages: int = 841) -> dict[str, Any]:
    """Flood a province, and measure what becomes of the others.

    Returns:
        `flood_sent_per_s`, `flood_stored` of the noisy device, `flood_others` and how many of them
        were derived, `flood_lag_ms` (the median of theirs from arrival at the broker) and
        `flood_lag_max_ms`, `flood_agent_silent_max_ms` of the real agents, `flood_growth_bytes`.
    """
    codes = [village.code for village in villages_of_province("64")[:villages]]
    with tempfile.TemporaryDirectory(prefix="desalink-flood-") as name:
        folder = Path(name)
        small = SmallProvince(folder, codes, port=free_port())
        agents = []
        for code, interpreter in zip(codes, AGENTS, strict=False):
            _, command = small.enrol(code, interpreter, SETTINGS)
            device_folder = small.device_folder(code)
            agents.append(Agent(device_folder.name, interpreter, command, device_folder))
        now = int(time.time())
        noisy, *others = [
            Device(slot=f"{code}-1", seed=number, now=now - 600)
            for number, code in enumerate(codes[len(agents) :])
        ]
        with small.open_registry() as registry, registry.transaction():
            for device in (noisy, *others):
                registry.enrol(
                    device.slot, device.public_key, board="unix", firmware="1", by="flood"
                )
        noisy.now = noisy.booted_at = now - _DISTINCT * 300
        flood = [noisy.report(ordinary(base=seq)) for seq in range(_DISTINCT)]
        ingest = Part("ingest", small.ingest_command(), folder / "ingest.log")
        small.start_broker(folder / "broker.log")
        try:
            ingest.start()
            _wait(lambda: ingest.connected)
            for agent in agents:
                agent.start()
            _wait(lambda: len(_stored(small)) == len(agents))
            return _flood(small, noisy, flood, others, agents, seconds, per_second)
        finally:
            for part in (*agents, ingest):
                part.clear_away()
            small.broker.kill()


def _flood(
    small: SmallProvince,
    noisy: Device,
    flood: list[bytes],
    others: list[Device],
    agents: list[Agent],
    seconds: float,
    per_second: int,
) -> dict[str, Any]:
    size = _bytes(small)
    watch = Watch(small)
    arrived: dict[str, float] = {}
    begin = time.monotonic()

    def report_once(device: Device, at: float) -> None:
        time.sleep(max(0.0, begin + at - time.monotonic()))
        sender = Sender(small, device.slot)
        sender.send(device.topic("report"), device.report()).wait_for_publish(60)
        arrived[device.slot] = time.time()
        sender.close()

    dice = random.Random(1)
    moments = sorted(dice.uniform(0, seconds) for _ in others)
    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(report_once, *one) for one in zip(others, moments, strict=True)]
        sender, sent = Sender(small, noisy.slot), 0
        while (passed := time.monotonic() - begin) < seconds:
            while sent < passed * per_second:
                sender.send(noisy.topic("report"), flood[sent % len(flood)])
                sent += 1
            time.sleep(0.005)
        elapsed = time.monotonic() - begin
        for future in waiting:
            future.result()
    end = time.monotonic() + LATEST_S
    while time.monotonic() < end and not watch.seen.keys() >= arrived.keys():
        time.sleep(_POLL_S)
    watch.close()
    sender.close()
    lags = sorted(watch.seen.get(slot, 1e12) - at for slot, at in arrived.items())
    stored = _stored(small)
    return {
        "flood_sent_per_s": sent / elapsed,
        "flood_stored": stored.get(noisy.slot, 0),
        "flood_allowed": int(Limits().reports.burst + elapsed * Limits().reports.per_second) + 1,
        "flood_others": len(others),
        "flood_others_derived": sum(lag < LATEST_S for lag in lags),
        "flood_lag_ms": lags[len(lags) // 2] * 1000,
        "flood_lag_max_ms": lags[-1] * 1000,
        "flood_agent_silent_max_ms": max(watch.silent_s[a.slot] for a in agents) * 1000,
        "flood_growth_bytes": _bytes(small) - size,
        "flood_reports": sum(stored.values()),
    }


def _stored(small: SmallProvince) -> dict[str, int]:
    sql = (
        "SELECT slot, count(*) FROM reports JOIN streams ON streams.id = stream_id "
        "JOIN slots ON slots.id = slot_id GROUP BY 1"
    )
    return dict(rows(small.province.database, sql))


def _bytes(small: SmallProvince) -> int:
    sql = "SELECT * FROM pragma_page_count, pragma_page_size"
    return sum(row[0] * row[1] for row in rows(small.province.database, sql))


def _wait(condition: Callable[[], object], timeout: float = 120) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


def holds(found: dict[str, Any]) -> bool:
    """Whether nobody was harmed."""
    return bool(
        found["flood_others_derived"] == found["flood_others"]
        and found["flood_agent_silent_max_ms"] <= LATEST_S * 1000
        and found["flood_stored"] <= found["flood_allowed"]
        and found["flood_growth_bytes"] <= _MOST_BYTES * found["flood_reports"]
    )


if __name__ == "__main__":
    figures = run(*map(int, sys.argv[1:]))
    print(json.dumps(figures, indent=2))
    sys.exit(0 if holds(figures) else 1)
