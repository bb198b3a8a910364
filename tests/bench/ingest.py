"""Reports per second through the ingest on one core, beside what bounds it.

One run measures, on the same core and with the same messages, over TLS from a real Mosquitto on
another core: Ed25519 verification by `cryptography` alone; a subscriber that only receives and
confirms; one that also inserts each message into SQLite, unverified; the ingest until everything
is stored with synchronous=FULL; and until everything is derived as well. The messages wait in the
broker before the clock starts, so that nobody who publishes is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sqlite3
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from host_tools.ingest import BrokerAddress, Ingest, Options
from host_tools.province.settings import TlsFiles
from host_tools.store import open_database
from host_tools.wire.envelope import byte_string_head, signed_bytes
from tests import support
from tests.world.devices import Device, ordinary
from tests.world.filled import Filled
from tests.world.ingesting import Keys, client, tls_broker

_FILTERS = ("desa/1/+/+/birth", "desa/1/+/+/report")
_BATCH = 500

Published = list[tuple[str, bytes]]


def make_messages(reports: int, villages: int) -> tuple[list[Device], Published]:
    """Reports of many devices as they come in live: each sends its next in turn.

    Each holds 5 samples of 15 metrics."""
    rounds = max(1, reports // villages)
    now = int(time.time()) - (rounds + 1) * 300
    devices = [
        Device(slot=f"6403{number:06d}-1", seed=number, now=now) for number in range(villages)
    ]
    messages = [
        (device.topic("report"), device.report(ordinary(base=number)))
        for number in range(rounds)
        for device in devices
    ]
    return devices, messages


def ed25519_verify_per_s(devices: list[Device], messages: Published, count: int = 3000) -> float:
    """Verifications per second by `cryptography`, of the signed bytes and nothing else."""
    keys = {d.topic("report"): Ed25519PublicKey.from_public_bytes(d.public_key) for d in devices}
    ready = []
    for topic, message in messages[:count]:
        aad = topic.encode()
        signed = signed_bytes(message, byte_string_head(len(aad)) + aad)
        ready.append((keys[topic], signed[:64], signed[64:]))
    begin = time.perf_counter()
    for key, signature, text in ready:
        key.verify(signature, text)
    return len(ready) / (time.perf_counter() - begin)


def _client(name: str, port: int, tls: TlsFiles) -> mqtt.Client:
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, name, clean_session=False, manual_ack=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(tls.ca)
    context.load_cert_chain(tls.certificate, tls.key)
    client.tls_set_context(context)
    client.on_socket_register_write = lambda *_: None
    client.connect("localhost", port, 600)
    return client


def _serve(client: mqtt.Client, done: Any, inbox: list[Any], keep: Any = None) -> None:
    """paho's loop as its manual has it: what receiving costs a program that is built on it.

    Args:
        keep: called with each batch before it is confirmed; None: nothing is confirmed.
    """
    while not done():
        sock: Any = client.socket()
        assert sock is not None, "the broker closed the connection"
        if not sock.pending():
            select.select([sock], [sock] if client.want_write() else [], [], 0.05)
        before = -1
        while before != len(inbox) < _BATCH:
            before = len(inbox)
            client.loop_read()
        if keep is not None:
            keep(inbox)
            for message in inbox:
                client.ack(message.mid, 1)
            inbox.clear()
        client.loop_write()
        client.loop_misc()


def subscribe(name: str, port: int, tls: TlsFiles) -> None:
    """Leave a session at the broker, so that it keeps what is published from now on."""
    client = _client(name, port, tls)
    granted: list[Any] = []
    client.on_connect = lambda c, *_: c.subscribe([(topic, 1) for topic in _FILTERS])
    client.on_subscribe = lambda *_: granted.append(1)
    _serve(client, lambda: granted, [])
    client.disconnect()
    while client.want_write():
        client.loop_write()


def _subscriber_per_s(name: str, port: int, tls: TlsFiles, count: int, keep: Any) -> float:
    got, begin = [0], time.perf_counter()
    inbox: list[Any] = []
    client = _client(name, port, tls)

    def on_message(_c: Any, _u: Any, message: mqtt.MQTTMessage) -> None:
        got[0] += 1
        inbox.append(message)

    client.on_message = on_message
    _serve(client, lambda: got[0] >= count, inbox, keep)
    rate = count / (time.perf_counter() - begin)
    client.disconnect()
    while client.want_write():
        client.loop_write()
    return rate


def bare_subscriber_per_s(port: int, tls: TlsFiles, count: int) -> float:
    """Messages per second that paho receives and confirms, QoS 1, and does nothing with."""
    return _subscriber_per_s("bare", port, tls, count, lambda batch: None)


def plain_subscriber_per_s(port: int, tls: TlsFiles, count: int, database: Path) -> float:
    """Messages per second that a small program stores and confirms without a check of any kind:
    no signature, no duplicates, no figures. The disk is as safe as with the ingest."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE messages (topic TEXT, received_at INTEGER, payload BLOB)")

        def keep(batch: list[Any]) -> None:
            now = int(time.time())
            db.execute("BEGIN")
            db.executemany(
                "INSERT INTO messages VALUES (?, ?, ?)", [(m.topic, now, m.payload) for m in batch]
            )
            db.execute("COMMIT")

        rate = _subscriber_per_s("plain", port, tls, count, keep)
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (count,)
    return rate


class _Timed(Ingest):
    """An ingest that notes when all was stored, and when all was derived."""

    expected = 0
    connected_at = stored_at = derived_at = derived_cpu_s = 0.0

    def _take(self, messages: Any) -> None:
        super()._take(messages)
        if self.figures.reports >= self.expected and not self.stored_at:
            self.stored_at = time.perf_counter()

    def _work(self, *, busy: bool) -> None:
        super()._work(busy=busy)
        if self.figures.derived >= self.expected and not self.derived_at:
            self.derived_at = time.perf_counter()
            self.derived_cpu_s = time.process_time()


def _ingest(port: int, tls: TlsFiles, database: Path, devices: list[Device], count: int) -> dict:
    ingest = _Timed(
        database,
        Keys(*devices),
        BrokerAddress("localhost", port, tls),
        Options(until_idle_s=0.2, filters=_FILTERS, cores=len(os.sched_getaffinity(0))),
        lambda *_, **__: None,
    )
    ingest.expected = count
    begin, begin_cpu_s = time.perf_counter(), time.process_time()
    ingest.run()
    assert ingest.figures.reports == count, ingest.figures
    return {
        "ingest_reports_per_s": count / (ingest.stored_at - begin),
        "ingest_with_derivation_per_s": count / (ingest.derived_at - begin),
        "ingest_derived_per_s": count / (ingest.derived_at - begin),
        # Of its own time: holds on a machine that does other work as well.
        "ingest_derived_per_cpu_s": count / (ingest.derived_cpu_s - begin_cpu_s),
        "derivation_per_s": ingest.figures.derived / ingest.figures.derive_seconds,
    }


def hot_bytes_per_report(days: int = 7) -> float:
    """What a report takes in the database, its signed message included, as days go by."""
    device = Device()
    with tempfile.TemporaryDirectory(prefix="desalink-bench-") as name:
        filled = Filled(Path(name) / "province.db")
        empty = filled.db.value("PRAGMA page_count")
        for _ in range(days * 24):
            filled.store(device, device.reports(12))
            filled.derive(2000)
        pages = filled.db.value("PRAGMA page_count") - empty
        size: int = filled.db.value("PRAGMA page_size")
        filled.db.close()
    return float(pages * size / (days * 288))


def _publish(port: int, messages: Published) -> None:
    with client(port) as publisher:
        for info in [publisher.publish(topic, message, 1) for topic, message in messages]:
            info.wait_for_publish(120)


def run(reports: int = 20_000, villages: int = 841, cores: int = 1) -> dict[str, Any]:
    """Measure everything once, this process on one core and the broker on another.

    Args:
        cores: this process gets so many; the broker may have to share them.

    Returns:
        `ingest_reports_per_s`, `ingest_with_derivation_per_s`, `derivation_per_s`,
        `bare_subscriber_per_s`, `plain_subscriber_per_s`, `ed25519_verify_per_s` (all on those
        cores), `ingest_of_ed25519` (the first of the last), `report_bytes` (mean), `reports`, and
        `database_bytes_per_report`.
    """
    villages = min(villages, reports)
    before = os.sched_getaffinity(0)
    mine, others = set(sorted(before)[:cores]), set(sorted(before)[cores:]) or before
    devices, messages = make_messages(reports, villages)
    with tempfile.TemporaryDirectory(prefix="desalink-bench-") as name:
        folder = Path(name)
        plain = support.free_port()
        lines, tls = tls_broker(folder, plain)
        lines += ["set_tcp_nodelay true", "log_type error", "log_type notice"]
        with support.start_mosquitto(folder / "broker", lines) as broker:
            os.sched_setaffinity(broker.pid, others)
            try:
                for name in ("bare", "plain", "ingest"):
                    subscribe(name, broker.port, tls)
                _publish(plain, messages)
                os.sched_setaffinity(0, mine)
                result: dict[str, Any] = {
                    "ed25519_verify_per_s": ed25519_verify_per_s(devices, messages),
                    "bare_subscriber_per_s": bare_subscriber_per_s(
                        broker.port, tls, len(messages)
                    ),
                    "plain_subscriber_per_s": plain_subscriber_per_s(
                        broker.port, tls, len(messages), folder / "plain.db"
                    ),
                }
                database = folder / "province.db"
                result |= _ingest(broker.port, tls, database, devices, len(messages))
            finally:
                os.sched_setaffinity(0, before)
        with open_database(database, readonly=True) as db:
            pages = db.value("PRAGMA page_count") * db.value("PRAGMA page_size")
    result["ingest_of_ed25519"] = result["ingest_reports_per_s"] / result["ed25519_verify_per_s"]
    result["report_bytes"] = sum(len(message) for _, message in messages) / len(messages)
    result["reports"] = len(messages)
    result["database_bytes_per_report"] = pages / len(messages)
    result["hot_bytes_per_report"] = hot_bytes_per_report()
    return result


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:])), indent=2))
