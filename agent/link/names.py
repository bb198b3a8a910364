"""The rung for the village's name server: it may be right, dead, failing, or lying.

A router remembers a name that is asked for all day, long after everything behind it is dead. So
every other question is for a random name, which no server can remember and which must not exist:
the answer must come from the name's own servers, and an address in it is a lie.
"""

import binascii
import os

from agent.device import interpreter
from agent.net import dns
from agent.wire import ids
from agent.device.interpreter import const
from agent.link import probes

_EVERY = const(3)  # rounds: each of both questions is asked once a minute
_AGAIN = const(4)  # questions at once


class Names:
    """`server` is an address, "auto" (the system's first) or "off". `time`: duration of the last
    look-up in ms, None after it was taken."""

    def __init__(self, server, name, timeout_ms):
        self._server = server
        self._name = name
        self._timeout_ms = timeout_ms
        self._good = False
        self._random = False
        self._rounds = 0
        self.time = None

    async def probe(self, up):
        """A PROBE_ number, None if there is no server or it need not be asked now. `up`: the link
        is in no outage, so a question from time to time is enough."""
        self._rounds += 1
        if self._good and up and self._rounds < _EVERY:
            return None
        return await self._probe()

    async def confirm(self):
        """A PROBE_ number if it fails. Something further out has failed: the server may be why, if
        it was not asked in this round."""
        result = await self._probe() if self._rounds else None
        return None if result == ids.PROBE_OK else result

    async def _probe(self):
        self._rounds = 0
        server = self._server
        if server == "auto":
            server = "off"
            for server in dns.system_servers():
                if ":" not in server:
                    break
        if server == "off":
            return None
        self._random = self._random ^ self._good  # a question that failed is repeated
        began = interpreter.ticks_us()
        result = await self.ask(server, self._random)
        took = interpreter.ticks_diff(interpreter.ticks_us(), began) // 1000
        if result == ids.PROBE_OK and took < self._timeout_ms:
            self.time = took
        self._good = result == ids.PROBE_OK
        return result

    async def ask(self, server, random):
        """PROBE_ number for one look-up, of the name or of a random one below it.

        A query without an answer is repeated up to eight times: even on a lossy link one of so
        many arrives."""
        name = self._name
        if random:
            name = str(binascii.hexlify(os.urandom(5)), "ascii") + "." + name
        result = await self._once(server, name, random)
        for _ in range(2):
            if result != ids.PROBE_TIMEOUT:
                break
            again = [self._once(server, name, random) for _ in range(_AGAIN)]
            for other in await probes.together(again):
                if other not in (None, ids.PROBE_TIMEOUT):
                    result = other
        return result

    async def _once(self, server, name, random):
        try:
            code, addresses = await dns.query(server, name, self._timeout_ms)
        except OSError as e:
            return probes.classify(e.errno)
        if code not in (0, 3):
            return ids.PROBE_SERVER_FAILED
        if random:
            return ids.PROBE_BAD_ANSWER if addresses else ids.PROBE_OK
        return ids.PROBE_OK if addresses else ids.PROBE_NO_NAME
