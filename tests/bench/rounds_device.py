"""Climbs the ladder with the real probes, on MicroPython: rounds_device.py SETTINGS.

SETTINGS is a JSON object beside the agent's defaults. Each line of the standard input is a number
of rounds; answered by the bytes that the agent has counted as its own, and the link's state.
"""

import asyncio
import json
import sys

sys.path.pop(0)  # this folder

from agent import config  # noqa: E402
from agent.link.ladder import Link  # noqa: E402
from agent.net.traffic import own  # noqa: E402
from agent.wire import ids  # noqa: E402


class _Clock:
    seconds = 0

    def up(self):
        return self.seconds

    def right(self):
        return True


class _Delivery:
    """A session that is there."""

    probe = ids.PROBE_OK
    answered = True
    attempts = hurry_ms = 0

    def ping(self):
        pass


async def main():
    settings = {}
    for key, _, default, _, _ in config.keys():
        settings[key] = default
    settings.update(json.loads(sys.argv[1]))
    clock = _Clock()
    link = Link(settings, clock)
    link.broker.delivery = _Delivery()
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        for _ in range(int(line)):
            await link.round()
            clock.seconds += settings["cadence.round_s"]
        print(own.total, link.outages.state)


asyncio.run(main())
