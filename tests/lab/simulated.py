"""A village's link as the ladder's probes would find it, without a network: pure, seeded, fast.

Stands in the place of the probes, of name look-ups, of Linux's files and of the delivery; the
ladder, the quality and the state machine above them are the agent's own.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from agent.device import interpreter
from agent.link import ladder, linux, portal, probes
from agent.net import dns
from agent.wire import ids

ROUND_S = 10
GATEWAY, NEXT_HOP, BROKER = "192.168.1.1", "100.64.0.1", "203.0.113.10"
TARGETS = ("1.1.1.1", "8.8.8.8", "9.9.9.9")
OWN_DNS, OTHER_DNS = GATEWAY, "1.1.1.1"

SETTINGS: Mapping[str, Any] = {
    "link.interface": "eth0",
    "link.sys_class_net": "",
    "link.proc_net_route": "",
    "link.gateway": GATEWAY,
    "link.next_hop": NEXT_HOP,
    "link.targets": TARGETS,
    "link.timeout_ms": 2000,
    "link.dns": OWN_DNS,
    "link.dns_other": OTHER_DNS,
    "link.dns_name": "example.com",
    "link.portal": "page.example/",
    "link.portal_s": 20,
    "link.loss_limit": 10,
    "link.delay_limit_ms": 1500,
    "broker.host": BROKER,
    "broker.port": 8883,
    "cadence.round_s": ROUND_S,
}

UNREACHABLE = 101  # ENETUNREACH


class Delivery:
    """The delivery as the ladder sees it: a session that dies late and comes back late."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.probe: int | None = None
        self.stage = ""
        self.answered = True
        self._now = self._pinged = 0.0
        self._failure: tuple[int, str] | None = None
        self.hurry_ms = 0
        self.attempts = 0
        self._next = 0.0  # the next attempt to connect
        self._notices: float | None = None  # when the session's end will be found out

    def live(self, now: float, failure: tuple[int, str] | None) -> None:
        """Let time pass. failure: what a new connection would meet, None if it would succeed."""
        self._now, self._failure = now, failure
        if self.probe == ids.PROBE_OK:
            if failure is None:
                self._notices = None
                self.answered = True
                return
            if self._notices is None:
                # A refusal cuts sessions, silence is found out at the next message's deadline.
                late = 0 if failure[0] != ids.PROBE_TIMEOUT else self.draw.uniform(5, 330)
                self._notices = now + late
            if failure[0] != ids.PROBE_TIMEOUT:
                self._notices = now
            if not self.answered:
                self._notices = min(self._notices, self._pinged + 30)
            if now < self._notices:
                return
            self._notices = None
            self.probe, self.stage = ids.PROBE_ERROR, "session"
            self.answered = True
            self.attempts += 1
            self._next = now
            return
        if self.hurry_ms:
            self._next = now  # it was so before this round
        if now >= self._next:
            if failure is None:
                self.probe, self.stage = ids.PROBE_OK, ""
            else:
                self.probe, self.stage = failure
                self.attempts += 1
                self._next = now + self.draw.uniform(0, 300)

    def ping(self) -> None:
        """Answered by the next round, or not; a ping without an answer ends the session."""
        if self._failure is not None and self._failure[0] == ids.PROBE_TIMEOUT:
            self._pinged = self._now
            self.answered = False


class Village:
    """The link's state. `faults`: names of those that are there now (`confusion.FAULTS`).

    walled: its portal lets nothing pass; else all but plain HTTP."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.now = 0.0
        self.faults: frozenset[str] = frozenset()
        self.loss = draw.choice((0, 0, 0.005, 0.01, 0.02))
        self.rtt = draw.choice((250, 450, 800, 6200))  # fibre, Starlink, 4G, geostationary
        self.silent_router = draw.random() < 0.15
        self.silent_broker = draw.random() < 0.2
        self.dead_target = draw.choice(TARGETS) if draw.random() < 0.2 else None
        self.heavy_loss = 0.3
        self.walled = bool(draw.getstate()[1][0] & 1)  # takes nothing from what else is drawn
        self.delivery = Delivery(draw)

    def up(self) -> int:
        """As agent.device.clock.Clock."""
        return int(self.now)

    def right(self) -> bool:
        """As agent.device.clock.Clock."""
        return "clock" not in self.faults

    def has(self, *names: str) -> bool:
        """Whether one of these faults is there."""
        return not self.faults.isdisjoint(names)

    def advance(self, now: float, faults: frozenset[str]) -> None:
        """Go on to a moment with these faults."""
        self.now, self.faults = now, faults
        failure = None
        if (
            self._beyond() is not None
            or (self.has("portal") and self.walled)
            or (self.has("broker gone") and not self.has("TLS intercepted"))
        ):
            failure = ids.PROBE_TIMEOUT, "connect"
        elif self.has("TLS intercepted"):
            failure = ids.PROBE_CERTIFICATE, "tls"
        elif self.has("broker down"):
            failure = ids.PROBE_REFUSED, "connect"
        elif self.has("clock"):
            failure = ids.PROBE_CERTIFICATE, "tls"
        self.delivery.live(now, failure)

    # ---- what stands in the probes' place ----------------------------------------------------

    def _here(self) -> int | None:
        """The errno that all meet who want to leave the device."""
        return UNREACHABLE if self.has("no carrier", "no address") else None

    def _beyond(self) -> int | None:
        """The errno that all meet who want to go beyond the router."""
        if self._here():
            return self._here()
        return errno.ETIMEDOUT if self.has("router frozen", "provider down") else None

    def _lost(self) -> bool:
        loss = self.heavy_loss if self.has("loss") else self.loss
        return self.draw.random() < loss

    def _round_trip(self, base: int) -> int:
        if self.has("delay"):
            return self.draw.randint(14000, 19000)
        return base + int(self.draw.expovariate(10 / base))

    async def reach(self, target: str, timeout_ms: int, refusal: bool = False) -> int:
        host, _, port = target.partition(":")
        fault = self._here()
        if host == GATEWAY:
            if self.has("router frozen") or (self.silent_router and not port):
                fault = fault or errno.ETIMEDOUT
            if fault:
                raise OSError(fault, "")
            return 8 + self.draw.randrange(10)
        fault = self._beyond()
        if host == NEXT_HOP and not self.has("router frozen"):
            fault = self._here()
        elif self.has("portal") and self.walled:
            fault = fault or errno.ETIMEDOUT
        elif host == BROKER and self.has("broker gone"):
            fault = fault or errno.ETIMEDOUT
        elif port and self.has("broker down"):
            fault = fault or errno.ECONNREFUSED
        elif host == BROKER and not port and self.silent_broker:
            fault = errno.ETIMEDOUT
        if host == self.dead_target:
            fault = fault or errno.ETIMEDOUT
        if fault or self._lost():
            raise OSError(fault or errno.ETIMEDOUT, "")
        took = self._round_trip(self.rtt)
        if took > timeout_ms * 10:
            raise OSError(errno.ETIMEDOUT, "")
        return took

    async def query(self, server: str, name: str, timeout_ms: int) -> tuple[int, list[str]]:
        own = server == OWN_DNS
        fault = self._here() if own else self._beyond()
        if self.has("router frozen") or (own and self.has("DNS dead")):
            fault = fault or errno.ETIMEDOUT
        if fault or self._lost():
            raise OSError(fault or errno.ETIMEDOUT, "")
        random_name = name != SETTINGS["link.dns_name"]
        if own:
            if self.has("DNS fails"):
                return 2, []
            if self.has("DNS wrong"):
                return 3, []
            if self.has("DNS hijacked"):
                return 0, ["192.0.2.66"]
            if random_name and (self._beyond() or self.has("DNS dead behind the router")):
                raise OSError(errno.ETIMEDOUT, "")  # the router's memory does not know this one
        return (3, []) if random_name else (0, ["192.0.2.80"])

    async def page(self, page: str, timeout_ms: int, fresh: bool) -> int | None:
        # A dead name server does not matter: the page's address is known from before.
        if self._here() or self.has("router frozen"):
            return None
        if self.has("portal"):
            return ids.PROBE_BAD_ANSWER  # it is the router's own
        if self._beyond() or self.has("DNS hijacked"):
            return None
        return None if self._lost() else ids.PROBE_OK

    def interface(self, *_: Any) -> int:
        return ids.PROBE_NO_CARRIER if self.has("no carrier") else ids.PROBE_OK

    def has_address(self, *_: Any) -> bool:
        return not self.has("no address")


async def _in_turn(coros: Iterable[Awaitable[Any]]) -> list[Any]:
    return [await coro for coro in coros]


@contextmanager
def installed(
    village: Village, settings: Mapping[str, Any] | None = None
) -> Iterator[ladder.Link]:
    """The agent's ladder over a simulated village; `settings` beside SETTINGS."""
    with (
        mock.patch.object(probes, "reach", village.reach),
        mock.patch.object(dns, "query", village.query),
        mock.patch.object(portal, "check", village.page),
        mock.patch.object(linux, "interface", village.interface),
        mock.patch.object(linux, "has_address", village.has_address),
        mock.patch.object(linux, "neighbour", lambda *_: None),
        mock.patch.object(linux, "default_gateway", lambda *_: GATEWAY),
        mock.patch.object(probes, "together", _in_turn),
        mock.patch.object(interpreter, "random_below", village.draw.randrange),
    ):
        link = ladder.Link({**SETTINGS, "link.gateway": "auto", **(settings or {})}, village)
        link.broker.delivery = village.delivery
        yield link


def run(coro: Coroutine[Any, Any, Any]) -> Any:
    """Drive a coroutine that never waits for anything."""
    try:
        coro.send(None)
    except StopIteration as result:
        return result.value
    raise AssertionError("a simulated probe waits")
