"""How much the link carries, measured from time to time by downloading a file of known size.

The agent's probes wait meanwhile. It asks for no more than is configured, and never again from a
server that sends more.
"""

from agent.device import interpreter
from agent.net.errors import NetError, cause
from agent.net.tasks import within
from agent.net.traffic import own
from agent.wire import ids
from agent.device.interpreter import const
from agent.net.connection import close, fill, open_connection

_BLOCK = const(2048)
_LONGEST_HEAD = const(2048)
_LEAST = const(16384)  # a shorter answer shows nothing
_CONNECTION = const(2000)  # bytes for connecting, asking and closing
_WINDOW = const(65536)  # may be on the way from a server when the connection is closed


def parse(url):
    """(host, port, path, text for the Host header) of "[http://]host[:port]/path"; ValueError."""
    rest = url[7:] if url[:7] == "http://" else url
    where, slash, path = rest.partition("/")
    host, colon, port = where.partition(":")
    if not colon:
        port = "80"
    if not slash or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError
    for c in rest:
        if not "!" <= c <= "~" or c in "@#":
            raise ValueError
    return host, int(port), path, where


class Throughput:
    """A source of samples: `throughput_down` in the sample in which it was measured.

    Raises ValueError with a sentence if the address is none."""

    limit_ms = 10000  # for connecting, and again for downloading

    def __init__(self, settings, clock, link, budget):
        try:
            self._at = parse(settings["throughput.url"])
        except ValueError:
            raise ValueError("throughput.url: expected http://host[:port]/path, without TLS")
        self._every_s = settings["throughput.every_h"] * 3600
        self._most = settings["throughput.kb"] * 1000
        self._resolvers = settings["broker.resolvers"]
        self._clock = clock
        self._link = link
        self._budget = budget
        self._refused = False
        self._value = None  # kbit/s
        self._view = None  # the buffer, while it is needed

    async def sample(self, row):
        if self._value is not None:
            row[ids.THROUGHPUT_DOWN] = self._value
            self._value = None

    async def run(self):
        """Measure at a random time within each device's own period, for ever."""
        due = self._clock.up() + interpreter.random_below(self._every_s)
        while not self._refused:
            await interpreter.sleep_ms(max(0, min(60, due - self._clock.up())) * 1000)
            if self._clock.up() < due:
                continue
            most = 3 * self._most + _WINDOW
            if self._budget.allows(self._most + (self._most >> 4) + _CONNECTION, most):
                if not ids.UP <= self._link.outages.state <= ids.DEGRADED:
                    await interpreter.sleep_ms(60000)
                    continue
                async with self._link.busy:
                    self._value = await self.measure()
            due += self._every_s

    async def measure(self):
        """kbit/s, None if it could not be measured. Takes at most some 20 s."""
        most = 3 * self._most + _WINDOW
        own.add(most)  # the most that a hostile server can send; the rest is given back
        charge = _CONNECTION
        writer = None
        self._view = memoryview(bytearray(_BLOCK))
        self._got = self._from = self._began = 0
        self._ended = None
        try:
            host, port, path, where = self._at
            request = (
                "GET /%s HTTP/1.1\r\nHost: %s\r\nRange: bytes=0-%d\r\n"
                "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
                % (path, where, self._most - 1)
            )
            reader, writer = await open_connection(
                host, port, None, None, self._resolvers, self.limit_ms, request.encode()
            )
            charge += _WINDOW
            try:
                await within(self.limit_ms, self._download(reader))
                charge -= _WINDOW
                await self._expect_end(reader)
            except OSError as e:
                if isinstance(e, NetError) or self._ended is None:
                    raise
                # The time is over: what came until then is enough.
        except (OSError, EOFError, MemoryError) as e:
            text = "the answer was cut off" if isinstance(e, EOFError) else cause(e)
            interpreter.log("throughput:", text)
            self._ended = None
        finally:
            if writer:
                close(writer)
            self._view = None
            charge += self._got + (self._got >> 4)
            own.add((most if self._refused else min(charge, most)) - most)
        if self._ended is None:
            return None
        took = interpreter.ticks_diff(self._ended, self._began)
        return (self._got - self._from) * 8 // max(took, 1)

    async def _download(self, reader):
        left = await self._head(reader)
        if left > self._most:
            self._refuse()
        if left < _LEAST:
            raise NetError("the file is too short: give one of throughput.kb")
        begun = interpreter.ticks_ms()
        slow = left >> 2
        while left:
            piece = self._view[: min(left, _BLOCK)]
            await fill(reader, piece)
            left -= len(piece)
            self._got += len(piece)
            now = interpreter.ticks_ms()
            if self._from:
                self._ended = now
            elif self._got >= slow or interpreter.ticks_diff(now, begun) > self.limit_ms // 4:
                # Count from here: TCP has found its speed, or never will.
                self._from = self._got
                self._began = now

    async def _head(self, reader):
        """Read the answer's head, to its last byte and no more; the length of what follows."""
        line = b""
        size = None
        status = b""
        for _ in range(_LONGEST_HEAD):
            byte = self._view[:1]
            await fill(reader, byte)
            self._got += 1
            if byte[0] != 10:
                line += bytes(byte)
                continue
            line = line.rstrip()
            if not status:
                status = (
                    line.split(None, 2)[1] if line[:7] == b"HTTP/1." and b" " in line else b"?"
                )
                if status not in (b"200", b"206"):
                    raise NetError("expected status 200 or 206 from the server")
            elif not line:
                self._got = 0
                if size is None:
                    self._refuse()
                return size
            name, _, value = line.lower().partition(b":")
            value = value.strip()
            if name == b"content-length":
                size = int(value) if value.isdigit() and len(value) < 10 else self._refuse()
            elif name == b"transfer-encoding":
                self._refuse()
            line = b""
        raise NetError("the answer's head is too long")

    async def _expect_end(self, reader):
        try:
            await within(1000, fill(reader, self._view[:1]))
        except (OSError, EOFError):
            return
        self._refuse()

    def _refuse(self):
        self._refused = True
        raise NetError(
            "the server sends more than was asked for, or does not say how much: it is not asked "
            "again until the agent is started anew"
        )
