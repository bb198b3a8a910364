"""One round of reachability every few seconds: climb the ladder, keep statistics, find outages.

The ladder is a table of rungs, from the village outwards. Each is named by the cause that its
failure stands for. The first rung that fails is the cause, unless a rung further out answers: a
router that ignores pings is not an outage. A rung that can't be probed here (no gateway, no name
server), or need not be asked in this round, is passed over.
"""

import asyncio

from agent.wire import ids
from agent.link import linux, probes
from agent.link.broker import Broker
from agent.link.names import Names
from agent.link.outages import Outages
from agent.link.quality import Quality, Statistic
from agent.link.upstream import Upstream


# Pairs: a rung, and the causes (bits) of which one must be the cause so far for it to be asked.
_LADDER = (
    ids.DOWN_INTERFACE, -1,
    ids.DOWN_GATEWAY, -1,
    ids.DOWN_PROVIDER, -1,
    ids.RUNG_NEXT_HOP, 1 << ids.DOWN_PROVIDER,
    ids.DOWN_PORTAL, 1 << ids.DOWN_PROVIDER,
    ids.DOWN_BROKER, 1 << ids.DOWN_PROVIDER,
    ids.DOWN_DNS, 1 << ids.UP,
    ids.DOWN_PORTAL, 1 << ids.DOWN_DNS | 1 << ids.UP,
    ids.DOWN_TLS, 1 << ids.UP,
    ids.DOWN_BROKER, 1 << ids.UP,
    ids.DOWN_DNS, 1 << ids.DOWN_TLS | 1 << ids.DOWN_BROKER,
    ids.RUNG_OTHER_DNS, 1 << ids.DOWN_DNS,
    ids.RUNG_CLOCK, 1 << ids.DOWN_TLS | 1 << ids.DOWN_BROKER,
)  # fmt: skip


class Link:
    """Set `broker.delivery` before the first round."""

    def __init__(self, settings, clock):
        section = "link."  # apart: short constants take less memory than long ones
        self._clock = clock
        self._timeout_ms = timeout_ms = settings[section + "timeout_ms"]
        interface = settings[section + "interface"]
        self._interface = settings[section + "sys_class_net"], interface
        self._route = settings[section + "proc_net_route"], interface
        self._router = settings[section + "gateway"]
        self.next_hop = settings[section + "next_hop"]
        self.dns_other = settings[section + "dns_other"]
        self._portal = None
        if settings[section + "portal"]:
            from agent.link.portal import Portal

            self._portal = Portal(settings)
        self._mute = False  # the gateway answers TCP, and no pings
        self._gateway = Statistic()
        self.quality = Quality(
            settings[section + "loss_limit"] * 10, settings[section + "delay_limit_ms"] * 10
        )
        self.upstream = Upstream(settings[section + "targets"], timeout_ms, self.quality)
        self.names = Names(settings[section + "dns"], settings[section + "dns_name"], timeout_ms)
        self.broker = Broker(settings, clock)
        self.busy = asyncio.Lock()  # held while round-trip times are taken: keep the CPU free
        self.outages = Outages()

    async def round(self):
        """Probe once; returns events of Outages.feed (their times: seconds since start)."""
        now = self._clock.up()
        async with self.busy:
            cause, evidence = await self.climb()
        # Nothing could be asked: silence is not "up".
        return () if cause is None else self._judge(now, cause, evidence)

    def _judge(self, now, cause, evidence):
        """Events that follow from a round. (Not in `round`: its frame takes memory for as long as
        the ladder is climbed.)"""
        quality = self.quality
        outages = self.outages
        broker = self.broker
        before = outages.state
        since = None
        if cause == ids.UP:
            # Quality counts from the end of a worse outage: what was on its way then got lost.
            if quality.degraded is not None and before <= ids.DEGRADED:
                cause = ids.DEGRADED
                evidence = [[cause, quality.degraded]]
                if before <= ids.UP:
                    since = quality.since
            elif before == ids.DEGRADED:
                since = quality.since
            elif before == ids.DOWN_BROKER:
                since = broker.back
        events = outages.feed(now, cause, evidence, since)
        if outages.state != ids.DOWN_BROKER:
            broker.back = None
        if ids.DEGRADED < cause < ids.DOWN_TLS:
            broker.stale = broker.delivery.attempts
        if outages.state > ids.DEGRADED:
            self.upstream.missed = None
        if events and outages.state != ids.DEGRADED and before != ids.DEGRADED:
            quality.reset()  # the loss belongs to the outage
        return events

    async def climb(self):
        """(cause, evidence); (None, []) if nothing could be asked."""
        cause = ids.UP
        evidence = []
        answered = False
        for i in range(0, len(_LADDER), 2):
            rung = _LADDER[i]
            if not _LADDER[i + 1] >> cause & 1:
                continue
            result = await self._probe(rung, cause)
            if result == ids.PROBE_OK:
                answered = True
                beyond = cause == ids.DOWN_PROVIDER and rung < ids.RUNG_NEXT_HOP
                if rung == ids.DOWN_PROVIDER or beyond:
                    cause = ids.UP  # it proves all rungs before it
                    evidence = []
                elif cause != ids.UP:
                    evidence.append([rung, result])  # so far it goes, and no farther
            elif result is not None:
                if cause == ids.UP or rung == ids.DOWN_PORTAL or rung == ids.DOWN_DNS:
                    cause = rung
                evidence.append([rung, result])
        return (cause, evidence) if answered or cause != ids.UP else (None, evidence)

    async def _probe(self, rung, cause):
        """PROBE_ number of a rung; None if it can't or need not be asked."""
        if rung == ids.DOWN_INTERFACE:
            result = linux.interface(*self._interface)
            if not result and self._router == "auto" and not linux.has_address(*self._route):
                return ids.PROBE_NO_ADDRESS
            return result
        if rung == ids.DOWN_GATEWAY:
            return await self._probe_gateway()
        if rung == ids.DOWN_PROVIDER:
            return await self._probe_provider()
        if rung == ids.RUNG_NEXT_HOP:
            address = self.next_hop
            return (await probes.answer(address, self._timeout_ms))[1] if address else None
        if rung == ids.DOWN_DNS:
            if cause != ids.UP:
                return await self.names.confirm()
            return await self.names.probe(self.outages.state <= ids.DEGRADED)
        if rung == ids.RUNG_OTHER_DNS:
            if self.dns_other == "off":
                return None
            return await self.names.ask(self.dns_other, False)
        if rung == ids.DOWN_PORTAL:
            portal = self._portal
            if not portal:
                return None
            return await portal.probe(cause == ids.UP, self.outages.state == rung)
        broker = self.broker
        if rung == ids.RUNG_CLOCK:
            return broker.clock
        if rung == ids.DOWN_TLS:
            return broker.certificate()
        if cause != ids.UP:
            # Pings may be filtered beyond the router. Targets asked by connections prove as much.
            return await broker.reach_port() if self.upstream.by_ping else None
        result = await broker.probe(self.outages.state)
        if broker.lost and self.upstream.by_ping:
            self.upstream.add(self._clock.up(), None)
        return result

    async def _probe_provider(self):
        upstream = self.upstream
        now = self._clock.up()
        value = await self.broker.ping()
        if value is None or not upstream.by_ping:
            return await upstream.probe(now)
        upstream.add(now, value)  # its host is as good a target as any
        return ids.PROBE_OK

    async def _probe_gateway(self):
        gateway = self._router
        if gateway == "auto":
            gateway = linux.default_gateway(*self._route)
        if not gateway or gateway == "off":
            return None
        value = None
        if not self._mute:
            value, result = await self._ask(gateway)
            if result is None:
                return None
            self._gateway.add(value)
            if value is not None:
                return result
        # Some routers answer no pings. TCP shows them, whether a name server accepts or nobody.
        (value, result), (other, reason) = await probes.together(
            (self._ask(gateway), self._ask(gateway + ":53"))
        )
        if result is None or reason is None:
            return None
        self._mute = value is None and other is not None
        self._gateway.add(other if self._mute else value)
        if value is not None or self._mute:
            return ids.PROBE_OK
        if reason == ids.PROBE_TIMEOUT and linux.neighbour(gateway) is False:
            return ids.PROBE_UNREACHABLE
        return reason

    def _ask(self, target):
        return probes.answer(target, self._timeout_ms, target.endswith(":53"), True)

    def put(self, row):
        """Write the statistics since the last call into a sample's row and begin anew."""
        row[ids.STATE] = self.outages.state
        self._gateway.put(row, ids.RTT_GW_MIN, ids.LOSS_GW, 1)
        self.upstream.statistic.put(row, ids.RTT_MIN, ids.LOSS, 5)  # half milliseconds
        self.quality.put(row)
        if self.names.time is not None:
            row[ids.DNS_TIME] = self.names.time
            self.names.time = None
