"""The ingest's connection: TLS, confirmations, and brokers that are not what they should be."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from host_tools.common.errors import BrokerError
from host_tools.ingest import BrokerAddress
from host_tools.ingest.pipeline import Message
from host_tools.ingest.receiver import Receiver
from host_tools.keys.ca import Authority
from host_tools.province.settings import TlsFiles
from tests import support
from tests.world.devices import Device
from tests.world.ingesting import client, tls_broker


@pytest.fixture
def plain_port() -> int:
    """Where one may publish without a certificate."""
    return support.free_port()


@pytest.fixture
def broker(tmp_path, plain_port) -> Iterator[support.Broker]:
    lines, _ = tls_broker(tmp_path, plain_port)
    with support.start_mosquitto(tmp_path / "broker", lines) as broker:
        yield broker


@pytest.fixture
def tls(broker, tmp_path) -> TlsFiles:
    """The ingest's identity."""
    return TlsFiles(tmp_path / "ca.crt", tmp_path / "ingest.crt", tmp_path / "ingest.key")


def publish(port: int, device: Device, count: int) -> list[bytes]:
    sent = device.reports(count)
    with client(port) as publisher:
        for info in [publisher.publish(device.topic("report"), m, 1) for m in sent]:
            info.wait_for_publish(support.PATIENCE_S)
    return sent


@contextlib.contextmanager
def receiver(host: str, port: int, tls: TlsFiles | None) -> Iterator[Receiver]:
    opened = Receiver(BrokerAddress(host, port, tls), ("desa/1/+/+/report",))
    try:
        yield opened
    finally:
        opened.release()


def take(opened: Receiver, count: int) -> list[Message]:
    taken: list[Message] = []
    deadline = time.monotonic() + support.PATIENCE_S
    while len(taken) < count and time.monotonic() < deadline:
        taken += opened.read(count - len(taken), 0.2, 0.0)[0]
    return taken


def test_over_tls_what_was_confirmed_is_gone_and_nothing_else(broker, plain_port, tls):
    with receiver("localhost", broker.port, tls) as opened:
        opened.connect()
    sent = publish(plain_port, Device(), 300)
    with receiver("localhost", broker.port, tls) as opened:
        opened.connect()
        taken = take(opened, 300)
        assert [message.payload for message in taken] == sent
        opened.confirm(taken[:200])
        broker.wait_for_log("Received PUBACK", 200)
    with receiver("localhost", broker.port, tls) as opened:
        opened.connect()
        assert [message.payload for message in take(opened, 100)] == sent[200:]
        assert opened.read(1, 0.2, 0.0) == ([], False)


def test_over_tls_a_broker_that_stops_is_noticed_and_found_again(broker, plain_port, tls):
    with receiver("localhost", broker.port, tls) as opened:
        opened.connect()
        broker.stop()
        opened.read(1, support.PATIENCE_S, 0.0)
        assert not opened.connected
        broker.start()
        opened.connect()
        sent = publish(plain_port, Device(), 3)
        assert [message.payload for message in take(opened, 3)] == sent


@pytest.mark.parametrize(
    ("host", "ca", "why"),
    [
        ("localhost", "another.crt", "not who it should be .self-signed"),
        ("127.0.0.1", "ca.crt", "not who it should be .IP address mismatch"),
    ],
)
def test_a_broker_that_is_somebody_else_is_not_spoken_to(broker, tls, host, ca, why):
    with receiver(host, broker.port, replace(tls, ca=tls.ca.with_name(ca))) as opened:
        with pytest.raises(BrokerError, match=why):
            opened.connect()
        assert not opened.connected
    assert "CONNACK" not in broker.log


def test_a_broker_that_refuses_our_certificate_is_named(broker, tls, tmp_path):
    stranger = Authority.generate("stranger").issue_client("ingest")
    (tmp_path / "x.crt").write_bytes(stranger.certificate_pem)
    (tmp_path / "x.key").write_bytes(stranger.key_pem)
    files = TlsFiles(tls.ca, tmp_path / "x.crt", tmp_path / "x.key")
    with receiver("localhost", broker.port, files) as opened:
        with pytest.raises(BrokerError, match="does not answer"):
            opened.connect()


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["no", "HTTP"])
def test_what_speaks_no_tls_is_not_waited_for(tls, says):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(says)

        thread = threading.Thread(target=answer)
        thread.start()
        with receiver("localhost", server.getsockname()[1], tls) as opened:
            with pytest.raises(BrokerError, match="does not answer"):
                opened.connect()
        thread.join()


def test_a_stop_does_not_wait_for_a_broker_that_says_nothing():
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        receiver("127.0.0.1", silent.getsockname()[1], None) as opened,
    ):
        opened.wake()
        with pytest.raises(BrokerError, match="no time to wait"):
            opened.connect()
