"""Time that passes only where somebody waits; put in place of the agent's."""

import asyncio

try:
    from agent import base as interpreter  # as released
except ImportError:
    from agent.device import interpreter

now = 0  # milliseconds


def install():
    interpreter.ticks_ms = lambda: now
    interpreter.ticks_add = lambda ticks, delta: ticks + delta
    interpreter.ticks_diff = lambda end, start: end - start
    interpreter.sleep_ms = sleep_ms


def advance(ms):
    global now
    now += ms


async def sleep_ms(ms):
    advance(ms)
    await asyncio.sleep(0)
