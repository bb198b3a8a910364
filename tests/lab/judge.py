"""What the province shows of a fault, against what was done."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

from agent.wire import ids
from host_tools.derive.samples import SlotSample, samples
from host_tools.store import StoreMissing, open_database
from host_tools.wire.vocabulary import PROBE_RESULTS, STATES
from tests.lab.faults import AGENT, NONE, POWER, Fault
from tests.lab.world import ROUND_S, Village, World

_STATE = {term.code: term.name for term in STATES}
_RESULT = {term.code: term.name for term in PROBE_RESULTS}
_TELL_S = 120.0


@dataclass
class Verdict:
    """One fault in one village. Errors in seconds: positive is late."""

    fault: str
    interpreter: str
    expected: str
    reported: str
    begin_error: float | None
    end_error: float | None
    allowed: float
    evidence: str
    ok: bool

    def __str__(self) -> str:
        errors = f"begin {self.begin_error}, end {self.end_error}"
        mark = "ok" if self.ok else "WRONG"
        return f"{mark}: {self.interpreter} says {self.reported} ({errors}) {self.evidence}"

    def row(self) -> dict[str, Any]:
        """For the file."""
        return asdict(self)


@dataclass(frozen=True)
class Shown:
    """An outage, or a time without power, as the province has it."""

    cause: str
    begin: int
    end: int | None
    evidence: str
    flaps: int


def measured(world: World, village: Village, since: float = 0) -> list[SlotSample]:
    """The samples of a village that end after a moment."""
    try:
        with open_database(world.province.database, readonly=True) as db:
            return list(samples(db, village.slot, begin=int(since) + 1))
    except StoreMissing:
        return []  # the ingest is about to make it


def outages(world: World, village: Village, since: float) -> list[Shown]:
    """What the province shows of a village from some time on, in order."""
    rows = world.query(
        "SELECT cause, t_begin, t_end, evidence, flaps FROM outages "
        "JOIN slots ON slots.id = slot_id WHERE slot = ? "
        "AND t_begin IS NOT NULL AND coalesce(t_end, t_begin + 1) > ? "
        "ORDER BY t_begin",
        village.slot,
        since,
    )
    return [Shown(_STATE[c], b, e, _words(ev), f) for c, b, e, ev, f in rows]


def power_cuts(world: World, village: Village, since: float) -> list[Shown]:
    """Times without power from some time on."""
    rows = world.query(
        "SELECT state, t_begin, t_end FROM intervals JOIN slots ON slots.id = slot_id "
        "WHERE slot = ? AND state IN ('power', 'agent') AND t_end > ? ORDER BY t_begin",
        village.slot,
        since,
    )
    return [Shown(state, b, e, "", 0) for state, b, e in rows]


def _words(evidence: str | None) -> str:
    pairs = json.loads(evidence) if evidence else []
    return ", ".join(f"{_STATE.get(r, r)}: {_RESULT.get(p, p)}" for r, p in pairs)


def run(world: World, fault: Fault) -> list[Verdict]:
    """Inject a fault in all villages, heal it, and compare what the province shows with it."""
    settle(world)
    villages = world.villages
    begins = {}
    for village in villages[:1] if fault.shared else villages:
        begins[village.slot] = time.time()
        fault.inject(world, village)
    first = min(begins.values())
    time.sleep(fault.hold_s)
    ends = {}
    for village in villages[:1] if fault.shared else villages:
        ends[village.slot] = time.time()
        fault.heal(world, village)
    verdicts = []
    for village in villages:
        begin = begins.get(village.slot, first)
        end = ends.get(village.slot, next(iter(ends.values())))
        verdicts.append(_judge(world, village, fault, begin, end))
    return verdicts


def failed(fault: Fault, error: Exception) -> Verdict:
    """The verdict on a fault with which the laboratory itself did not come to an end."""
    return Verdict(fault.name, "", fault.expected, "?", None, None, 0, str(error)[:200], False)


def settle(world: World) -> None:
    """Wait until every village is up and nothing is left to be told."""
    for village in world.villages:
        world.wait_until(lambda v=village: _is_up(world, v), f"{village.slot} is up", 180)
    time.sleep(3 * ROUND_S)


def _is_up(world: World, village: Village) -> bool:
    newest = max(measured(world, village, time.time() - 45), default=None, key=lambda s: s.t)
    return newest is not None and newest.values.get("state") == ids.UP


def _judge(world: World, village: Village, fault: Fault, begin: float, end: float) -> Verdict:
    allowed = fault.tolerance_rounds * ROUND_S + 1  # the wire tells whole seconds
    since = begin - 2
    look = power_cuts if fault.expected in (POWER, AGENT) else outages

    def found() -> list[Shown]:
        return look(world, village, since)

    if fault.expected == NONE:
        time.sleep(3 * ROUND_S)
        world.happens(lambda: told_until(world, village, end + 2), _TELL_S)
    else:
        world.happens(lambda: found() and found()[-1].end is not None, _TELL_S)
    shown = found()
    if look is power_cuts and outages(world, village, since):
        shown += outages(world, village, since)
    causes = [outage.cause for outage in shown] or [NONE]
    begin_error = end_error = None
    evidence = ""
    if shown and fault.expected != NONE:
        main = max(shown, key=lambda o: (o.end or time.time()) - o.begin)
        begin_error = round(shown[0].begin - begin, 1)
        if shown[-1].end is not None:
            end_error = round(shown[-1].end - end, 1)
        evidence = main.evidence
    ok = causes == [fault.expected] and (
        fault.expected == NONE
        or (
            begin_error is not None
            and end_error is not None
            and abs(begin_error) <= allowed
            and abs(end_error) <= allowed
        )
    )
    return Verdict(
        fault.name,
        village.interpreter,
        fault.expected,
        ", ".join(causes),
        begin_error,
        end_error,
        allowed,
        evidence,
        ok,
    )


def told_until(world: World, village: Village, moment: float) -> bool:
    """Whether the province holds samples of a village up to a moment."""
    return bool(measured(world, village, moment))
