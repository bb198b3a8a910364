"""The rungs for the province's broker: does it answer, and is it really the province's?

The delivery's session is the measure. But a session over a dead link looks healthy until something
is sent, and the next attempt to connect may be minutes away. So the broker's host is pinged from
time to time, or the session itself where the host answers no pings. While there is no session,
the broker's port is tried.
"""

from agent.net import dns
from agent.net.udp import is_address
from agent.wire import ids
from agent.device.interpreter import const
from agent.link import probes

_EVERY = const(3)  # rounds
_MUTE = const(3)  # pings without any answer since the start: the host answers none


class Broker:
    """Set `delivery` before the first probe.

    back: since when (seconds) the port answers again in an outage of the broker. stale: how many
    attempts had ended when something nearer was down last; their result does not count. clock:
    PROBE_ number of the clock by which a certificate was refused. lost: a ping of this round got
    lost, and the host answers."""

    def __init__(self, settings, clock):
        self._host = settings["broker.host"]
        self._port = settings["broker.port"]
        self._timeout_ms = settings["link.timeout_ms"]
        self._round_ms = settings["cadence.round_s"] * 1000
        self._clock = clock
        self._rounds = 0
        self._pings = 0  # without an answer; -1 after the first answer
        self._doubtful = self.lost = False
        self._judged = self.stale = -1  # numbers of attempts
        self.back = self.clock = self.delivery = None

    def certificate(self):
        """PROBE_CERTIFICATE if the last attempt met a certificate that is not the province's."""
        delivery = self.delivery
        if delivery.probe != ids.PROBE_CERTIFICATE:
            self.clock = None
            return None
        delivery.hurry_ms = self._round_ms
        if delivery.attempts == self.stale:
            return None
        # A clock that is wrong by years makes every certificate look wrong. What counts is the
        # clock at the time of the attempt.
        if delivery.attempts != self._judged:
            self._judged = delivery.attempts
            self.clock = ids.PROBE_OK if self._clock.right() else ids.PROBE_BAD_ANSWER
        return None if self.clock == ids.PROBE_BAD_ANSWER else ids.PROBE_CERTIFICATE

    async def ping(self):
        """Ping the host if it is its turn. Returns the round-trip time, None without one."""
        self._rounds += 1
        self.lost = False
        address = self._address()
        if not address or self.delivery.probe != ids.PROBE_OK or self._pings >= _MUTE:
            return None
        if self._pings < 0 and not self._doubtful and self._rounds % _EVERY:
            return None
        value, result = await self._reach(address, False)
        if value is not None:
            self._pings = -1
            self._doubtful = False
        elif result is not None and self._pings >= 0:
            self._pings += 1
        elif result is not None:
            self._doubtful = True
        return value

    async def reach_port(self):
        """PROBE_ number of the broker's port, None if its address is not known."""
        address = self._address()
        if not address:
            return None
        result = (await self._reach(address, True))[1]
        return await self._again(address, 4) if result == ids.PROBE_TIMEOUT else result

    async def _again(self, address, count):
        """PROBE_ number of four tries at once, the first `ports` of them to the port."""
        found = None
        tries = [self._reach(address, i < count) for i in range(4)]
        for _, result in await probes.together(tries):
            if result == ids.PROBE_OK or found in (None, ids.PROBE_TIMEOUT):
                found = found if result is None else result
        return found

    async def probe(self, state):
        """A PROBE_ number, None while not known. `state` is the link's."""
        delivery = self.delivery
        result = delivery.probe
        if result == ids.PROBE_OK:
            return await self._session()
        if result is None:
            return None
        delivery.hurry_ms = 0
        port = None
        if delivery.stage in ("name", "connect", "session"):
            port = await self.reach_port()
            if port not in (None, ids.PROBE_OK):
                self.back = None
                return port
        # It answers (again): connect soon, without waiting for the backoff's end.
        delivery.hurry_ms = self._round_ms
        if port != ids.PROBE_OK:
            self.back = None
            return None if delivery.attempts == self.stale else result
        if state != ids.DOWN_BROKER:
            return port  # only the session ended
        # Only a session proves that it is back; its port has answered since now.
        if self.back is None:
            self.back = self._clock.up()
        return result

    async def _session(self):
        address = self._address()
        if not address or self._pings >= _MUTE:
            silent = not self.delivery.answered
            if not silent and self._rounds & 1:
                self.delivery.ping()
            return ids.PROBE_TIMEOUT if silent else ids.PROBE_OK
        result = ids.PROBE_OK
        if self._doubtful:
            for _ in range(2):
                result = await self._again(address, 1)
                if result == ids.PROBE_OK:
                    self._doubtful = False
                    self.lost = True
                    break
        return result

    def _address(self):
        """Its IPv4 address if that is known, else None."""
        host = self._host
        address = host if is_address(host) else dns.good.get(host)
        return None if not address or ":" in address else address

    def _reach(self, address, port):
        target = "%s:%d" % (address, self._port) if port else address
        return probes.answer(target, self._timeout_ms)
