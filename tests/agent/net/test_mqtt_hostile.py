"""The agent's MQTT client against brokers that misbehave, on both interpreters."""

import socket
import threading
from collections.abc import Callable

import pytest

from tests import support
from tests.agent.net.mqtt_lab import (
    ACCEPTED,
    INTERPRETERS,
    RESUMED,
    Device,
    packet_id,
    read_packet,
    run,
    serve,
)

# What the broker sends after the client's CONNECT; stage and part of the reason expected.
BEFORE_CONNACK = {
    "another protocol version": (b"\x20\x02\x00\x01", "CONNACK 1"),
    "client id refused": (b"\x20\x02\x00\x02", "CONNACK 2"),
    "broker unavailable": (b"\x20\x02\x00\x03", "CONNACK 3"),
    "user name refused": (b"\x20\x02\x00\x04", "CONNACK 4"),
    "not authorised": (b"\x20\x02\x00\x05", "not authorised"),
    "unknown code": (b"\x20\x02\x00\x06", "CONNACK 6"),
    "reserved flags": (b"\x20\x02\x02\x00", "no CONNACK"),
    "refused with a session": (b"\x20\x02\x01\x05", "no CONNACK"),
    "CONNACK too long": (b"\x20\x03\x00\x00\x00", "malformed"),
    "another packet first": (b"\x30\x04\x00\x01ax", "no CONNACK"),
    "another protocol": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "malformed"),
    "closed": (None, "closed the connection"),
    "half a CONNACK": (b"\x20\x02\x00", None),
}
IN_SESSION = {
    "remaining length of five bytes": (b"\x30\xff\xff\xff\xff\x01", "length"),
    "packet type 0": (b"\x00\x00", "packet 0x00"),
    "packet type 15": (b"\xf0\x00", "packet 0xf0"),
    "PUBLISH with QoS 3": (b"\x36\x05\x00\x01a\x00\x01", "packet 0x36"),
    "PUBLISH with QoS 2": (b"\x34\x05\x00\x01a\x00\x01", "packet 0x34"),
    "PUBLISH with DUP and QoS 0": (b"\x38\x03\x00\x01a", "packet 0x38"),
    "PUBLISH with packet id 0": (b"\x32\x05\x00\x01a\x00\x00", "id 0"),
    "PUBLISH without packet id": (b"\x32\x03\x00\x01a", "topic"),
    "PUBLISH with half a packet id": (b"\x32\x04\x00\x01a\x00", "topic"),
    "PUBLISH too short": (b"\x30\x01\x00", "of 1 bytes"),
    "PUBLISH empty": (b"\x30\x00", "of 0 bytes"),
    "topic beyond the packet": (b"\x30\x04\x00\x09ab", "topic"),
    "topic empty": (b"\x30\x03\x00\x00a", "topic"),
    "topic not UTF-8": (b"\x30\x04\x00\x02\xff\xfe", "topic"),
    "topic with an overlong zero": (b"\x30\x07\x00\x04a\xc0\x80bx", "topic"),
    "topic with a surrogate": (b"\x30\x06\x00\x03\xed\xa0\x80x", "topic"),
    "topic beyond Unicode": (b"\x30\x07\x00\x04\xf4\x90\x80\x80x", "topic"),
    "topic with a wildcard": (b"\x30\x05\x00\x03a/#", "topic"),
    "topic with a zero": (b"\x30\x05\x00\x03a\x00b", "topic"),
    "over the largest packet": (b"\x30\x81\x40", "8193 bytes"),
    "over by far": (b"\x30\xff\xff\xff\x7f", "268435455 bytes"),
    "PUBACK with packet id 0": (b"\x40\x02\x00\x00", "id 0"),
    "PUBACK too long": (b"\x40\x03\x00\x01\x00", "of 3 bytes"),
    "PUBACK with reserved bits": (b"\x42\x02\x00\x01", "packet 0x42"),
    "SUBACK too short": (b"\x90\x02\x00\x01", "of 2 bytes"),
    "SUBACK with packet id 0": (b"\x90\x03\x00\x00\x01", "id 0"),
    "PINGRESP with a body": (b"\xd0\x01\x00", "of 1 bytes"),
    "second CONNACK": (b"\x20\x02\x00\x00", "CONNACK"),
    "CONNECT": (b"\x10\x00", "packet 0x10"),
    "PUBREC": (b"\x50\x02\x00\x01", "packet 0x50"),
    "PUBREL": (b"\x62\x02\x00\x01", "packet 0x62"),
    "PUBCOMP": (b"\x70\x02\x00\x01", "packet 0x70"),
    "SUBSCRIBE": (b"\x82\x06\x00\x01\x00\x01a\x00", "packet 0x82"),
    "UNSUBACK": (b"\xb0\x02\x00\x01", "packet 0xb0"),
    "PINGREQ": (b"\xc0\x00", "packet 0xc0"),
    "DISCONNECT": (b"\xe0\x00", "packet 0xe0"),
}


def _outcomes(interpreter: str) -> dict[str, list]:
    """What became of each scripted connection: [stage, reason, errno, unknown acks, messages]."""
    scripts = [(name, answer) for name, (answer, _) in BEFORE_CONNACK.items()]
    scripts += [(name, ACCEPTED + answer) for name, (answer, _) in IN_SESSION.items()]
    scripts += [
        ("acks for nothing", ACCEPTED + b"\x40\x02\x00\x07\x90\x03\x00\x08\x00\xd0\x00"),
        ("cut off", ACCEPTED + b"\x30\x04\x00\x01ax\x32\x09\x00\x01b"),
    ]

    def handler(sock: socket.socket, number: int) -> None:
        read_packet(sock)
        name, answer = scripts[number]
        if answer is None:
            return
        sock.sendall(answer)
        if name in ("acks for nothing", "cut off", "half a CONNACK"):
            sock.shutdown(socket.SHUT_WR)
        # It is the client who has to end the others.
        while sock.recv(4096):
            pass

    with serve(handler) as port:
        said = run(interpreter, "scripts", port=port, count=len(scripts))
    assert [what for what, _ in said] == ["end"] * len(scripts)
    return {scripts[i][0]: list(said[i][1]) for i in range(len(scripts))}  # type: ignore[call-overload]


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_a_broker_that_misbehaves_is_given_up_with_a_reason(interpreter: str) -> None:
    outcomes = _outcomes(interpreter)
    for name, (answer, expected) in BEFORE_CONNACK.items():
        stage, reason, code, _, _ = outcomes[name]
        assert stage == "mqtt", name
        assert (expected or "closed the connection") in reason, name
        assert reason.startswith("broker 127.0.0.1: "), name
        if answer and answer[:3] == b"\x20\x02\x00" and len(answer) == 4:
            assert code == answer[3], name
    for name, (_, expected) in IN_SESSION.items():
        stage, reason, _, _, messages = outcomes[name]
        assert (stage, messages) == ("session", []), name
        assert expected in reason, name
    # Acks for nothing are counted and harmless, and what came before the cut is delivered.
    closed = "the broker closed the connection"
    assert outcomes["acks for nothing"][1:] == [closed, 0, 2, []]
    assert outcomes["cut off"][1:] == [closed, 0, 0, ["a"]]


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_a_bug_in_the_handler_neither_ends_the_connection_nor_repeats_the_message(
    interpreter: str,
) -> None:
    acknowledged = []

    def handler(sock: socket.socket, number: int) -> None:
        read_packet(sock)
        sock.sendall(ACCEPTED + b"\x32\x06\x00\x01a\x12\x34x" + b"\x30\x04\x00\x01bx")
        acknowledged.append(read_packet(sock))
        sock.recv(1)

    with serve(handler) as port:
        said = dict(run(interpreter, "handler_raises", port=port))
    assert (said["got"], said["connected"]) == (["a", "b"], True)
    assert "b: ValueError('a bug'" in str(said["log"])
    assert acknowledged == [b"\x40\x02\x12\x34"]


def answering(
    packets: list[bytes], first: bytes = ACCEPTED
) -> Callable[[socket.socket, int], None]:
    """A small broker that acknowledges all but messages to test/mute, and is silent from then."""

    def handler(sock: socket.socket, number: int) -> None:
        read_packet(sock)
        sock.sendall(RESUMED if number else first)
        mute = False
        while True:
            packet = read_packet(sock)
            if packet[0] == 0xE0:
                return
            packets.append(packet)
            mute = mute or (number == 0 and b"test/mute" in packet)
            if packet[0] & 0xF6 == 0x32 and not mute:
                sock.sendall(b"\x40\x02" + packet_id(packet).to_bytes(2, "big"))
            if packet[0] == 0xC0 and not mute:
                sock.sendall(b"\xd0\x00")

    return handler


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_the_broker_is_pinged_only_in_silence_and_must_answer(interpreter: str) -> None:
    packets: list[bytes] = []
    with serve(answering(packets)) as port:
        said = dict(run(interpreter, "keepalive", port=port))
    assert said["pings in traffic"] == 0
    assert said["pings in silence"] == 2
    assert str(said["ended"]).startswith("no PUBACK from the broker in 30 s")
    kinds = [packet[0] & 0xF0 for packet in packets]
    assert kinds[:12] == [0x30] * 10 + [0xC0] * 2


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_a_missing_puback_ends_the_connection_and_the_message_is_repeated(
    interpreter: str,
) -> None:
    packets: list[bytes] = []
    with serve(answering(packets)) as port:
        said = dict(run(interpreter, "no_puback", port=port))
    assert str(said["ended"]).startswith("no PUBACK from the broker in 30 s")
    assert (said["present"], "acknowledged" in said) == (True, True)
    assert packets == [packets[0], bytes([packets[0][0] | 8]) + packets[0][1:]]


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_nothing_is_sent_after_disconnect(interpreter: str) -> None:
    # MQTT-3.14.4-2: no PUBACK for what still comes, no PINGREQ that somebody asks for.
    after = []
    asked = threading.Event()

    def handler(sock: socket.socket, number: int) -> None:
        read_packet(sock)
        sock.sendall(ACCEPTED)
        assert read_packet(sock) == b"\xe0\x00"
        sock.sendall(b"\x32\x06\x00\x01a\x12\x34x")
        asked.wait(support.PATIENCE_S)
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(4096):
            after.append(data)

    with serve(handler) as port:
        with Device(interpreter, "leaves_while_asked", port=port) as device:
            device.expect("asked")
            asked.set()
            said = device.finish()
    assert said == [("got", ["a"]), ("reason", "this client closed the connection")]
    assert after == []


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_no_more_messages_than_the_window_are_on_their_way(interpreter: str) -> None:
    packets: list[bytes] = []
    with serve(answering(packets)) as port:
        said = dict(run(interpreter, "window", port=port))
    assert said["most"] == 3
    sent = [packet for packet in packets if packet[0] == 0x32]
    assert sorted(int(packet[12:]) for packet in sent) == list(range(20))
