"""A village's provider: the only way from the agent to the province, and it can fail.

Behind an uplink lie two hosts of the internet (TCP), a resolver (UDP) and the province's broker
(through a relay). Cutting the uplink makes packets vanish in both directions, as a storm does
with a dish; nothing is refused and no connection is told. The kernel's socket filters do that,
which need no privilege: on a listening socket they swallow handshakes, on an open one data and
acknowledgements alike, so that TCP itself sends again and goes on when the link is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import random
import socket
import struct
from collections import deque
from typing import Any, cast

# asm-generic/socket.h; linux/filter.h: a program of (code, jump if true, jump if false, k).
_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_LOAD_RANDOM = (0x20, 0, 0, 0xFFFFF000 + 56)  # A = a random 32-bit number (SKF_AD_RANDOM)
_PASS = (0x06, 0, 0, 0xFFFFFFFF)
_DROP = (0x06, 0, 0, 0)

_TEST_NET = bytes((192, 0, 2, 1))  # RFC 5737: an address for examples


def _drop(share: float) -> tuple[tuple[int, int, int, int], ...]:
    """A filter that drops this share of packets (0 to 1)."""
    if share >= 1:
        return (_DROP,)
    return (_LOAD_RANDOM, (0x35, 0, 1, int((1 - share) * (1 << 32))), _DROP, _PASS)


def _filter(sock: Any, share: float) -> None:
    """Make a socket lose this share of what is sent to it."""
    if not share:
        with contextlib.suppress(OSError):  # there was none
            sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, struct.pack("i", 0))
        return
    program = b"".join(struct.pack("HBBI", *step) for step in _drop(share))
    memory = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HL", len(program) // 8, ctypes.addressof(memory))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _socket(transport: asyncio.BaseTransport | None) -> Any:
    assert transport is not None
    return transport.get_extra_info("socket")


class Uplink:
    """One village's line to the world, on free ports of 127.0.0.1.

    delay, jitter: seconds, one way; jitter is the standard deviation. loss: share of handshakes
    with hosts of the internet that are lost (0 to 1). broker: address of the broker.
    """

    def __init__(self, delay: float, jitter: float, loss: float, broker: tuple[str, int]) -> None:
        self._delay = delay
        self._jitter = jitter
        self._loss = loss
        self.broker = broker
        self.cut = False
        self._hosts: list[socket.socket] = []
        self.pipes: set[_Pipe] = set()
        # Answers that came while the line was cut.
        self.held: deque[tuple[_Agent, bytes]] = deque()

    async def open(self) -> dict[str, Any]:
        """Start everything; the ports: `broker`, `targets` (two), `resolver`."""
        loop = asyncio.get_running_loop()
        for protocol in (_Host, _Host, lambda: _Agent(self)):
            listener = socket.create_server(("127.0.0.1", 0), backlog=64)
            self._hosts.append(listener)
            await loop.create_server(cast(Any, protocol), sock=listener)
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Resolver(self), ("127.0.0.1", 0)
        )
        self._lose()
        ports = [listener.getsockname()[1] for listener in self._hosts]
        return {
            "targets": ports[:2],
            "broker": ports[2],
            "resolver": _socket(transport).getsockname()[1],
        }

    def set_cut(self, cut: bool) -> None:
        """Cut the line, or mend it."""
        self.cut = cut
        self._lose()
        while self.held and not cut:
            pipe, data = self.held.popleft()
            pipe.send(data)

    def _lose(self) -> None:
        for listener, loss in zip(self._hosts, (self._loss, self._loss, 0.0), strict=True):
            _filter(listener, 1.0 if self.cut else loss)
        for pipe in self.pipes:
            _filter(_socket(pipe.transport), 1.0 if self.cut else 0.0)

    def latency(self) -> float:
        """Seconds that the next packet takes, one way."""
        return max(0.2 * self._delay, random.gauss(self._delay, self._jitter))


class _Host(asyncio.Protocol):
    """A host of the internet, as far as a probe goes: the kernel has answered, nothing follows."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Resolver(asyncio.DatagramProtocol):
    """The provider's DNS server: every name has one address (RFC 1035, 4.1)."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.find(b"\0", 12) + 5  # the question: name, type, class
        if self._uplink.cut or len(data) < 17 or not 17 <= end <= len(data):
            return
        head = data[:2] + bytes.fromhex("8180 0001 0001 0000 0000")
        answer = bytes.fromhex("c00c 0001 0001 0000003c 0004") + _TEST_NET
        later = 2 * self._uplink.latency()
        asyncio.get_running_loop().call_later(
            later, self._transport.sendto, head + data[12:end] + answer, addr
        )


class _Pipe(asyncio.Protocol):
    """One half of a relayed connection: what it receives goes to `other`, later."""

    def __init__(self, uplink: Uplink) -> None:
        self.uplink = uplink
        self.other: _Pipe | None = None
        self.transport: asyncio.Transport | None = None
        self._due = 0.0
        self._under_way: deque[bytes] = deque()
        self._early: list[bytes] = []  # received while the other half was being connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        with contextlib.suppress(OSError):
            _socket(transport).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
            return
        # Jitter must not turn bytes around: each waits for the one before. (What is due at one
        # moment is called in any order, so the calls carry no bytes.)
        loop = asyncio.get_running_loop()
        self._due = max(self._due, loop.time() + self.uplink.latency())
        self._under_way.append(data)
        loop.call_at(self._due, self._arrive)

    def _arrive(self) -> None:
        data = self._under_way.popleft()
        if self.other is not None:
            self.other.send(data)

    def join(self, other: _Pipe) -> None:
        self.other, other.other = other, self
        for data in self._early:
            self.data_received(data)
        self._early.clear()

    def send(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            # What is under way arrives first; then the other side learns that it is over.
            loop = asyncio.get_running_loop()
            loop.call_at(max(self._due, loop.time()) + 0.001, self.other.transport.close)


class _Agent(_Pipe):
    """The half that faces the agent, across the uplink."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.uplink.pipes.add(self)
        if self.uplink.cut:
            _filter(_socket(transport), 1.0)
        self._dial = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        host, port = self.uplink.broker
        try:
            _, far = await asyncio.get_running_loop().create_connection(
                lambda: _Pipe(self.uplink), host, port
            )
        except OSError:
            assert self.transport is not None
            self.transport.abort()  # refused, as by a machine on which no broker runs
            return
        self.join(far)

    def send(self, data: bytes) -> None:
        # The uplink is cut: it would reach the agent once TCP sends it again.
        if self.uplink.cut:
            self.uplink.held.append((self, data))
        else:
            super().send(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.uplink.pipes.discard(self)
        super().connection_lost(exc)
