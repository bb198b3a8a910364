"""The ingest's MQTT against bytes that arrive in any pieces, and against what is no MQTT."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.ingest.mqtt import BrokerLink, NotMqtt
from host_tools.ingest.pipeline import Message

CONNACK, SUBACK, PINGREQ, PINGRESP = (
    b"\x20\x02\x00\x00",
    b"\x90\x04\x00\x01\x01\x80",
    b"\xc0\x00",
    b"\xd0\x00",
)
HELLO = b"\x10\x12\x00\x04MQTT\x04\x00\x00\x1e\x00\x06ingest"
KEEPALIVE_S = 30


def publish(message: Message) -> bytes:
    topic = message.topic.encode()
    number = message.mid.to_bytes(2, "big") if message.mid else b""
    body = len(topic).to_bytes(2, "big") + topic + number + message.payload
    length, rest = b"", len(body)
    while rest >= 0x80:
        length, rest = length + bytes([rest & 0x7F | 0x80]), rest >> 7
    return bytes([0x32 if message.mid else 0x30]) + length + bytes([rest]) + body


@contextmanager
def connected() -> Iterator[tuple[BrokerLink, socket.socket]]:
    """A link that has said hello, and the broker's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = BrokerLink("127.0.0.1", server.getsockname()[1], None, 20)
        broker, _ = server.accept()
        broker.settimeout(20)
        broker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            link.hello("ingest", KEEPALIVE_S, 0.0)
            link.write(0.0)
            assert received(broker, len(HELLO)) == HELLO
            yield link, broker
        finally:
            link.close()
            broker.close()


def received(broker: socket.socket, size: int) -> bytes:
    return broker.recv(size, socket.MSG_WAITALL)


def read(link: BrokerLink, limit: int = 1000, now: float = 0.0) -> list[Message]:
    """Once something has come."""
    assert link.waiting or select.select([link], [], [], 20)[0]
    return link.read(limit, now)


MESSAGES = st.lists(
    st.builds(Message, st.text(max_size=8), st.binary(max_size=200), st.integers(0, 0xFFFF)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(MESSAGES, st.integers(1, 150), st.integers(1, 3))
def test_messages_come_whole_and_in_order_however_they_are_cut(messages, size, limit):
    sent = CONNACK + PINGRESP + b"".join(map(publish, messages)) + SUBACK
    taken: list[Message] = []
    with connected() as (link, broker):
        for at in range(0, len(sent), size):
            broker.sendall(sent[at : at + size])
        while len(taken) < len(messages) or link.granted is None:
            some = read(link, limit)
            assert len(some) <= limit
            taken += some
        assert taken == messages
        assert (link.accepted, link.granted) == (0, (1, 0x80))


def test_what_is_beyond_the_limit_waits_without_the_kernel():
    messages = [Message("t", b"%d" % number, number) for number in range(1, 6)]
    with connected() as (link, broker):
        broker.sendall(b"".join(map(publish, messages)) + CONNACK)
        taken = read(link, 2)
        while link.accepted is None:
            taken += read(link, 2)
        assert taken == messages
        assert not link.waiting


def test_a_topic_that_is_no_text_still_brings_its_message():
    with connected() as (link, broker):
        broker.sendall(b"\x32\x07\x00\x02\xff\xfe\x00\x09x")
        assert read(link) == [Message("(not UTF-8)", b"x", 9)]


def test_a_refusal_is_read_although_the_broker_has_closed_the_connection():
    with connected() as (link, broker):
        broker.sendall(b"\x20\x02\x00\x05")
        broker.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ConnectionResetError):
            while True:
                read(link)
        assert link.accepted == 5


@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(60),
        b"\x30\x80\x80\x80\x80\x01",  # a length of five bytes
        b"\x30\x01\x00",  # no room for a topic's length
        b"\x30\x03\x00\x02t",  # the topic ends after the packet
        b"\x32\x04\x00\x01t\x00",  # half a packet's number
        b"\x34\x05\x00\x01t\x00\x01",  # QoS 2
        b"\x20\x00",
        b"\x00\x00",
    ],
    ids=lambda says: says[:6].hex(),
)
def test_what_is_no_mqtt_ends_the_connection(says):
    with connected() as (link, broker):
        broker.sendall(says)
        with pytest.raises(NotMqtt):
            while True:
                read(link)


def test_what_is_sent_are_the_packets_of_the_standard():
    expected = (
        b"\x82\x0e\x00\x01\x00\x03a/+\x01\x00\x03b/#\x01"
        b"\x40\x02\x00\x01\x40\x02\x12\x34"
        b"\x31\xcc\x01\x00\x03ack" + bytes(199) + b"\xe0\x00"
    )
    with connected() as (link, broker):
        link.subscribe(("a/+", "b/#"))
        link.confirm((1, 0x1234))
        link.publish("ack", bytes(199))
        link.goodbye()
        assert link.unsent
        link.write(1.0)
        assert not link.unsent
        assert received(broker, len(expected)) == expected


def test_a_broker_that_says_nothing_is_asked_and_then_given_up():
    with connected() as (link, broker):
        link.stay_alive(29.0)
        assert not link.unsent
        link.stay_alive(30.0)
        link.write(30.0)
        assert received(broker, 2) == PINGREQ
        broker.sendall(PINGRESP)
        assert read(link, now=31.0) == []
        link.check_alive(100.0)
        link.stay_alive(100.0)
        link.write(100.0)
        link.check_alive(129.0)
        with pytest.raises(TimeoutError):
            link.check_alive(130.0)
        # While nothing is read, the broker still hears from us.
        link.stay_alive(130.0)
        link.write(130.0)
        assert received(broker, 4) == PINGREQ * 2
