"""Clients that a captive portal, openNDS, has let in: from its program ndsctl or its control
socket."""

import socket
import struct

from agent.device import interpreter
from agent.net.errors import NetError
from agent.device.interpreter import const
from agent.sources import source
from agent.sources.jsonscan import Scanner
from agent.wire import ids

ORDER = 50
KEYS = """\
usage.opennds.command null str 1 200
usage.opennds.socket null path 1 100"""
NEEDS = "usage.opennds.command command"

_AF_UNIX = getattr(socket, "AF_UNIX", None)  # an ESP32 has none
_WAIT_MS = const(3000)
_MOST = const(256)
_PIECE = const(512)


async def ask_socket(path, sink):
    """Send what `ndsctl json` sends to openNDS's control socket; the answer goes to
    sink(bytes)."""
    sock = socket.socket(_AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # MicroPython takes a packed sockaddr_un.
        sock.connect(struct.pack("<H", 1) + path.encode() if interpreter.MICROPYTHON else path)
        sock.send(b"json\r\n\r\n")
        for _ in range(_MOST):
            if not await interpreter.ready(sock, False, _WAIT_MS):
                raise NetError("openNDS does not answer")
            piece = sock.recv(_PIECE)
            if not piece:
                return
            sink(piece)
        raise NetError("openNDS says too much")
    finally:
        sock.close()


class Opennds(source.Source):
    """Source of clients: those in the state Authenticated."""

    def __init__(self, ask, unique):
        super().__init__("usage.opennds", unique=unique)
        self._ask_portal = ask

    async def poll(self, levels):
        count = [0]
        whole = []

        def found(at, value):
            if at == [b"client_list_length"]:
                whole.append(value)
            elif len(at) == 3 and at[0] == b"clients" and at[2] == b"state":
                if value == b"Authenticated":
                    count[0] += 1
                    self.seen(at[1])

        scanner = Scanner(found)
        await self._ask_portal(scanner.feed)
        scanner.finish()
        if not whole:
            raise NetError("does not give its clients")
        source.put(levels, ids.CLIENTS, count[0])


def make(config, clock, on_reset):
    """The source that the configuration asks for, or raises ValueError with a sentence."""
    path = config["usage.opennds.socket"]
    program = config["usage.opennds.command"]
    if path:
        if _AF_UNIX is None:
            raise ValueError("usage.opennds.socket: this board has no such sockets")
        return Opennds(lambda sink: ask_socket(path, sink), source.day_of(config, clock))
    if not program:
        raise ValueError("usage.opennds.command is missing: expected it or usage.opennds.socket")
    from agent.sources import command

    if not command.possible():
        raise ValueError("usage.opennds.command: this board runs no programs")
    words = (program, "json")
    return Opennds(lambda sink: command.run(words, sink), source.day_of(config, clock))
