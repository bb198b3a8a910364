"""Bounded waiting: nothing in this agent that talks to a network waits for ever."""

import asyncio

from agent.device import interpreter
from agent.net.errors import timed_out


async def reap(*tasks):
    """Cancel tasks (never the current one) and wait until each is over.

    Looks at `done()` instead of awaiting the task: a CancelledError here is the caller's own."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        while not task.done():
            await interpreter.sleep_ms(0)


async def within(timeout_ms, coro):
    """Return what `coro` returns, or raise OSError(ETIMEDOUT) after `timeout_ms`.

    Not asyncio.wait_for: MicroPython's cancels its caller, and so can swallow a cancellation from
    outside; CPython's before 3.12 can too. Here the caller waits for an event that the work or
    the timer sets, and whatever happens, neither task outlives the call."""
    tasks = None
    try:
        over = asyncio.Event()
        outcome = []
        tasks = []
        # The timer first: should memory fail between the two, no work goes on without an end.
        tasks.append(asyncio.create_task(_timer(timeout_ms, over)))
        tasks.append(asyncio.create_task(_work(coro, outcome, over)))
        await over.wait()
    finally:
        if tasks:
            await reap(*tasks)
        coro.close()  # it never started if its task was cancelled first, or memory failed
    if not outcome:
        raise timed_out()
    if len(outcome) > 1:
        raise outcome[1]
    return outcome[0]


async def _work(coro, outcome, over):
    try:
        outcome.append(await coro)
    except Exception as error:
        outcome.append(None)
        outcome.append(error)
    finally:
        over.set()


async def _timer(timeout_ms, over):
    try:
        await interpreter.sleep_ms(timeout_ms)
    finally:  # without memory even this fails: rather too early than never
        over.set()
