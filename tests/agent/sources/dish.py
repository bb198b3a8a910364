"""A Starlink dish for tests: real gRPC, with the published numbers of fields.

Numbers: the dish's reflection service, as published by several projects (Response 2004 is
dish_get_status; in it 1003 is pop_ping_drop_rate, and so on). Encoded here by hand, apart from the
agent's own reader.
"""

import contextlib
import struct
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc

METHOD = "/SpaceX.API.Device.Device/Handle"
GET_STATUS = b"\xe2\x3e\x00"


def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def real(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def message(number: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return varint(number << 3 | 2) + varint(len(body)) + body


def status(*parts: bytes) -> bytes:
    """A Response with a dish_get_status of these fields."""
    return integer(3, 43) + message(2004, *parts)


def everything(**changes: bytes) -> bytes:
    """A dish that tells all that is asked for; `changes` replaces single fields by their names."""
    fields = {
        "device_info": message(1, message(1, b"ut01000000-00000000-00abcdef"), message(4, b"ID")),
        "device_state": message(2, integer(1, 93784)),
        "drop": real(1003, 0.004),
        "obstruction": message(1004, real(1, 0.0215), real(4, 43200.0), integer(10, 9)),
        "alerts": message(1005, integer(3, 1), integer(16, 1), integer(9, 0)),
        "down": real(1007, 87.5e6),
        "up": real(1008, 1.12e6),
        "latency": real(1009, 31.55),
        "gps": message(1015, integer(1, 1), integer(2, 14)),
        "power": message(1043, integer(5, 999), real(6, 42.25), real(7, 9.5)),
        "from_the_future": message(3000, b"x" * 300) + integer(3001, 1 << 60),
    }
    return status(*(fields | changes).values())


@contextlib.contextmanager
def dish(answer: Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[int]:
    """A gRPC server with the dish's one method. Yields its port."""

    class Service(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            return grpc.unary_unary_rpc_method_handler(answer) if call.method == METHOD else None

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Service(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()
