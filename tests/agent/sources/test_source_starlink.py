"""A Starlink dish asked by gRPC: a real grpcio server, and HTTP/2 servers that misbehave."""

import math
import socket
import struct
import time
from collections.abc import Callable

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources import http2, starlink
from agent.sources.protobuf import fields, scaled
from agent.wire import ids
from tests.agent.sources.dish import GET_STATUS, dish, everything, integer, message, real, status
from tests.agent.sources.source_lab import LONG_MS, WAYS, Device, tcp

every_way = pytest.mark.parametrize("interpreter", WAYS)


def start(interpreter: str, port: int, deadline_ms: int = LONG_MS) -> Device:
    options = {"starlink__host": "127.0.0.1", "starlink__port": port}
    return Device(interpreter, "starlink", deadline_ms, **options)


# --- a real gRPC server


@every_way
def test_the_dishs_word_is_told(interpreter: str):
    asked = []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked.append(request)
        return everything()

    with dish(answer) as port, start(interpreter, port) as device:
        row = device.sample()
    assert asked == [GET_STATUS]
    assert (
        row
        == {
            "dish_outage": 0,
            "dish_drop": 4,
            "dish_rtt": 316,
            "dish_down": 87500,
            "dish_up": 1120,
            "dish_obstruction": 215,
            "dish_alerts": 1 << 2 | 1 << 15,
            "dish_uptime": 93784,
            "dish_power": 423,
        }
        or row["dish_rtt"] == 315
    )


@every_way
def test_an_outage_comes_with_its_cause_and_looks_add_up_to_a_mean(interpreter: str):
    answers = [
        everything(latency=real(1009, 30.0), drop=b""),
        everything(latency=b"", drop=real(1003, 1.0), outage=message(1014, integer(1, 6))),
        everything(latency=real(1009, 50.0), drop=real(1003, 0.5), outage=message(1014)),
    ]
    with dish(lambda *_: answers.pop(0)) as port, start(interpreter, port) as device:
        device.observe()
        device.observe()
        row = device.sample()
    assert (row["dish_rtt"], row["dish_drop"]) == (400, 500)
    assert row["dish_outage"] == 99  # an outage whose cause is 0, unknown


@every_way
def test_a_refused_call_is_null_with_its_status(interpreter: str):
    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "no: 10.1.2.3")

    with dish(answer) as port, start(interpreter, port) as device:
        assert device.sample() == {}
        said = device.end()
    assert "gRPC status 7" in said and "10.1.2.3" not in said


@every_way
def test_another_device_at_the_address_is_null(interpreter: str):
    # A Starlink router in front of the dish answers the same call with a status of its own.
    with dish(lambda *_: message(3004, b"\x08\x01")) as port, start(interpreter, port) as device:
        assert device.sample() == {}
        assert "no status" in device.end()


@every_way
def test_an_answer_that_is_too_large_is_null(interpreter: str):
    with dish(lambda *_: everything(extra=message(4000, bytes(50000)))) as port:
        with start(interpreter, port) as device:
            assert device.sample() == {}
            assert "says too much" in device.end()


@every_way
def test_a_dish_that_hangs_is_null(interpreter: str):
    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        while context.is_active():
            time.sleep(0.01)
        return b""

    with dish(answer) as port, start(interpreter, port, deadline_ms=300) as device:
        assert device.sample() == {}
        assert "no answer in time" in device.end()


# --- what is null and what is 0


@pytest.mark.parametrize(
    "change,metric,value",
    [
        ({"drop": b""}, ids.DISH_DROP, 0),  # the encoding leaves zeros out
        ({"drop": b"", "latency": b""}, ids.DISH_DROP, None),
        ({"latency": real(1009, 0.0)}, ids.DISH_RTT, None),
        ({"latency": real(1009, -1.0)}, ids.DISH_RTT, None),
        ({"latency": real(1009, math.nan)}, ids.DISH_RTT, None),
        ({"down": b""}, ids.DISH_DOWN, 0),
        ({"down": b"", "up": b""}, ids.DISH_DOWN, None),
        ({"down": real(1007, math.inf)}, ids.DISH_DOWN, None),
        ({"obstruction": message(1004, real(4, 9.0))}, ids.DISH_OBSTRUCTION, 0),
        ({"obstruction": message(1004)}, ids.DISH_OBSTRUCTION, None),
        ({"obstruction": b""}, ids.DISH_OBSTRUCTION, None),
        ({"alerts": message(1005)}, ids.DISH_ALERTS, 0),
        ({"alerts": b""}, ids.DISH_ALERTS, None),
        ({"alerts": message(1005, integer(99, 1), integer(4, 7))}, ids.DISH_ALERTS, 0),
        ({"power": message(1048, real(6, 30.0))}, ids.DISH_POWER, 300),
        ({"power": message(1043, real(6, 0.0))}, ids.DISH_POWER, None),
        ({"power": b""}, ids.DISH_POWER, None),
        ({"device_state": b""}, ids.DISH_UPTIME, None),
        ({"device_state": message(2, integer(1, 1 << 63))}, ids.DISH_UPTIME, None),
        ({"device_state": integer(2, 5)}, ids.DISH_UPTIME, None),
        ({"outage": message(1014, integer(1, 8))}, ids.DISH_OUTAGE, 8),
        ({"outage": message(1014, integer(1, 77))}, ids.DISH_OUTAGE, 99),
        ({"outage": integer(1014, 3)}, ids.DISH_OUTAGE, 0),
    ],
)
def test_a_field_that_is_missing_or_strange(change: dict, metric: int, value: int | None):
    assert starlink.status(everything(**change)).get(metric) == value


def test_a_status_of_nothing_is_none():
    with pytest.raises(OSError, match="no status"):
        starlink.status(status())


# --- the encodings


@given(st.floats(width=32), st.sampled_from([1, 10, 1000, 10000]))
def test_floats_are_scaled_in_integers(value: float, scale: int):
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    got = scaled(bits, scale)
    if math.isnan(value) or abs(value) >= 2**41:
        assert got is None
    else:
        assert got is not None and abs(got - value * scale) <= 0.5


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_a_value_error(data: bytes):
    try:
        for number, value in fields(data, 0, len(data)):
            assert number >= 0
            if isinstance(value, tuple):
                assert 0 <= value[0] <= value[1] <= len(data)
    except ValueError:
        pass


@given(st.binary(max_size=200))
def test_any_answer_has_levels_or_an_error(data: bytes):
    try:
        levels = starlink.status(data)
    except (OSError, ValueError):
        return
    assert all(isinstance(value, int) for value in levels.values())


@pytest.mark.parametrize(
    "block,value",
    [
        (b"\x88", None),
        (b"\x20\x88\x40\x0bgrpc-status\x010", 0),
        (b"\x00\x0bgrpc-status\x0214", 14),
        (b"\x10\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x010", 0),  # the name by Huffman's code
        (b"\x10\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x81\x07", 0),  # the value as well
        (b"\x10\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x82\x0b\x5f", 2),  # 14
        (b"\x0f\x10\x10application/grpc\x00\x0bgrpc-status\x010", 0),
        (b"\xbe\x7f\x00\x01x\x00\x0bgrpc-status\x015", 5),  # fields of a table that we lack
        (b"\x00\x0bgrpc-status\x03999", 2),
    ],
)
def test_the_status_is_found_among_headers(block: bytes, value: int | None):
    assert http2.grpc_status(block) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_headers_or_an_error(block: bytes):
    try:
        http2.grpc_status(block)
    except (ValueError, IndexError):
        pass


# --- HTTP/2 servers that are not as they should be


def frame(kind: int, flags: int = 0, stream: int = 1, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


BODY = everything()
MESSAGE = b"\0" + len(BODY).to_bytes(4, "big") + BODY
TRAILERS = b"\x00\x0bgrpc-status\x010"
GOOD = [
    frame(4, 0, 0),
    frame(1, 4, 1, b"\x88"),
    frame(0, 0, 1, MESSAGE),
    frame(1, 5, 1, TRAILERS),
]


def says(*frames: bytes, then: Callable[[socket.socket], None] | None = None):
    def talk(sock: socket.socket) -> None:
        sock.recv(4096)
        for data in frames:
            sock.sendall(data)
        if then:
            then(sock)
        while sock.recv(4096):
            pass

    return talk


@every_way
@pytest.mark.parametrize(
    "frames",
    [
        GOOD,
        [GOOD[0], frame(1, 4 | 8, 1, b"\3\x88\0\0\0"), *GOOD[2:]],  # padded
        [GOOD[0], frame(1, 4 | 0x20, 1, b"\0\0\0\0\7\x88"), *GOOD[2:]],  # with a priority
        [frame(6, 0, 0, b"12345678"), frame(8, 0, 0, b"\0\0\1\0"), frame(99, 1, 7, b"x"), *GOOD],
        [*GOOD[:2], *(frame(0, 0, 1, MESSAGE[i : i + 100]) for i in range(0, len(MESSAGE), 100)),
         GOOD[3]],
        [*GOOD[:3], frame(1, 1, 1, TRAILERS[:5]), frame(9, 4, 1, TRAILERS[5:])],
        [frame(7, 0, 0, b"\0\0\0\1\0\0\0\0"), *GOOD],  # goes away, but finishes this call
        [*GOOD[:2], frame(0, 1, 1, MESSAGE)],  # without trailers
    ],
)  # fmt: skip
def test_a_server_may_frame_as_it_likes(interpreter: str, frames: list[bytes]):
    with tcp(says(*frames)) as port, start(interpreter, port) as device:
        assert device.sample()["dish_uptime"] == 93784


@every_way
def test_pings_and_settings_are_answered(interpreter: str):
    heard = []

    def talk(sock: socket.socket) -> None:
        data = sock.recv(4096)
        assert data.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        sock.sendall(frame(4, 0, 0) + frame(6, 0, 0, b"12345678"))
        want = frame(4, 1, 0) + frame(6, 1, 0, b"12345678")
        got = b""
        while len(got) < len(want):
            got += sock.recv(4096)
        heard.append(got == want)
        sock.sendall(b"".join(GOOD[1:]))
        sock.recv(1)

    with tcp(talk) as port, start(interpreter, port) as device:
        assert "dish_uptime" in device.sample()
    assert heard == [True]


@every_way
@pytest.mark.parametrize(
    "frames,reason",
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "too much"),
        ([GOOD[0], frame(3, 0, 1, b"\0\0\0\7")], "broke the call off with code 7"),
        ([frame(7, 0, 0, b"\0\0\0\0\0\0\0\2")], "takes no calls, code 2"),
        ([*GOOD[:2], frame(0, 1, 1, MESSAGE[:-1])], "not whole"),
        ([*GOOD[:2], frame(0, 1, 1, b"\1" + MESSAGE[1:])], "not whole"),
        ([GOOD[0], frame(1, 5, 1, b"\x88\x00\x0bgrpc-status\x0212")], "gRPC status 12"),
        ([frame(5, 4, 1, b"\0\0\0\2\x88")], "ValueError"),
        ([frame(3, 0, 1), frame(0, 8, 1)], "IndexError"),
        ([frame(0, 8, 1, b"\x09ab")], "ValueError"),
        ([frame(1, 4, 1, b"\x00\x7fx")], "ValueError"),
        ([frame(1, 0, 1, b"a" * 5000), frame(9, 0, 1, b"a" * 5000)], "too much"),
        ([frame(6, 0, 0, b"12345678")] * 101, "not whole"),
        ([b"\0\0\5"], "broke the call off"),
    ],
)
def test_whatever_a_server_does_the_source_survives(
    interpreter: str, frames: list[bytes], reason: str
):
    def hang_up(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)

    with tcp(says(*frames, then=hang_up)) as port, start(interpreter, port) as device:
        assert device.sample() == {}
        assert reason in device.end()
