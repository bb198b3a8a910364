"""A time in which nothing is broken: the province must show no outage in it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from tests.lab.judge import measured, outages, settle
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
        lost = [
            s for s in measured(world, village, since) if s.t >= since and s.values.get("loss")
        ]
        found.append(
            Silence(
                village.interpreter,
                length_s * SPEED,
                len(shown),
                len(lost),
                not shown,
            )
        )
    return found
