"""One round of reachability every few seconds: climb the ladder, keep statistics, tell outages.

The ladder is a row of rungs, from the village outwards; each is named by the cause that its
failure stands for. The first rung that fails is the cause, unless a rung further out answers: a
router that ignores pings is not an outage. A rung that can't be probed here (no gateway, no
resolver) is passed over.
"""

import asyncio

from agent import compat, dns
from agent.compat import const
from agent.bounded import reap
from agent.link import linux, probes
from agent.link.outages import Outages

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_STATE = const(1)
_RTT_GW_MIN = const(2)
_LOSS_GW = const(5)
_RTT_MIN = const(6)
_LOSS = const(9)
_DNS_TIME = const(11)
_UP = const(1)
_DOWN_INTERFACE = const(3)
_DOWN_GATEWAY = const(4)
_DOWN_PROVIDER = const(5)
_DOWN_DNS = const(6)
_DOWN_BROKER = const(9)
_PROBE_OK = const(0)
_PROBE_NO_NAME = const(4)

_RUNGS = (
    _DOWN_INTERFACE,
    _DOWN_GATEWAY,
    _DOWN_PROVIDER,
    _DOWN_DNS,
    _DOWN_BROKER,
)


class Statistic:
    """Least, mean and greatest of what was measured, and how much got no answer."""

    def __init__(self):
        self.sent = self.lost = self.total = self.least = self.most = 0

    def add(self, value):
        """One probe's value, None if it got no answer."""
        self.sent += 1
        if value is None:
            self.lost += 1
            return
        if self.sent - self.lost == 1 or value < self.least:
            self.least = value
        if value > self.most:
            self.most = value
        self.total += value

    def put(self, row, first, loss):
        """Write min, mean, max to row[first..first + 2] and the loss (per mille) to row[loss];
        begin anew."""
        if self.sent:
            row[loss] = self.lost * 1000 // self.sent
            answered = self.sent - self.lost
            if answered:
                row[first] = self.least
                row[first + 1] = (self.total + answered // 2) // answered
                row[first + 2] = self.most
        self.sent = self.lost = self.total = self.least = self.most = 0


class Link:
    """Set `delivery` before the first round: its `probe` tells of the province's broker."""

    def __init__(self, settings, clock):
        self._clock = clock
        self._interface = settings["link.interface"]
        self._sys_class_net = settings["link.sys_class_net"]
        self._proc_net_route = settings["link.proc_net_route"]
        self._router = settings["link.gateway"]
        self._targets = settings["link.targets"]
        self._timeout_ms = settings["link.timeout_ms"]
        self._resolver = settings["link.dns"]
        self._name = settings["link.dns_name"]
        self._next_target = 0
        self._dns_result = None  # PROBE_ number of this sample's look-up, None: not asked yet
        self._dns_time = None
        self._gateway = Statistic()
        self._upstream = Statistic()
        self.busy = asyncio.Lock()  # held while round-trip times are taken: keep the CPU free
        self.outages = Outages()
        self.delivery = None

    async def round(self):
        """Probe once; returns events of Outages.feed (their times: seconds since start)."""
        now = self._clock.up()
        cause = _UP
        evidence = []
        answered = False
        async with self.busy:
            for rung in _RUNGS:
                if cause != _UP and rung > _DOWN_PROVIDER:
                    break  # nothing further out can answer
                if rung == _DOWN_INTERFACE:
                    result = linux.interface(self._sys_class_net, self._interface)
                elif rung == _DOWN_GATEWAY:
                    result = await self._probe_gateway()
                elif rung == _DOWN_PROVIDER:
                    result = await self._probe_upstream()
                elif rung == _DOWN_DNS:
                    result = await self._probe_dns()
                else:
                    result = self.delivery.probe
                if result == _PROBE_OK:
                    answered = True
                    if rung == _DOWN_PROVIDER:  # proves all rungs below it
                        cause = _UP
                        evidence = []
                elif result is not None:
                    if cause == _UP:
                        cause = rung
                    evidence.append([rung, result])
        if cause == _UP and not answered:
            return ()  # nothing could be asked: silence is not "up"
        return self.outages.feed(now, cause, evidence)

    def put(self, row):
        """Write the statistics since the last call into a sample's row and begin anew."""
        row[_STATE] = self.outages.state
        self._gateway.put(row, _RTT_GW_MIN, _LOSS_GW)
        self._upstream.put(row, _RTT_MIN, _LOSS)
        if self._dns_time is not None:
            row[_DNS_TIME] = self._dns_time
        self._dns_time = self._dns_result = None

    async def _probe_gateway(self):
        gateway = self._router
        if gateway == "auto":
            gateway = linux.default_gateway(self._proc_net_route, self._interface)
        if not gateway or gateway == "off":
            return None
        value, result = await self._reach(gateway)
        self._gateway.add(value)
        if value is None:
            value, result = await self._reach(gateway)
            self._gateway.add(value)
        return result

    async def _probe_upstream(self):
        """One target in turn; if it fails, all others at once: a target may fail alone."""
        count = len(self._targets)
        if not count:
            return None
        turn = self._next_target % count
        self._next_target = turn + 1
        value, result = await self._reach(self._targets[turn])
        self._upstream.add(value)
        if value is None:
            tasks = []
            for i in range(1, count):
                target = self._targets[(turn + i) % count]
                tasks.append(asyncio.create_task(self._reach(target)))
            try:
                for task in tasks:
                    value, other = await task
                    if other == _PROBE_OK:
                        self._upstream.add(value)
                        return other
            finally:
                await reap(*tasks)
        return result

    async def _reach(self, target):
        """(round-trip time or None, PROBE_ number)."""
        try:
            return await probes.reach(target, self._timeout_ms), _PROBE_OK
        except OSError as e:
            return None, probes.classify(e.errno)

    async def _probe_dns(self):
        """Once a sample while it works, every round while it does not: look-ups cost bytes."""
        server = self._resolver
        if server == "auto":
            server = "off"
            for server in dns.system_servers():
                if ":" not in server:
                    break
        if server == "off":
            return None
        if self._dns_result == _PROBE_OK:
            return _PROBE_OK
        began = compat.ticks_us()
        try:
            rcode, addresses = await dns.query(server, self._name, self._timeout_ms)
        except OSError as e:
            result = probes.classify(e.errno)
        else:
            result = _PROBE_NO_NAME
            if rcode == 0 and addresses:
                self._dns_time = compat.ticks_diff(compat.ticks_us(), began) // 1000
                result = _PROBE_OK
        self._dns_result = result
        return result
