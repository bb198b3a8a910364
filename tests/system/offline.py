"""A device that is cut off for long, in a second: its own journal and reporter, no waiting.

Usage: offline.py CONFIG reports|losses COUNT. The agent is built as it builds itself; instead of
being run, it is given samples and makes a report of each: COUNT reports; or until the full journal
has given up its oldest segment COUNT times, and a few more. Then the power goes (SIGKILL).
"""

import asyncio
import os
import signal
import sys
import time

from agent import start
from agent.wire import ids


async def _be_offline(app, what: str, count: int) -> None:
    app.clock.set(int(time.time()), ids.CLOCK_SYSTEM)
    journal, reporter = app.journal, app.reporter
    up = 0

    async def report(times: int) -> None:
        nonlocal up
        for _ in range(times):
            up += 1
            # No two reports of any run say the same.
            token = int.from_bytes(os.urandom(4), "big")
            row = {ids.STATE: ids.DOWN_PROVIDER, ids.BYTES_DOWN: up, ids.HEAP_FREE: token}
            reporter.add(row, up, 1)
            await reporter.close()

    if what == "reports":
        await report(count)
        return
    for _ in range(count):
        oldest = journal.oldest
        while journal.oldest == oldest:
            await report(1)
    await report(3)


if __name__ == "__main__":
    asyncio.run(_be_offline(start.build(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
    os.kill(os.getpid(), signal.SIGKILL)
