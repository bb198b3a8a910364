"""Time that passes only where somebody waits; put in place of the agent's."""

import asyncio

from agent import compat

now = 0  # milliseconds


def install():
    compat.ticks_ms = lambda: now
    compat.ticks_add = lambda ticks, delta: ticks + delta
    compat.ticks_diff = lambda end, start: end - start
    compat.sleep_ms = sleep_ms


def advance(ms):
    global now
    now += ms


async def sleep_ms(ms):
    advance(ms)
    await asyncio.sleep(0)
