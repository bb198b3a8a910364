"""The ingest's socket: each packet to whom it is for, however it was cut, and TLS."""

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.common.errors import BrokerError
from host_tools.ingest import Broker
from host_tools.ingest.pipeline import Message
from host_tools.ingest.receiver import Receiver
from host_tools.ingest.transport import TransportContext
from host_tools.keys.ca import Authority
from host_tools.province.settings import TlsFiles
from tests import support
from tests.host_tools.factory import Device
from tests.host_tools.ingesting import BROKER_LINES, client

PINGRESP = b"\xd0\x00"


def packet(first: int, body: bytes) -> bytes:
    """An MQTT packet."""
    length, head = len(body), bytes((first,))
    while True:
        length, byte = divmod(length, 128)
        head += bytes((byte | 0x80 if length else byte,))
        if not length:
            return head + body


def publish(topic: bytes, payload: bytes, mid: int = 0, flags: int = 0) -> bytes:
    """A PUBLISH of QoS 1, or 0 where it has no packet id."""
    body = struct.pack("!H", len(topic)) + topic + (struct.pack("!H", mid) if mid else b"")
    return packet(0x30 | flags | (0x02 if mid else 0), body + payload)


class Ends:
    """A transport and its peer, on one machine."""

    def __init__(self, context: TransportContext) -> None:
        self.messages: list[Message] = []
        context.deliver = self.messages.extend
        self.peer, ours = socket.socketpair()
        self.transport: Any = context.wrap_socket(ours, server_hostname="localhost")

    def close(self) -> None:
        self.transport.close()
        self.peer.close()

    def read(self) -> bytes:
        """Everything that paho would read, as it reads it; ends with what ends the connection."""
        got = b""
        with contextlib.suppress(BlockingIOError):
            while piece := self.transport.recv(1 + len(got) % 3):
                got += piece
        return got


@pytest.fixture
def plain() -> Iterator[Ends]:
    with plain_ends() as ends:
        yield ends


@contextlib.contextmanager
def plain_ends() -> Iterator[Ends]:
    context = TransportContext(ssl.PROTOCOL_TLS_CLIENT)
    context.encrypted = False
    ends = Ends(context)
    ends.transport.setblocking(False)
    try:
        yield ends
    finally:
        ends.close()


MESSAGES = st.tuples(
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.binary(max_size=400),
    st.integers(0, 65535),
    st.sampled_from((0, 1, 8, 9)),  # retained, sent again
)
OTHERS = st.tuples(st.sampled_from((0x20, 0x34, 0x40, 0x90, 0xD0)), st.binary(max_size=200))


@given(st.lists(MESSAGES | OTHERS, max_size=12), st.lists(st.integers(1, 300), min_size=1))
def test_each_packet_comes_whole_to_whom_it_is_for(packets, cuts):
    stream, messages, others = b"", [], b""
    for item in packets:
        if len(item) == 4:
            topic, payload, mid, flags = item
            stream += publish(topic.encode(), payload, mid, flags)
            messages.append(Message(topic, payload, mid))
        else:
            stream += packet(*item)
            others += packet(*item)
    got = b""
    with plain_ends() as ends:
        for number in range(len(stream) + 1):
            if not stream:
                break
            piece = stream[: cuts[number % len(cuts)]]
            ends.peer.sendall(piece)
            stream = stream[len(piece) :]
            got += ends.read()
        assert (ends.messages, got) == (messages, others)
        assert not ends.transport.pending()


def test_a_message_of_a_megabyte_comes_whole(plain):
    payload = bytes(range(256)) * 4096
    sender = threading.Thread(target=plain.peer.sendall, args=(publish(b"a/b", payload, 7),))
    sender.start()
    while not plain.messages:
        select.select([plain.transport], [], [], 20)
        assert plain.read() == b""
    sender.join()
    assert plain.messages == [Message("a/b", payload, 7)]


def test_a_topic_that_is_no_text_is_passed_on_to_be_refused(plain):
    plain.peer.sendall(publish(b"desa/\xff", b"x", 3))
    plain.read()
    assert plain.messages == [Message("(not UTF-8)", b"x", 3)]


@pytest.mark.parametrize(
    "garbage",
    [
        packet(0x32, b""),
        packet(0x32, b"\x00"),
        packet(0x32, b"\x00\x03ab"),
        packet(0x32, b"\x00\x02ab\x00"),
        packet(0x30, b"\xff\xff" + bytes(50)),
        b"\x30\xff\xff\xff\xff",
        b"\x30\xff\xff\xff\xff\x01",
    ],
    ids=bytes.hex,
)
def test_what_is_not_mqtt_ends_the_connection(plain, garbage):
    plain.peer.sendall(garbage)
    with pytest.raises(ConnectionAbortedError):
        plain.transport.recv(1)
    assert not plain.messages


def test_the_end_is_told_after_what_came_before_it(plain):
    plain.peer.sendall(PINGRESP + publish(b"a", b"b", 1)[:-1])
    plain.peer.close()
    assert plain.transport.recv(1) == PINGRESP[:1]
    assert plain.transport.recv(9) == PINGRESP[1:]
    assert plain.transport.recv(1) == b"" and plain.transport.pending()
    assert not plain.messages


def test_pubacks_leave_together_and_between_packets(plain):
    plain.transport.send(b"\xc0\x00")
    plain.transport.confirm([1, 258, 65535])
    plain.transport.send(b"\xe0\x00")
    with pytest.raises(BlockingIOError):
        plain.peer.recv(1, socket.MSG_DONTWAIT)
    plain.transport.flush()
    assert plain.peer.recv(99).hex() == "c00040020001400201024002ffffe000"


def test_what_has_no_room_is_sent_later_and_in_order(plain):
    sent = [bytes((number,)) * 50_000 for number in range(20)]
    for piece in sent:
        plain.transport.send(piece)
        plain.transport.flush()
    assert plain.transport.unsent
    got = b""
    while len(got) < 1_000_000:
        got += plain.peer.recv(1 << 16)
        plain.transport.flush()
    assert got == b"".join(sent) and not plain.transport.unsent


def test_a_connection_that_is_lost_while_sending_is_told_when_reading(plain):
    plain.peer.close()
    for _ in range(3):
        plain.transport.confirm([1])
        plain.transport.flush()
    assert not plain.transport.unsent
    assert plain.transport.recv(1) == b""


# ---- with TLS --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.crt of one authority and another.crt of another; certificates of server and ingest."""
    folder = tmp_path_factory.mktemp("tls")
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
    return folder


def identity(tls: Path, ca: str = "ca.crt") -> TlsFiles:
    return TlsFiles(tls / ca, tls / "ingest.crt", tls / "ingest.key")


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def encrypted(request, tls) -> Iterator[tuple[Ends, ssl.SSLSocket]]:
    """A transport, and its peer after the handshake."""
    context = TransportContext(ssl.PROTOCOL_TLS_CLIENT)
    context.encrypted = True
    context.load_verify_locations(tls / "ca.crt")
    ends = Ends(context)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.maximum_version = request.param
    server.load_cert_chain(tls / "server.crt", tls / "server.key")
    peer = server.wrap_socket(ends.peer, server_side=True, do_handshake_on_connect=False)
    ends.peer = peer
    thread = threading.Thread(target=peer.do_handshake)
    thread.start()
    ends.transport.settimeout(20)
    ends.transport.do_handshake()
    thread.join()
    ends.transport.setblocking(False)
    yield ends, peer
    ends.close()


def test_over_tls_both_ways_are_whole(encrypted):
    ends, peer = encrypted
    expected = [Message("t", bytes((number,)) * 3000, number) for number in range(1, 40)]
    stream = b"".join(publish(b"t", m.payload, m.mid) for m in expected) + PINGRESP
    sender = threading.Thread(
        target=lambda: [peer.sendall(stream[i : i + 700]) for i in range(0, len(stream), 700)]
    )
    sender.start()
    got = b""
    while got != PINGRESP:
        select.select([ends.transport], [], [], 20)
        got += ends.read()
    sender.join()
    assert ends.messages == expected
    mids = list(range(1, 20_001))
    ends.transport.confirm(mids)
    ends.transport.flush()
    pubacks = b""
    while len(pubacks) < 4 * len(mids):
        pubacks += peer.recv(1 << 16)
        ends.transport.flush()
    assert pubacks == b"".join(b"\x40\x02" + struct.pack("!H", mid) for mid in mids)


def test_over_tls_the_end_is_told(encrypted):
    ends, peer = encrypted
    peer.sendall(publish(b"t", b"x", 1))
    peer.close()
    deadline = time.monotonic() + 20
    while not ends.transport.pending() and time.monotonic() < deadline:
        select.select([ends.transport], [], [], 1)
        assert ends.read() == b""
    assert ends.messages == [Message("t", b"x", 1)] and ends.transport.pending()


def test_over_tls_an_end_in_order_is_told_after_what_came_before_it(encrypted):
    ends, peer = encrypted
    peer.sendall(PINGRESP + publish(b"t", b"x", 1))
    peer.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):  # it does not wait for our part of it
        peer.unwrap()
    select.select([ends.transport], [], [], 20)
    assert ends.read() == PINGRESP
    assert ends.messages == [Message("t", b"x", 1)]
    assert ends.transport.pending() and ends.transport.recv(1) == b""


@pytest.fixture
def plain_port() -> int:
    """Where one may publish without a certificate."""
    return support.free_port()


@pytest.fixture
def broker(tmp_path, tls, plain_port) -> Iterator[support.Broker]:
    lines = [
        f"cafile {tls / 'ca.crt'}",
        f"certfile {tls / 'server.crt'}",
        f"keyfile {tls / 'server.key'}",
        "require_certificate true",
        "allow_anonymous true",
        f"listener {plain_port} 127.0.0.1",
        "allow_anonymous true",
        *BROKER_LINES,
    ]
    with support.start_mosquitto(tmp_path / "broker", lines) as broker:
        yield broker


@contextlib.contextmanager
def receiver(host: str, port: int, tls: TlsFiles | None) -> Iterator[Receiver]:
    opened = Receiver(Broker(host, port, tls), ("desa/1/+/+/report",))
    try:
        yield opened
    finally:
        opened.release()


def take(opened: Receiver, count: int) -> list[Message]:
    taken: list[Message] = []
    deadline = time.monotonic() + 20
    while len(taken) < count and time.monotonic() < deadline:
        taken += opened.read(count - len(taken), 0.2, 0.0)[0]
    return taken


def test_over_tls_what_was_confirmed_is_gone_and_nothing_else(broker, plain_port, tls):
    device = Device()
    with receiver("localhost", broker.port, identity(tls)) as opened:
        opened.connect()
    sent = device.reports(300)
    with client(plain_port) as publisher:
        for info in [publisher.publish(device.topic("report"), m, 1) for m in sent]:
            info.wait_for_publish(20)
    with receiver("localhost", broker.port, identity(tls)) as opened:
        opened.connect()
        taken = take(opened, 300)
        assert [message.payload for message in taken] == sent
        opened.confirm(taken[:200])
    with receiver("localhost", broker.port, identity(tls)) as opened:
        opened.connect()
        assert [message.payload for message in take(opened, 100)] == sent[200:]
        assert opened.read(1, 0.2, 0.0) == ([], False)


def test_over_tls_a_broker_that_stops_is_noticed_and_found_again(broker, plain_port, tls):
    device = Device()
    sent = device.reports(3)
    with receiver("localhost", broker.port, identity(tls)) as opened:
        opened.connect()
        broker.stop()
        opened.read(1, 20, 0.0)
        assert not opened.connected
        broker.start()
        opened.connect()
        with client(plain_port) as publisher:
            for info in [publisher.publish(device.topic("report"), m, 1) for m in sent]:
                info.wait_for_publish(20)
        assert [message.payload for message in take(opened, 3)] == sent


@pytest.mark.parametrize(
    ("host", "ca", "why"),
    [
        ("localhost", "another.crt", "not who it should be .self-signed"),
        ("127.0.0.1", "ca.crt", "not who it should be .IP address mismatch"),
    ],
)
def test_a_broker_that_is_somebody_else_is_not_spoken_to(broker, tls, host, ca, why):
    with receiver(host, broker.port, identity(tls, ca)) as opened:
        with pytest.raises(BrokerError, match=why):
            opened.connect()
        assert not opened.connected
    assert "CONNACK" not in broker.log


def test_a_broker_that_refuses_our_certificate_is_named(broker, tls, tmp_path):
    stranger = Authority.generate("stranger").issue_client("ingest")
    (tmp_path / "x.crt").write_bytes(stranger.certificate_pem)
    (tmp_path / "x.key").write_bytes(stranger.key_pem)
    files = TlsFiles(tls / "ca.crt", tmp_path / "x.crt", tmp_path / "x.key")
    with receiver("localhost", broker.port, files) as opened:
        with pytest.raises(BrokerError, match="does not answer"):
            opened.connect()


def test_a_handshake_that_never_ends_is_given_up():
    context = TransportContext(ssl.PROTOCOL_TLS_CLIENT)
    context.encrypted = True
    ends = Ends(context)
    over = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            ends.peer.sendall(b"\x16\x03\x03\x30\x00")  # a record of 12,288 bytes
            for _ in range(200):
                ends.peer.sendall(b"\x02")
                if over.wait(0.05):
                    break
        ends.peer.close()

    thread = threading.Thread(target=drip)
    thread.start()
    # It is never silent for half a second, and ends the connection after ten.
    ends.transport.settimeout(0.5)
    try:
        with pytest.raises(TimeoutError):
            ends.transport.do_handshake()
    finally:
        over.set()
        thread.join()
        ends.transport.close()


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
        with receiver("localhost", server.getsockname()[1], identity(tls)) as opened:
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
