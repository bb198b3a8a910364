"""What an ingest needs of MQTT 3.1.1, over one connection, without a thread.

A library's client took five times as long for each message, a sixth of all that the ingest has to
do. Its own work is little: messages come with QoS 1 at most, acks go out with QoS 0, and nothing
is kept here that a broker keeps anyway.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Sequence

from host_tools.ingest.pipeline import Message

_CHUNK = 65536  # bytes in one read; what a broker has sent waits in the kernel until then
_LONGEST_LENGTH = 4  # bytes of a packet's length
_CONNACK, _PUBLISH, _SUBACK, _PINGRESP = 0x20, 0x30, 0x90, 0xD0
_PINGREQ, _DISCONNECT = b"\xc0\x00", b"\xe0\x00"


class NotMqtt(ConnectionError):
    """What came is no MQTT 3.1.1, or nothing that was asked for."""


class BrokerLink:
    """A connection to a broker. What is sent is kept until `write`.

    Attributes:
        accepted: the code of the broker's answer to `hello`, 0: accepted; None: none yet.
        granted: its answers to `subscribe`, one for each filter; None: none yet.
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, patience_s: float):
        """Connect.

        Raises:
            OSError: nobody is there, or it is somebody else.
        """
        self._socket = socket.create_connection((host, port), patience_s)
        try:
            if context is not None:
                self._socket = context.wrap_socket(self._socket, server_hostname=host)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setblocking(False)
        except BaseException:
            self._socket.close()
            raise
        self._in = b""
        self._out = bytearray()
        self._full = False  # a whole packet may wait in `_in`
        self._keepalive_s = 0
        self._heard_at = self._sent_at = 0.0
        self._pinged_at: float | None = None
        self.accepted: int | None = None
        self.granted: tuple[int, ...] | None = None

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    @property
    def waiting(self) -> bool:
        """Whether something can be read without the kernel. TLS decrypts whole records."""
        tls = self._socket
        return self._full or (isinstance(tls, ssl.SSLSocket) and tls.pending() > 0)

    @property
    def unsent(self) -> bool:
        """Whether something waits for `write`."""
        return bool(self._out)

    # ---- what is sent ----------------------------------------------------------------------

    def hello(self, client_id: str, keepalive_s: int, now: float) -> None:
        """Ask for the session of a client id, which the broker keeps between connections."""
        self._keepalive_s = keepalive_s
        self._heard_at = self._sent_at = now
        fixed = b"\x00\x04MQTT\x04\x00" + keepalive_s.to_bytes(2, "big")
        self._send(0x10, fixed + _text(client_id))

    def subscribe(self, filters: Sequence[str]) -> None:
        """Ask for topics with QoS 1."""
        self.granted = None
        self._send(0x82, b"\x00\x01" + b"".join(_text(each) + b"\x01" for each in filters))

    def confirm(self, numbers: Iterable[int]) -> None:
        """A PUBACK for each of some messages."""
        self._out += b"".join(b"\x40\x02" + number.to_bytes(2, "big") for number in numbers)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0, retained."""
        self._send(0x31, _text(topic) + payload)

    def goodbye(self) -> None:
        """End the connection in order."""
        self._out += _DISCONNECT

    def _send(self, head: int, body: bytes) -> None:
        length, rest = bytearray(), len(body)
        while True:
            rest, low = rest >> 7, rest & 0x7F
            length.append(low | 0x80 if rest else low)
            if not rest:
                break
        self._out.append(head)
        self._out += length
        self._out += body

    def write(self, now: float) -> None:
        """Write what waits, as far as the kernel takes it.

        Raises:
            OSError: the connection is lost.
        """
        while self._out:
            try:
                done = self._socket.send(self._out)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            del self._out[:done]
            self._sent_at = now

    def stay_alive(self, now: float) -> None:
        """Show that we are there, and ask whether the broker is, if it is time."""
        since = (
            self._sent_at if self._pinged_at is not None else min(self._sent_at, self._heard_at)
        )
        if now - since >= self._keepalive_s and not self._out:
            self._out += _PINGREQ
            if self._pinged_at is None:
                self._pinged_at = now

    def check_alive(self, now: float) -> None:
        """Call this after `read` only.

        Raises:
            OSError: the broker does not answer.
        """
        if self._pinged_at is not None and now - self._pinged_at >= self._keepalive_s:
            raise TimeoutError

    # ---- what comes ------------------------------------------------------------------------

    def read(self, limit: int, now: float) -> list[Message]:
        """Read what has come, to so many messages; the rest waits.

        Raises:
            OSError: the connection is lost.
        """
        messages: list[Message] = []
        lost: OSError | None = None
        more = True
        while more and len(messages) < limit:
            chunks, size = [self._in], 0
            try:
                while size < _CHUNK and not self._full:
                    chunk = self._socket.recv(_CHUNK)
                    if not chunk:
                        raise ConnectionResetError
                    chunks.append(chunk)
                    size += len(chunk)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                more = False
            except OSError as error:
                # What came before may say why.
                lost, more = error, False
            if size:
                self._heard_at = now
                self._in = b"".join(chunks)
            self._take(messages, limit)
        if lost is not None:
            raise lost
        return messages

    def _take(self, messages: list[Message], limit: int) -> None:
        """Take whole packets from what was read."""
        data, at, end = self._in, 0, len(self._in)
        self._full = False
        while at + 2 <= end:
            body, length = at + 2, data[at + 1]
            if length >= 0x80:
                length, body = _length(data, at + 1)
            until = body + length
            if not body or until > end:
                break
            if data[at] & 0xF0 == _PUBLISH:
                if len(messages) >= limit:
                    self._full = True
                    break
                messages.append(_message(data, data[at], body, until))
            else:
                self._answer(data[at], data[body:until])
            at = until
        self._in = data[at:]

    def _answer(self, head: int, body: bytes) -> None:
        if head == _CONNACK and len(body) == 2:
            self.accepted = body[1]
        elif head == _SUBACK and len(body) > 2:
            self.granted = tuple(body[2:])
        elif head == _PINGRESP and not body:
            self._pinged_at = None
        else:
            raise NotMqtt

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _length(data: bytes, at: int) -> tuple[int, int]:
    """The length of a packet, and where its body begins; 0: the end of the length is missing."""
    length = 0
    for number in range(_LONGEST_LENGTH):
        if at + number >= len(data):
            return 0, 0
        byte = data[at + number]
        length |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return length, at + number + 1
    raise NotMqtt


def _message(data: bytes, head: int, begin: int, end: int) -> Message:
    topic_end = begin + 2 + (data[begin] << 8 | data[begin + 1]) if begin + 2 <= end else end + 1
    qos = head >> 1 & 3
    payload = topic_end + 2 if qos else topic_end
    if payload > end or qos > 1:
        raise NotMqtt
    try:
        topic = str(data[begin + 2 : topic_end], "utf-8")
    except UnicodeDecodeError:
        topic = "(not UTF-8)"
    mid = data[topic_end] << 8 | data[topic_end + 1] if qos else 0
    return Message(topic, data[payload:end], mid)
