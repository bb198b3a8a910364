"""The socket that paho speaks through: TLS, and a short way for reports and their PUBACKs.

paho reads each packet in four pieces, takes it through a dozen functions, and sends each PUBACK by
itself. Here everything that has come is taken at once, each PUBLISH goes straight to its receiver,
and PUBACKs leave together. All other packets are paho's, as if nothing else had come.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from host_tools.ingest.pipeline import Message

_CHUNK = 1 << 16  # bytes taken from the kernel at once
_RECORD = 1 << 14  # TLS gives no more at a time
_PUBACK = 0x4002  # its type and its length, that of the packet id which follows

Deliver = Callable[[list[Message]], None]


class TransportContext(ssl.SSLContext):
    """Makes paho speak through a Transport, where it would through a TLS socket.

    Attributes:
        deliver: is given the messages that have come, while paho reads.
        encrypted: False: without TLS all the same, for tests.
    """

    deliver: Deliver
    encrypted: bool

    def wrap_socket(self, sock: socket.socket, **options: Any) -> Transport:  # type: ignore[override]
        """See SSLContext.wrap_socket."""
        return Transport(sock, self, options.get("server_hostname"))


class Transport:
    """What paho takes for its socket; `confirm` and `flush` are for the receiver."""

    def __init__(self, sock: socket.socket, context: TransportContext, host: str | None) -> None:
        self._sock = sock
        self._deliver = context.deliver
        # TLS works in memory: on a socket it asks the kernel twice for each record.
        self._cipher_in, self._cipher_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if context.encrypted:
            self._tls = context.wrap_bio(self._cipher_in, self._cipher_out, server_hostname=host)
        self._incomplete = b""  # the beginning of a packet
        self._others = bytearray()  # packets for paho
        self._ended = False
        self._collected = bytearray()  # packets to send
        self._leaving = b""  # what the kernel had no room for yet

    # ---- what paho does with a socket ------------------------------------------------------

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self.flush()  # a DISCONNECT, for one
        self._sock.close()

    def do_handshake(self) -> None:
        """As that of an SSLSocket, and with its errors; the timeout is one for all of it."""
        timeout_s = self._sock.gettimeout()
        end = time.monotonic() + (timeout_s or 0)
        while self._tls is not None:
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                pass
            finally:
                self.flush()
            if timeout_s is not None:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the handshake takes too long")
                self._sock.settimeout(left)
            data = self._sock.recv(_CHUNK)
            if not data:
                raise ConnectionResetError("it closed the connection")
            self._cipher_in.write(data)

    def recv(self, size: int) -> bytes:
        """Bytes of packets that are for paho; what else has come is delivered."""
        if not self.pending():
            self._take_in()
            if not self.pending():
                raise BlockingIOError
        piece = bytes(self._others[:size])
        del self._others[:size]
        return piece

    def pending(self) -> bool:
        """Whether `recv` gives something, be it the end, that no event of the socket tells of."""
        return self._ended or bool(self._others)

    def send(self, data: bytes | bytearray) -> int:
        """Collect whole packets, for `flush`."""
        self._collected += data
        return len(data)

    # ---- what the receiver does --------------------------------------------------------------

    def confirm(self, mids: Sequence[int]) -> None:
        """Collect the PUBACKs of messages."""
        words = [_PUBACK] * (2 * len(mids))
        words[1::2] = mids
        self.send(struct.pack(f"!{len(words)}H", *words))

    def flush(self) -> None:
        """Send what was collected, as far as it can go at once; `unsent` tells if some is left.

        If the connection is lost, paho hears of it at its next `recv`.
        """
        try:
            if self._tls is None:
                self._leaving += self._collected
                self._collected.clear()
            else:
                while self._collected:
                    del self._collected[: self._tls.write(self._collected)]
                self._leaving += self._cipher_out.read()
            while self._leaving:
                self._leaving = self._leaving[self._sock.send(self._leaving) :]
        except BlockingIOError:
            pass
        except OSError:
            self._ended, self._leaving = True, b""
            self._collected.clear()

    @property
    def unsent(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._collected or self._leaving)

    # ---- what comes --------------------------------------------------------------------------

    def _take_in(self) -> None:
        data = self._sock.recv(_CHUNK)
        self._ended = not data
        if self._tls is not None:
            self._cipher_in.write(data)
            data = self._decrypted(self._tls)
        messages, self._incomplete = self._sorted(self._incomplete + data)
        self._deliver(messages)

    def _decrypted(self, tls: ssl.SSLObject) -> bytes:
        pieces = []
        try:
            while piece := tls.read(_RECORD):
                pieces.append(piece)
            self._ended = True  # TLS itself said so, as it does when a broker stops in order
        except ssl.SSLWantReadError:
            pass
        return b"".join(pieces)

    def _sorted(self, data: bytes) -> tuple[list[Message], bytes]:
        """Messages, and the packet that is not complete yet; all others are put aside for paho.

        Raises:
            ConnectionAbortedError: this is not MQTT.
        """
        messages: list[Message] = []
        begin, end = 0, len(data)
        while begin < end:
            # The length of what follows has 7 bits in a byte, the lowest first, in up to 4 bytes.
            at, size, shift, more = begin + 1, 0, 0, True
            while more and at < end:
                byte = data[at]
                size |= (byte & 0x7F) << shift
                at, shift, more = at + 1, shift + 7, byte >= 0x80
            if shift > 28 or (more and shift == 28):
                raise ConnectionAbortedError("the broker sends a packet without a length")
            after = at + size
            if more or after > end:
                break
            if data[begin] & 0xF4 == 0x30:  # PUBLISH, and its QoS is 0 or 1
                messages.append(_message(data[begin] & 0x02, data[at:after]))
            else:
                self._others += data[begin:after]
            begin = after
        return messages, data[begin:]


def _message(qos: int, body: bytes) -> Message:
    topic_end = 2 + int.from_bytes(body[:2], "big")
    payload = topic_end + 2 if qos else topic_end
    if payload > len(body):
        raise ConnectionAbortedError("the broker sends a PUBLISH that ends too early")
    try:
        topic = body[2:topic_end].decode()
    except UnicodeDecodeError:
        topic = "(not UTF-8)"
    return Message(topic, body[payload:], int.from_bytes(body[topic_end:payload], "big"))
