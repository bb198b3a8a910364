"""What is shown of a village at each moment, against the truth of a village that is made up.

The village's link and power fail at random, its device restarts, and the province's own broker is
cut. What the province knows is what has reached it by then. Run as a program it prints how long
the shown state was wrong: `python -m tests.host_tools.store.test_store_now SEQUENCES`.
"""

from __future__ import annotations

import random
import sys
import tempfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from agent.wire import ids
from host_tools.store import queries
from host_tools.store.sessions import hearing, save_alive, save_sessions
from host_tools.store.streams import insert_birth
from host_tools.wire import parse_birth
from host_tools.wire.envelope import split
from tests.world.devices import START, Device, ordinary, outage_began, outage_ended
from tests.world.filled import Filled

LENGTH_S = 3 * 3600
EVERY_S = 10  # the state is looked at
CUT = "own broker cut"
_FAILURES = {"gateway": ids.DOWN_GATEWAY, "provider": ids.DOWN_PROVIDER}
_KEEPALIVE_S = 45
_REPORT_S = 300
_LONGEST_CUT_S = 3000


@dataclass
class Wrong:
    """Seconds of each stretch in which what was shown was not true.

    down: shown as not up, and it was up. up: shown as up, and it was down. cut: the first of them
    in or right after a cut of our own broker. What is marked as old is compared with what was
    then.
    """

    down: list[int] = field(default_factory=list)
    up: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)


def _spells(chance: random.Random) -> list[tuple[int, str]]:
    """When what begins, of the village: up and failures by turns."""
    found, at = [(0, "up")], chance.randint(900, 2400)
    while at < LENGTH_S:
        found.append((at, chance.choice([*_FAILURES, "power", "restart"])))
        at += chance.randint(20, 40) if found[-1][1] == "restart" else chance.randint(60, 4000)
        found.append((at, "up"))
        at += chance.randint(300, 3000)
    return found


def _cuts(chance: random.Random) -> list[tuple[int, int]]:
    begin = chance.randint(1200, LENGTH_S)
    return [(begin, begin + chance.randint(120, _LONGEST_CUT_S))] if chance.random() < 0.5 else []


class Village:
    """A device and what the province has of it, second by second."""

    def __init__(self, filled: Filled, chance: random.Random) -> None:
        self._filled, self._chance = filled, chance
        self._device = Device()
        self._states: list[int] = []
        self._events: list[list[object]] = []
        self._waiting: list[bytes] = []
        self._began = self._stopped = START
        self._connected_at: int | None = None

    @property
    def connected(self) -> bool:
        return self._connected_at is not None

    def begins(self, now: int, state: str, before: str) -> None:
        """Something changes in the village."""
        device = self._device
        if state in _FAILURES:
            self._began = now
            self._events.append(outage_began(now - device.now, _FAILURES[state]))
        elif before in _FAILURES:
            length = now - self._began
            self._events.append(outage_ended(now - device.now, _FAILURES[before], length))
        elif state in ("power", "restart"):
            self._stopped = now
        elif before in ("power", "restart"):
            alive = self._stopped
            self._states, self._events = [], []
            device.now = alive
            self._events.append(device.reboot(now - alive, alive=alive))

    def second(self, now: int, state: str, reachable: bool) -> None:
        """What the device measures and sends."""
        if state not in ("power", "restart"):
            self._measure(now, _FAILURES.get(state, ids.UP))
        if not reachable:
            self._drop(now)
        elif self._connected_at is None:
            self._connected_at = now + self._chance.randint(2, 20)
        elif now == self._connected_at:
            self._greet(now)
        elif now > self._connected_at and self._waiting:
            self._filled.store(self._device, [self._waiting.pop()], received_at=now)
            self._filled.derive()
        if self._lost_at and now == self._lost_at + _KEEPALIVE_S:
            self._session(now, online=False)

    _lost_at = 0

    def _drop(self, now: int) -> None:
        if self._connected_at is not None:
            self._connected_at, self._lost_at = None, now

    def _measure(self, now: int, state: int) -> None:
        device = self._device
        if now > device.now and (now - device.now) % 60 == 0:
            self._states.append(state)
        if len(self._states) == 5:
            self._waiting.append(
                device.report(ordinary() | {ids.STATE: self._states}, self._events)
            )
            self._states, self._events = [], []

    def _greet(self, now: int) -> None:
        device, filled = self._device, self._filled
        window, device.now = device.now, now
        message = device.birth()
        device.now = window
        birth = parse_birth(message[split(message)[1] : -66])
        with filled.db.transaction():
            stream = filled.streams.find(device.kid, device.stream) or filled.streams.add(
                device.kid, device.slot, device.stream, now
            )
            insert_birth(filled.db, stream, birth, now, message)
        self._lost_at = 0
        self._session(now, online=True)

    def _session(self, now: int, *, online: bool) -> None:
        with self._filled.db.transaction():
            save_sessions(self._filled.db, {self._device.slot: online}, now)


def compared(seed: int, folder: Path) -> Wrong:
    """A sequence, and how long what was shown was wrong."""
    chance = random.Random(seed)
    spells, cuts = _spells(chance), _cuts(chance)
    filled = Filled(folder / f"{seed}.db")
    village = Village(filled, chance)
    changes = {begin: (state, before) for (_b, before), (begin, state) in pairwise(spells)}
    shown: list[tuple[bool, bool, bool]] = []  # is up, is shown as up, a cut is near
    state, truth = "up", list[bool]()
    for second in range(LENGTH_S):
        now = START + second
        if second in changes:
            state, before = changes[second]
            village.begins(now, state, before)
        truth.append(state == "up")
        is_cut = any(begin <= second < end for begin, end in cuts)
        village.second(now, state, state == "up" and not is_cut)
        if second % 20 == 0:
            with filled.db.transaction():
                save_alive(filled.db, now, connected=not is_cut)
        if second % EVERY_S == 0 and second > 2 * _REPORT_S:
            (slot,) = queries.status(filled.db, now)
            near = any(begin <= second < end + 60 for begin, end in cuts)
            then = int(hearing(filled.db, now).until) - START
            shown.append((truth[then], slot.state in ("up", "degraded", "connected"), near))
    filled.db.close()
    wrong = Wrong()
    kinds = [
        "" if up == told else "up" if told else "cut" if near else "down"
        for up, told, near in shown
    ]
    last = ""
    for kind in kinds:
        if kind and kind == last:
            getattr(wrong, kind)[-1] += EVERY_S
        elif kind:
            getattr(wrong, kind).append(EVERY_S)
        last = kind
    return wrong


def all_of(seeds: range) -> Wrong:
    whole = Wrong()
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            wrong = compared(seed, Path(folder))
            whole.down += wrong.down
            whole.up += wrong.up
            whole.cut += wrong.cut
    return whole


def _check(wrong: Wrong) -> None:
    # A device connects within 20 s of its village's return, and the state is looked at every 10 s.
    assert max(wrong.down, default=0) <= 40
    # Silence is told after three report intervals; the hour of a cut of ours is no silence.
    assert max(wrong.up, default=0) <= 3 * _REPORT_S + _LONGEST_CUT_S + 60
    assert max(wrong.cut, default=0) <= 120


def test_a_village_that_is_up_is_soon_shown_as_up():
    _check(all_of(range(4)))


@pytest.mark.slow
def test_two_hundred_villages_that_are_up_are_soon_shown_as_up():
    _check(all_of(range(200)))


def main() -> None:
    whole = all_of(range(int(sys.argv[1])))
    for name, stretches in vars(whole).items():
        print(
            f"{name}: {len(stretches)} stretches, at most {max(stretches, default=0)} s, "
            f"median {median(stretches or [0]):.0f} s, together {sum(stretches)} s"
        )


if __name__ == "__main__":
    main()
