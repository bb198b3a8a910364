"""A model of 841 devices that connect at once: the agent's own backoff, and a slow broker."""

import heapq
import random

from agent.device import interpreter
from agent.net.errors import NetError
from agent.province.backoff import Backoff

UNREACHABLE = NetError("no answer", "connect", 110)
_NO_ANSWER = NetError("no answer in time", "tls", 110)
_CUT = NetError("reset", "tls", 104)
_PATIENCE_MS = 30_000
_SHED_MS = 1000


def herd(
    seed: int, count: int = 841, rate: int = 20, back: bool = False, sheds: bool = False
) -> tuple[list[float], int]:
    """A broker takes `rate` handshakes a second; a device waits 30 s for each answer.

    Args:
        back: the broker was away for long, and every device sees at once that it is back; else
            all devices have their power back in the same second.
        sheds: the broker cuts off at once whom it can't serve within a second.

    Returns:
        The seconds after which devices are connected, ascending, and the number of attempts.
    """
    dice = random.Random(seed)
    chance = interpreter.random_below
    interpreter.random_below = lambda limit: dice.randrange(max(limit, 1))
    try:
        return _herd([Backoff(300_000) for _ in range(count)], 1000 / rate, back, sheds)
    finally:
        interpreter.random_below = chance


def _herd(
    backoffs: list[Backoff], service_ms: float, back: bool, sheds: bool
) -> tuple[list[float], int]:
    events = []
    for i, backoff in enumerate(backoffs):
        wait = backoff.wait_ms()
        if back:
            for _ in range(12):
                backoff.ended(500, UNREACHABLE)
            wait = backoff.hurry(backoff.wait_ms(), 10_000)
        heapq.heappush(events, (wait, i))
    connected = []
    attempts = 0
    free_at = 0.0
    while events:
        at, i = heapq.heappop(events)
        attempts += 1
        served = max(free_at, at) + service_ms
        if sheds and served - at > _SHED_MS:
            backoffs[i].ended(100, _CUT)
            heapq.heappush(events, (at + 100 + backoffs[i].wait_ms(), i))
            continue
        if served - at <= _PATIENCE_MS:
            free_at = served
            connected.append(served / 1000)
            continue
        # It gave up: the broker has done half of the work for nothing.
        if free_at - at < 2 * _PATIENCE_MS:
            free_at = max(free_at, at) + service_ms / 2
        backoffs[i].ended(_PATIENCE_MS, _NO_ANSWER)
        heapq.heappush(events, (at + _PATIENCE_MS + backoffs[i].wait_ms(), i))
    return sorted(connected), attempts
