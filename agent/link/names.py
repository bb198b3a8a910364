"""The rung that says what the village's name server does: right, dead, failing, or lying.

A name that is looked up all day comes from the router's own memory long after all behind it is
dead. So every other time a random name below it is asked for, which nobody can remember and which
must not exist: the answer has to come from the name's own servers, and an address in it is a lie.
"""

import binascii
import os

from agent.device import interpreter
from agent.net import dns
from agent.device.interpreter import const
from agent.link import probes

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_PROBE_OK = const(0)
_PROBE_TIMEOUT = const(1)
_PROBE_NO_NAME = const(4)
_PROBE_BAD_ANSWER = const(5)
_PROBE_SERVER_FAILED = const(10)

_AT_ONCE = const(4)  # an ESP32 has ten sockets


class Names:
    """`server` is an address, "auto" (the system's first) or "off"; `time` is what the last
    look-up took in ms, None after it was taken."""

    def __init__(self, server, name, timeout_ms):
        self._server = server
        self._name = name
        self._timeout_ms = timeout_ms
        self._good = False
        self._random = False
        self.time = None

    async def probe(self):
        """A PROBE_ number, None if there is no server."""
        server = self._server
        if server == "auto":
            server = "off"
            for server in dns.system_servers():
                if ":" not in server:
                    break
        if server == "off":
            return None
        if self._good:
            self._random = not self._random  # else what failed is asked again
        began = interpreter.ticks_us()
        result = await self.ask(server, self._random)
        took = interpreter.ticks_diff(interpreter.ticks_us(), began) // 1000
        if result == _PROBE_OK and took < self._timeout_ms:
            self.time = took
        self._good = result == _PROBE_OK
        return result

    async def ask(self, server, random):
        """PROBE_ number for one look-up: of the name, or of a random one below it.

        A query that stays without an answer is repeated, eight times in all: of so many some would
        arrive, however lossy the link is."""
        name = self._name
        if random:
            name = str(binascii.hexlify(os.urandom(5)), "ascii") + "." + name
        result = await self._once(server, name, random)
        for _ in range(2):
            if result != _PROBE_TIMEOUT:
                break
            again = [self._once(server, name, random) for _ in range(_AT_ONCE)]
            for other in await probes.together(again):
                if other != _PROBE_TIMEOUT:
                    result = other
        return result

    async def _once(self, server, name, random):
        try:
            rcode, addresses = await dns.query(server, name, self._timeout_ms)
        except OSError as e:
            return probes.classify(e.errno)
        if rcode not in (0, 3):
            return _PROBE_SERVER_FAILED
        if random:
            return _PROBE_BAD_ANSWER if addresses else _PROBE_OK
        return _PROBE_OK if addresses else _PROBE_NO_NAME
