"""One round of reachability every few seconds: climb the ladder, keep statistics, tell outages.

The ladder is a table of rungs, from the village outwards; each is named by the cause that its
failure stands for. The first rung that fails is the cause, unless a rung further out answers: a
router that ignores pings is not an outage. A rung that can't be probed here (no gateway, no
resolver) is passed over.
"""

import asyncio

from agent.device.interpreter import const
from agent.link import linux, probes
from agent.link.broker import Broker
from agent.link.names import Names
from agent.link.outages import Outages
from agent.link.quality import Quality, Statistic
from agent.link.upstream import Upstream

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_STATE = const(1)
_RTT_GW_MIN = const(2)
_LOSS_GW = const(5)
_RTT_MIN = const(6)
_LOSS = const(9)
_DNS_TIME = const(11)
_UP = const(1)
_DEGRADED = const(2)
_DOWN_INTERFACE = const(3)
_DOWN_GATEWAY = const(4)
_DOWN_PROVIDER = const(5)
_DOWN_DNS = const(6)
_DOWN_PORTAL = const(7)
_DOWN_TLS = const(8)
_DOWN_BROKER = const(9)
_RUNG_NEXT_HOP = const(10)
_RUNG_OTHER_DNS = const(11)
_RUNG_CLOCK = const(12)
_PROBE_OK = const(0)
_PROBE_TIMEOUT = const(1)
_PROBE_UNREACHABLE = const(3)
_PROBE_BAD_ANSWER = const(5)
_PROBE_NO_ADDRESS = const(7)

_ALWAYS = const(-1)
_WHEN_UP = const(1 << 1)
_WHEN_PROVIDER = const(1 << 5)
_WHEN_DNS = const(1 << 6)
_WHEN_REFUSED = const(1 << 8 | 1 << 9)

# Pairs: a rung, and the causes (bits) of which one must be the cause so far for it to be asked.
_LADDER = (
    _DOWN_INTERFACE, _ALWAYS,
    _DOWN_GATEWAY, _ALWAYS,
    _DOWN_PROVIDER, _ALWAYS,
    _RUNG_NEXT_HOP, _WHEN_PROVIDER,
    _DOWN_PORTAL, _WHEN_PROVIDER,
    _DOWN_BROKER, _WHEN_PROVIDER,
    _DOWN_DNS, _WHEN_UP,
    _RUNG_OTHER_DNS, _WHEN_DNS,
    _DOWN_PORTAL, _WHEN_DNS | _WHEN_UP,
    _DOWN_TLS, _WHEN_UP,
    _DOWN_BROKER, _WHEN_UP,
    _RUNG_CLOCK, _WHEN_REFUSED,
)  # fmt: skip

_DNS_PORT = ":53"


class Link:
    """Set `broker.delivery` before the first round."""

    def __init__(self, settings, clock):
        section = "link."  # apart, as short constants take less memory than long ones
        self._clock = clock
        self._timeout_ms = timeout_ms = settings[section + "timeout_ms"]
        interface = settings[section + "interface"]
        self._interface = settings[section + "sys_class_net"], interface
        self._route = settings[section + "proc_net_route"], interface
        self._router = settings[section + "gateway"]
        self._next_hop = settings[section + "next_hop"]
        self._other_server = settings[section + "dns_other"]
        self._portal = None
        if settings[section + "portal"]:
            from agent.link.portal import Portal

            self._portal = Portal(settings)
        self._mute = False  # the gateway answers TCP, and no pings
        self._gateway = Statistic()
        self.quality = Quality(
            settings[section + "loss_limit"] * 10, settings[section + "delay_limit_ms"] * 10
        )
        self._upstream = Upstream(settings[section + "targets"], timeout_ms, self.quality)
        self._names = Names(settings[section + "dns"], settings[section + "dns_name"], timeout_ms)
        self.broker = Broker(settings, clock)
        self.busy = asyncio.Lock()  # held while round-trip times are taken: keep the CPU free
        self.outages = Outages()

    async def round(self):
        """Probe once; returns events of Outages.feed (their times: seconds since start)."""
        now = self._clock.up()
        async with self.busy:
            cause, evidence = await self._climb()
        # Nothing could be asked: silence is not "up".
        return () if cause is None else self._tell(now, cause, evidence)

    def _tell(self, now, cause, evidence):
        """Events that follow from a round. (Not in `round`, whose frame is there all the way up
        the ladder.)"""
        quality = self.quality
        outages = self.outages
        broker = self.broker
        before = outages.state
        since = None
        if cause == _UP:
            # Known later than it came true; but what lasts until now is not cut short by that.
            if quality.degraded is not None and (before <= _DEGRADED or not quality.good):
                cause = _DEGRADED
                evidence = [[cause, quality.degraded]]
                if before <= _UP:
                    since = quality.since
            elif before == _DEGRADED:
                since = quality.since
            elif before == _DOWN_BROKER:
                since = broker.back
        events = outages.feed(now, cause, evidence, since)
        if outages.state != _DOWN_BROKER:
            broker.back = None
        if _DEGRADED < cause < _DOWN_TLS:
            broker.stale = broker.delivery.attempts
        if outages.state > _DEGRADED:
            self._upstream.missed = None
        if events and outages.state != _DEGRADED and before != _DEGRADED:
            quality.reset()  # what was lost belongs to the outage
        return events

    async def _climb(self):
        """(cause, evidence); (None, []) if nothing could be asked."""
        cause = _UP
        evidence = []
        answered = False
        for i in range(0, len(_LADDER), 2):
            rung = _LADDER[i]
            if not _LADDER[i + 1] >> cause & 1:
                continue
            result = await self._probe(rung, cause)
            if result == _PROBE_OK:
                answered = True
                if rung == _DOWN_PROVIDER or (cause == _DOWN_PROVIDER and rung < _RUNG_NEXT_HOP):
                    cause = _UP  # it proves all rungs before it
                    evidence = []
                elif cause != _UP:
                    evidence.append([rung, result])  # so far it goes, and no farther
            elif result is not None:
                if cause == _UP or rung == _DOWN_PORTAL:
                    cause = rung
                evidence.append([rung, result])
        return (cause, evidence) if answered or cause != _UP else (None, evidence)

    async def _probe(self, rung, cause):
        """PROBE_ number of a rung; None if it can't or need not be asked."""
        if rung == _DOWN_INTERFACE:
            result = linux.interface(*self._interface)
            if not result and self._router == "auto" and not linux.has_address(*self._route):
                return _PROBE_NO_ADDRESS
            return result
        if rung == _DOWN_GATEWAY:
            return await self._probe_gateway()
        if rung == _DOWN_PROVIDER:
            return await self._upstream.probe(self._clock.up())
        if rung == _RUNG_NEXT_HOP:
            hop = self._next_hop
            return (await probes.answer(hop, self._timeout_ms))[1] if hop else None
        if rung == _DOWN_DNS:
            return await self._names.probe()
        if rung == _RUNG_OTHER_DNS:
            if self._other_server == "off":
                return None
            return await self._names.ask(self._other_server, False)
        if rung == _DOWN_PORTAL:
            portal = self._portal
            if not portal:
                return None
            return await portal.probe(cause == _UP, self.outages.state == rung)
        broker = self.broker
        if rung == _RUNG_CLOCK:
            return broker.clock
        if rung == _DOWN_TLS:
            return broker.certificate()
        if cause == _UP:
            return await broker.probe(self.outages.state)
        # Pings may be filtered on the way. Where connections fail too, there is nothing to prove.
        return await broker.reach_port() if self._upstream.by_ping else None

    async def _probe_gateway(self):
        gateway = self._router
        if gateway == "auto":
            gateway = linux.default_gateway(*self._route)
        if not gateway or gateway == "off":
            return None
        value = None
        if not self._mute:
            value, result = await self._answer(gateway)
            self._gateway.add(value)
            if value is not None:
                return result
        # Some routers answer no pings; their own name server, or its absence, shows by TCP.
        (value, result), (knocked, told) = await probes.together(
            (self._answer(gateway), self._answer(gateway + _DNS_PORT))
        )
        self._mute = value is None and knocked is not None
        self._gateway.add(knocked if self._mute else value)
        if value is not None or self._mute:
            return _PROBE_OK
        if told == _PROBE_TIMEOUT and linux.neighbour(gateway) is False:
            return _PROBE_UNREACHABLE
        return told

    def _answer(self, target):
        return probes.answer(target, self._timeout_ms, target.endswith(_DNS_PORT), True)

    def put(self, row):
        """Write the statistics since the last call into a sample's row and begin anew."""
        row[_STATE] = self.outages.state
        self._gateway.put(row, _RTT_GW_MIN, _LOSS_GW, 1)
        self._upstream.statistic.put(row, _RTT_MIN, _LOSS, 5)  # half milliseconds
        self.quality.put(row)
        if self._names.time is not None:
            row[_DNS_TIME] = self._names.time
            self._names.time = None
