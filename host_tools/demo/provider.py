"""A village's provider: it alone connects the agent with the province, and it can fail.

Behind an uplink lie two name servers of the internet, the provider's own (UDP) and the province's
broker (through a relay). Cutting the uplink makes everything vanish in both directions, as a storm
does with a dish: nothing is refused, no connection is closed, and packets on the line arrive when
the link is back. All of it without privileges, as the demo is for everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from host_tools.demo.sites import Ports

_BACKLOG = 1
_TEST_NET = bytes((192, 0, 2, 1))  # RFC 5737: an address for examples


class _Door:
    """A listening TCP socket that can fall silent.

    Handshakes are the kernel's affair. It drops them, as if they had never arrived, while the
    queue of connections that nobody has accepted is full; so that is what silence is made of.
    """

    def __init__(self, taker: Callable[[socket.socket], None]) -> None:
        """taker: is given each accepted connection."""
        self._taker = taker
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener, self._accept)
        self._queued: dict[tuple[str, int], socket.socket] = {}
        self.port = int(self._listener.getsockname()[1])

    def shut(self) -> None:
        self._loop.remove_reader(self._listener)
        for _ in range(_BACKLOG + 1):  # listen(2): so many fit before it is full
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._queued[filler.getsockname()] = filler

    def open(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed before it was accepted
            connection, address = self._listener.accept()
            filler = self._queued.pop(address, None)
            if filler is None:
                self._taker(connection)
            else:
                filler.close()
                connection.close()


class Uplink:
    """One village's line to the world, on free ports of 127.0.0.1.

    delay, jitter: seconds in one direction; jitter is the standard deviation. broker: its address.
    """

    def __init__(self, delay: float, jitter: float, broker: tuple[str, int]) -> None:
        self._delay = delay
        self._jitter = jitter
        self.broker = broker
        self.cut = False
        self._door: _Door | None = None
        self._relaying: set[asyncio.Task[Any]] = set()
        self.pipes: set[_Agent] = set()
        # Answers that came while the line was cut; nothing at all: the connection ended.
        self.held: deque[tuple[_Agent, bytes]] = deque()

    async def open(self) -> Ports:
        self._door = _Door(self._relay)
        ports = []
        for _ in range(3):
            transport, _protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Resolver(self), ("127.0.0.1", 0)
            )
            ports.append(int(transport.get_extra_info("sockname")[1]))
        return {"targets": ports[:2], "broker": self._door.port, "resolver": ports[2]}

    def _relay(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(lambda: _Agent(self), connection))
        self._relaying.add(task)  # the loop itself keeps no reference to a task
        task.add_done_callback(self._relaying.discard)

    def set_cut(self, cut: bool) -> None:
        """Cut the line, or mend it."""
        if cut == self.cut:
            return
        self.cut = cut
        if self._door is not None:
            (self._door.shut if cut else self._door.open)()
        for pipe in self.pipes:
            pipe.set_cut(cut)
        while self.held and not cut:
            pipe, data = self.held.popleft()
            if data:
                pipe.send(data)
            else:
                pipe.end()

    def latency(self) -> float:
        """Seconds that the next packet takes in one direction."""
        return max(0.2 * self._delay, random.gauss(self._delay, self._jitter))


class _Resolver(asyncio.DatagramProtocol):
    """The provider's DNS server (RFC 1035, 4.1): a name of two labels has an address, names
    below it don't exist, which is how the agent knows a server that lies."""

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
        second = 13 + data[12]  # where the second label begins
        if second < end and second + 1 + data[second] < end - 5:
            head = data[:2] + bytes.fromhex("8183 0001 0000 0000 0000")
            answer = b""
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

    def end(self) -> None:
        """The other half has ended, so this one does."""
        if self.transport is not None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            # Bytes on the line arrive first; then the other side learns that this is the end.
            loop = asyncio.get_running_loop()
            loop.call_at(max(self._due, loop.time()) + 0.001, self.other.end)


class _Agent(_Pipe):
    """The half that faces the agent, across the uplink."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.uplink.pipes.add(self)
        self.set_cut(self.uplink.cut)
        self._dial = asyncio.get_running_loop().create_task(self._connect())

    def set_cut(self, cut: bool) -> None:
        """Take nothing more from the agent, or what it has sent meanwhile."""
        assert self.transport is not None
        if cut:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

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

    def end(self) -> None:
        if self.uplink.cut:
            self.uplink.held.append((self, b""))
        else:
            super().end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.uplink.pipes.discard(self)
        super().connection_lost(exc)
