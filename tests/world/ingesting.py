"""An ingest for a test to run in this process, and a publisher that waits for the broker."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from host_tools.ingest import BrokerAddress, Ingest, Options
from host_tools.ingest.receipting import ReceiptSource
from host_tools.keys.ca import Authority
from host_tools.province.settings import TlsFiles
from host_tools.store import open_database
from host_tools.wire import Key
from tests import support
from tests.world.devices import Device

# As `desalink broker config` sets them, but for a queue without a limit.
BROKER_LINES = ("max_inflight_messages 1000", "max_queued_messages 0", "persistence true")


def tls_broker(folder: Path, plain_port: int) -> tuple[list[str], TlsFiles]:
    """Lines for a broker with TLS as the province's own, and a plain port for who publishes; and
    the ingest's identity. `another.crt` in the folder is of another authority."""
    authority = Authority.generate("test")
    files = {
        "ca.crt": authority.certificate_pem,
        "another.crt": Authority.generate("another").certificate_pem,
    }
    for name, issued in (
        ("server", authority.issue_server(["localhost"])),
        ("ingest", authority.issue_client("ingest")),
    ):
        files |= {f"{name}.crt": issued.certificate_pem, f"{name}.key": issued.key_pem}
    for name, pem in files.items():
        (folder / name).write_bytes(pem)
    lines = [
        f"cafile {folder / 'ca.crt'}",
        f"certfile {folder / 'server.crt'}",
        f"keyfile {folder / 'server.key'}",
        "require_certificate true",
        "allow_anonymous true",
        f"listener {plain_port} 127.0.0.1",
        "allow_anonymous true",
        *BROKER_LINES,
    ]
    return lines, TlsFiles(folder / "ca.crt", folder / "ingest.crt", folder / "ingest.key")


class Keys:
    """Keys that a test changes under a running ingest."""

    def __init__(self, *devices: Device) -> None:
        self._keys: dict[bytes, Key] = {}
        self._version = 0
        self.add(*devices)

    def add(self, *devices: Device) -> None:
        self._keys |= {d.kid: Key(d.public_key, d.slot, True) for d in devices}
        self._version += 1

    def version(self) -> int:
        return self._version

    def load(self) -> dict[bytes, Key]:
        return dict(self._keys)

    def close(self) -> None:
        pass


class Running:
    """An ingest in a thread of its own."""

    def __init__(self, ingest: Ingest) -> None:
        self.ingest = ingest
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.ingest.run()
        except BaseException as error:
            self.error = error

    def join(self, timeout: float = support.PATIENCE_S) -> None:
        self._thread.join(timeout)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        self.ingest.stop()
        self.join()
        if self.error is not None:
            raise self.error


class Setting:
    """A broker, a database and keys for ingests to come and go."""

    def __init__(self, folder: Path, broker: support.Broker, *devices: Device) -> None:
        self.database = folder / "province.db"
        self.broker = broker
        self.keys = Keys(*devices)
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def ingest(
        self,
        clock: Callable[[], float] = time.time,
        receipts: ReceiptSource | None = None,
        **options: Any,
    ) -> Ingest:
        return Ingest(
            self.database,
            self.keys,
            BrokerAddress("127.0.0.1", self.broker.port, None),
            Options(**options),
            lambda event, **fields: self.lines.append((event, fields)),
            clock,
            receipts,
        )

    @contextlib.contextmanager
    def running(self, **options: Any) -> Iterator[Running]:
        running = Running(self.ingest(**options))
        try:
            wait_for(lambda: running.ingest.figures.connected or running.error)
            yield running
        except BaseException:
            if running.error is not None:
                raise running.error from None
            raise
        finally:
            running.ingest.stop()
            running.join()
        if running.error is not None:
            raise running.error

    def drain(self, reports: int, **options: Any) -> Ingest:
        """Run ingests that end when nothing comes, until so many reports are stored; the last."""
        end = time.monotonic() + support.PATIENCE_S
        while True:
            ingest = self.ingest(until_idle_s=0.3, **options)
            ingest.run()
            if len(self.seqs()) >= reports:
                return ingest
            assert time.monotonic() < end, "it never came"

    def said(self, event: str) -> bool:
        return any(name == event for name, _ in self.lines)

    def all(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the database, which may just be in use."""
        if not self.database.exists():
            return []
        with open_database(self.database, readonly=True) as db:
            return db.all(sql)

    def seqs(self) -> list[int]:
        return [seq for (seq,) in self.all("SELECT seq FROM reports ORDER BY stream_id, seq")]

    def seqs_of(self, *devices: Device) -> list[int]:
        streams = ",".join(f"x'{device.stream.hex()}'" for device in devices)
        return [
            seq
            for (seq,) in self.all(
                f"SELECT seq FROM reports JOIN streams s ON s.id = stream_id "
                f"WHERE s.stream IN ({streams})"
            )
        ]

    def publish(self, device: Device, *messages: bytes, kind: str = "report") -> None:
        """Publish as a device does; returns once the broker has confirmed everything."""
        with client(self.broker.port) as publisher:
            sent = [
                publisher.publish(device.topic(kind), message, 1, retain=kind == "birth")
                for message in messages
            ]
            for info in sent:
                info.wait_for_publish(support.PATIENCE_S)

    def subscribed(self) -> None:
        """Let an ingest subscribe and go, so that the broker keeps what comes for it."""
        with self.running():
            pass


@contextlib.contextmanager
def client(port: int, name: str = "") -> Iterator[mqtt.Client]:
    """A connected client with a thread of its own."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert connected.wait(support.PATIENCE_S)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def wait_for(condition: Callable[[], Any], timeout: float = support.PATIENCE_S) -> None:
    """Poll until a condition holds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
