"""The rungs that say whether the province's broker is there, and whether it is the province's.

The delivery's session is the measure; but a session over a dead way looks well until something is
sent, and the next attempt to connect may be minutes away. So the broker's host is pinged now and
then, where it answers that, and the session itself where not; and its port is tried while there
is no session.
"""

from agent.net import dns
from agent.net.udp import is_address
from agent.device.interpreter import const
from agent.link import probes

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_DOWN_BROKER = const(9)
_PROBE_OK = const(0)
_PROBE_TIMEOUT = const(1)
_PROBE_BAD_ANSWER = const(5)
_PROBE_CERTIFICATE = const(8)

_EVERY = const(3)  # rounds
_MUTE = const(3)  # pings without any answer, from the start: the host answers none


class Broker:
    """Set `delivery` before the first probe.

    back: since when (seconds) the port answers again in an outage of the broker. stale: attempts
    that ended when something nearer was down last; what they met does not count. clock: PROBE_
    number of the clock by which a certificate was refused."""

    def __init__(self, settings, clock):
        self._host = settings["broker.host"]
        self._port = settings["broker.port"]
        self._timeout_ms = settings["link.timeout_ms"]
        self._round_ms = settings["cadence.round_s"] * 1000
        self._now = clock.up
        self._clock_right = clock.right
        self._rounds = 0
        self._pings = 0  # without an answer, until there was one: then -1
        self._doubtful = False
        self._judged = self.stale = -1  # numbers of attempts
        self.back = self.clock = self.delivery = None

    def certificate(self):
        """PROBE_CERTIFICATE if the last attempt met a certificate that is not the province's."""
        delivery = self.delivery
        if delivery.probe != _PROBE_CERTIFICATE:
            self.clock = None
            return None
        delivery.hurry_ms = self._round_ms
        if delivery.attempts == self.stale:
            return None
        # A clock that is wrong by years makes every certificate look wrong. It counts as it was
        # at the attempt.
        if delivery.attempts != self._judged:
            self._judged = delivery.attempts
            self.clock = _PROBE_OK if self._clock_right() else _PROBE_BAD_ANSWER
        return None if self.clock == _PROBE_BAD_ANSWER else _PROBE_CERTIFICATE

    async def reach_port(self):
        """PROBE_ number of the broker's port, None if its address is not known."""
        address = self._address()
        if not address:
            return None
        result = (await self._reach(address, True))[1]
        return await self._again(address, 4) if result == _PROBE_TIMEOUT else result

    async def _again(self, address, ports):
        """PROBE_ number of four tries at once, so many of them of the port: one may do."""
        best = _PROBE_TIMEOUT
        tries = [self._reach(address, i < ports) for i in range(4)]
        for _, result in await probes.together(tries):
            if result != _PROBE_TIMEOUT and best != _PROBE_OK:
                best = result
        return best

    async def probe(self, state):
        """A PROBE_ number, None while not known. `state` is the link's."""
        delivery = self.delivery
        result = delivery.probe
        if result == _PROBE_OK:
            return await self._session()
        if result is None:
            return None
        delivery.hurry_ms = 0
        port = None
        if delivery.stage in ("name", "connect", "session"):
            port = await self.reach_port()
            if port not in (None, _PROBE_OK):
                self.back = None
                return port
        # It is there (again): don't let the way back wait for the backoff's end.
        delivery.hurry_ms = self._round_ms
        if port != _PROBE_OK:
            self.back = None
            return None if delivery.attempts == self.stale else result
        if state != _DOWN_BROKER:
            return port  # only the session ended
        # Back for certain only with a session, but since now.
        if self.back is None:
            self.back = self._now()
        return result

    async def _session(self):
        self._rounds += 1
        delivery = self.delivery
        address = self._address()
        if not address or self._pings >= _MUTE:
            silent = not delivery.answered
            if not silent and self._rounds & 1:
                delivery.ping()
            return _PROBE_TIMEOUT if silent else _PROBE_OK
        if self._pings < 0 and not self._doubtful and self._rounds % _EVERY:
            return _PROBE_OK
        value, result = await self._reach(address, False)
        if value is not None:
            self._pings = -1
        elif self._pings >= 0:
            self._pings += 1
            return _PROBE_OK
        else:
            for _ in range(2):
                result = await self._again(address, 1)
                if result == _PROBE_OK:
                    break
        self._doubtful = result != _PROBE_OK
        return result

    def _address(self):
        """Its IPv4 address as far as known, else None."""
        host = self._host
        address = host if is_address(host) else dns.good.get(host)
        return None if not address or ":" in address else address

    def _reach(self, address, port):
        target = "%s:%d" % (address, self._port) if port else address
        return probes.answer(target, self._timeout_ms)
