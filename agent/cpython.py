"""What compat.py and net.py have on CPython; a file of its own, so that no device has to load it."""

import asyncio
import os
import time

from agent.compat import MICROPYTHON

assert not MICROPYTHON


def const(value):
    return value


def ticks_ms():
    return time.monotonic_ns() // 1000000


def ticks_us():
    return time.monotonic_ns() // 1000


def ticks_add(ticks, delta):
    return ticks + delta


def ticks_diff(end, start):
    return end - start


async def sleep_ms(ms):
    await asyncio.sleep(ms / 1000)


async def wait_for_ms(aw, ms):
    return await asyncio.wait_for(aw, ms / 1000)


def sync(file):
    """Commit a file's bytes to the medium (flush, then fsync)."""
    file.flush()
    os.fsync(file.fileno())


async def ready(sock, write, timeout_ms):
    """Whether a non-blocking socket has something to read within `timeout_ms` milliseconds; if
    `write`, whether it takes bytes or failed to connect."""
    loop = asyncio.get_running_loop()
    happened = loop.create_future()
    add = loop.add_writer if write else loop.add_reader
    add(sock.fileno(), lambda: happened.done() or happened.set_result(None))
    try:
        await wait_for_ms(happened, timeout_ms)
        return True
    except asyncio.TimeoutError:
        return False
    finally:
        (loop.remove_writer if write else loop.remove_reader)(sock.fileno())
