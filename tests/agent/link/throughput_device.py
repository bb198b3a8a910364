"""Measures throughput on either interpreter: throughput_device.py URL KB DEADLINE_MS TIMES.

Prints the values, what was counted as the agent's own traffic, and whether the server would be
asked again.
"""

import asyncio
import json
import sys

if sys.implementation.name == "micropython":
    sys.path.pop(0)  # this folder

from agent.link.throughput import Throughput
from agent.net.traffic import own


class Budget:
    def allows(self, size, most):
        return True


async def main():
    url, kb, deadline_ms, times = sys.argv[1:]
    settings = {
        "throughput.url": url,
        "throughput.every_h": 24,
        "throughput.kb": int(kb),
        "broker.resolvers": (),
    }
    throughput = Throughput(settings, None, None, Budget())
    throughput.limit_ms = int(deadline_ms)
    values = []
    for _ in range(int(times)):
        values.append(await throughput.measure())
    print(json.dumps({"values": values, "own": own.total, "refused": throughput._refused}))


asyncio.run(main())
