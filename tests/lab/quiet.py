"""A time in which nothing is broken: the province must show no outage in it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from tests.lab.judge import outages, settle
from tests.lab.world import SPEED, World


@dataclass
class Silence:
    """A quiet time in one village. seconds: as the agent's rhythm counts them."""

    interpreter: str
    seconds: int
    outages: int
    rounds_lost: int
    ok: bool

    def row(self) -> dict[str, Any]:
        """For the file."""
        return asdict(self)


def quiet(world: World, length_s: int) -> list[Silence]:
    """Let time pass without a fault."""
    settle(world)
    since = time.time()
    time.sleep(length_s)
    settle(world)
    found = []
    for village in world.villages:
        shown = outages(world, village, since)
        lost = world.query(
            "SELECT count(*) FROM samples JOIN slots ON slots.id = slot_id "
            "WHERE slot = ? AND t >= ? AND loss > 0",
            village.slot,
            since,
        )
        found.append(
            Silence(
                village.interpreter,
                length_s * SPEED,
                len(shown),
                lost[0][0] if lost else 0,
                not shown,
            )
        )
    return found
