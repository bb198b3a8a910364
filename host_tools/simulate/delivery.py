"""When the province receives what a village made: live, late, newest first, twice, or never."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from host_tools.simulate import regimes as r
from host_tools.simulate.reports import Made, ReportMaker
from host_tools.simulate.truth import Truth
from host_tools.simulate.world import ONLINE, SimulatedVillage
from host_tools.wire import topic_name

_BAD_FLASH = 40  # reports that a bad medium loses, twice


class Arrival(NamedTuple):
    """A message as the province receives it; in this order, for all villages together.

    at: a multiple of `TICK_S`. good: the province will store it. filed: stream, seq, boot, up and
    start of a report; None: a birth.
    """

    at: int
    village: int
    number: int
    slot: str
    kid: bytes
    message: bytes
    good: bool
    filed: tuple[bytes, int, int, int, int | None] | None

    @property
    def topic(self) -> str:
        return topic_name(self.slot, "report" if self.filed else "birth")


class _Queue:
    """Messages that were sent, in the order of their arrival."""

    def __init__(self, village: SimulatedVillage) -> None:
        self._village = village
        self._heap: list[tuple[int, int, Made | None, Arrival]] = []
        self._number = 0

    def put(self, made: Made, at: float, message: bytes, *, good: bool = True) -> None:
        """A report, or a birth where `made` has no message."""
        tick = -int(-at // r.TICK_S) * r.TICK_S
        village = self._village
        revoked = village.devices[made.run.device].revoked_at
        good = good and (revoked is None or tick < revoked)
        filed = (made.stream, made.seq, made.boot, made.up, made.start) if made.message else None
        self._number += 1
        arrival = Arrival(
            tick,
            village.index,
            self._number,
            village.slot,
            made.signer.kid,
            message,
            good,
            filed,
        )
        report = made if good and message is made.message else None
        heapq.heappush(self._heap, (tick, self._number, report, arrival))

    def until(self, end: int, truth: Truth) -> Iterator[Arrival]:
        """What arrives up to a moment."""
        while self._heap and self._heap[0][0] <= end:
            tick, _, made, arrival = heapq.heappop(self._heap)
            if made is not None:
                truth.arrived(made, tick)
            yield arrival


def arrivals(village: SimulatedVillage, truth: Truth) -> Iterator[Arrival]:
    """All that the province receives of a village until the simulation ends, in order."""
    maker, queue, rng = ReportMaker(village), _Queue(village), village.rng
    backlog: list[Made] = []
    until = 0  # the broker is reached up to here
    connections, run = 0, None
    journal = None
    losses = 2 if village.special == "bad_flash" else 0
    for made in maker.make():
        yield from queue.until(made.at - r.TICK_S, truth)
        if journal is not maker.journal:
            backlog, journal = [], maker.journal
        if made.run is not run:
            run, until, connections = made.run, 0, 0
        online = maker.state(made.at) in ONLINE
        if made.message:
            backlog.append(made)
        if losses and len(backlog) > 3 * _BAD_FLASH:
            losses -= 1
            gone = backlog[_BAD_FLASH : 2 * _BAD_FLASH]
            del backlog[_BAD_FLASH : 2 * _BAD_FLASH]
            maker.journal.dropped.append((gone[0].seq, gone[-1].seq))
        if online:
            at = made.at + rng.uniform(2, 5)
            if made.at >= until:
                until = _online_until(village, made)
                at += rng.uniform(0, 30)
                if at < until:
                    connections += 1
                    birth = maker.birth(made, int(at), connections)
                    queue.put(_silent(made), at, birth)
            pace = 1 / r.LINKS[village.link].backlog
            while backlog and at < until:
                sent = backlog.pop()
                queue.put(sent, at, sent.message)
                if sent.copy:
                    queue.put(sent, at + 2 * r.TICK_S, sent.copy, good=False)
                if village.special == "twice" and rng.random() < 0.2:
                    queue.put(sent, at + 2 * r.TICK_S, bytes(bytearray(sent.message)))
                at += pace
        maker.waiting = len(backlog)
    yield from queue.until(village.settings.end, truth)


def _silent(made: Made) -> Made:
    return Made(made.at, made.run, made.signer)


def _online_until(village: SimulatedVillage, made: Made) -> int:
    """Up to when the broker is reached without a break."""
    end = made.at
    for spell in village.spells:
        if spell.end <= made.at:
            continue
        if spell.state not in ONLINE:
            break
        end = spell.end
    return end
