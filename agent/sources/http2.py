"""One unary gRPC call over HTTP/2 without TLS (RFC 9113, prior knowledge; RFC 7541).

A client of one stream that reads one short answer. It asks the server to keep no table of
headers, so that none need be kept here, and reads headers only as far as to find grpc-status.
"""

from agent.device.interpreter import const
from agent.net.connection import close, fill, open_connection
from agent.net.errors import NetError

_DATA = const(0)
_HEADERS = const(1)
_RESET = const(3)
_SETTINGS = const(4)
_PUSH = const(5)
_PING = const(6)
_GOAWAY = const(7)
_CONTINUATION = const(9)

_MOST_BYTES = const(8192)
_MOST_FRAMES = const(100)

# HEADER_TABLE_SIZE 0, ENABLE_PUSH 0
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x0c\4\0\0\0\0\0\0\1\0\0\0\0\0\2\0\0\0\0"
_STATUS = b"grpc-status"
_STATUS_HUFFMAN = b"\x9a\xca\xc8\xb2\x12\x34\xda\x8f"


def _frame(kind, flags, stream, body=b""):
    return b"\0" + bytes((len(body) >> 8, len(body) & 0xFF, kind, flags, 0, 0, 0, stream)) + body


def _text(data):
    return bytes((len(data),)) + data


def _integer(data, at, bits):
    """An integer with a prefix of so many bits (RFC 7541, 5.1): (value, position behind it)"""
    most = (1 << bits) - 1
    value = data[at] & most
    at += 1
    shift = 0
    while value >= most or shift:
        byte = data[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift > 28:
            raise ValueError
    return value, at


def _string(data, at):
    huffman = data[at] & 0x80
    n, at = _integer(data, at, 7)
    if at + n > len(data):
        raise ValueError
    return huffman, bytes(data[at : at + n]), at + n


def grpc_status(block):
    """The value of grpc-status in a block of headers: 0, another number, or None if it is not
    there or can't be told. Raises ValueError or IndexError for what is no such block."""
    at = 0
    found = None
    while at < len(block):
        byte = block[at]
        if byte & 0x80:
            _, at = _integer(block, at, 7)
            continue
        if byte & 0xE0 == 0x20:
            _, at = _integer(block, at, 5)
            continue
        name, at = _integer(block, at, 6 if byte & 0x40 else 4)
        wanted = False
        if name == 0:
            huffman, name, at = _string(block, at)
            wanted = name == (_STATUS_HUFFMAN if huffman else _STATUS)
        huffman, value, at = _string(block, at)
        if wanted:
            if huffman:
                found = 0 if value == b"\x07" else 2  # 0, else UNKNOWN
            else:
                found = int(value) if value.isdigit() and len(value) < 3 else 2
    return found


class _Answer:
    def __init__(self):
        self.block = b""
        self.data = b""
        self.status = None
        self.over = False

    def frame(self, kind, flags, stream, body):
        """Take in a frame; the bytes that must be sent in answer, if any."""
        if kind == _SETTINGS:
            return b"" if flags & 1 else _frame(_SETTINGS, 1, 0)
        if kind == _PING:
            return b"" if flags & 1 else _frame(_PING, 1, 0, body)
        if kind == _RESET and stream == 1:
            raise NetError("the dish broke the call off with code %d" % body[3])
        if kind == _GOAWAY and not int.from_bytes(body[:4], "big"):
            raise NetError("the dish takes no calls, code %d" % body[7])
        if kind == _PUSH:
            raise ValueError
        if stream != 1 or kind not in (_DATA, _HEADERS, _CONTINUATION):
            return b""
        if flags & 8 and kind != _CONTINUATION:
            if body[0] >= len(body):
                raise ValueError
            body = body[1 : len(body) - body[0]]
        if kind == _DATA:
            self.data += body
        else:
            if kind == _HEADERS and flags & 0x20:
                body = body[5:]
            self.block += body
            if flags & 4:
                status = grpc_status(self.block)
                self.block = b""
                if status is not None:
                    self.status = status
        if kind != _CONTINUATION and flags & 1:
            self.over = True
        if len(self.data) + len(self.block) > _MOST_BYTES:
            raise NetError("the dish says too much")
        return b""


async def unary(host, port, path, message):
    """Call the method at `path` with an encoded message and return the encoded answer.

    The caller sets the deadline. Raises NetError; ValueError or IndexError for what is no
    HTTP/2."""
    authority = "%s:%d" % (host, port)
    headers = b"\x83\x86\4%s\1%s\x0f\x10%s\0%s%s" % (
        _text(path.encode()),
        _text(authority.encode()),
        _text(b"application/grpc"),
        _text(b"te"),
        _text(b"trailers"),
    )
    body = b"\0" + len(message).to_bytes(4, "big") + message
    hello = _HELLO + _frame(_HEADERS, 4, 1, headers) + _frame(_DATA, 1, 1, body)
    reader, writer = await open_connection(host, port, hello=hello)
    try:
        answer = _Answer()
        head = bytearray(9)
        for _ in range(_MOST_FRAMES):
            await fill(reader, memoryview(head))
            size = int.from_bytes(head[:3], "big")
            if size > _MOST_BYTES:
                raise NetError("the dish says too much")
            body = bytearray(size)
            await fill(reader, memoryview(body))
            stream = int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
            reply = answer.frame(head[3], head[4], stream, bytes(body))
            if reply:
                writer.write(reply)
            if answer.over and not answer.block:
                break
    except EOFError:
        raise NetError("the dish broke the call off") from None
    finally:
        close(writer)
    data = answer.data
    if answer.status:
        raise NetError("the dish refuses the call, gRPC status %d" % answer.status)
    if len(data) < 5 or data[0] or int.from_bytes(data[1:5], "big") != len(data) - 5:
        raise NetError("the dish's answer is not whole")
    return data[5:]
