"""A source on its own, on either interpreter, driven by lines on standard input.

Its options come in the environment (SOURCE_DEVICE): modules, config, and in_turn,
whether a source's own part is to be there for its looks only (turns.py). Each line is
JSON: {"do": "sample" or "observe", "now": Unix time or null, "deadline_ms"}; each answer is a line
{"row": ..., "resets": [...]}. What it logs goes to standard error.
"""

import asyncio
import json
import os
import sys


class Still:
    """Ticks for the counters: equipment ages only as a test says, however slow this machine is."""

    @staticmethod
    def ticks_ms():
        return 0

    @staticmethod
    def ticks_diff(end, start):
        return end - start

    @staticmethod
    def since(start):
        return -start


class Clock:
    unix = None

    def now(self):
        return self.unix


async def main():
    options = json.loads(os.getenv("SOURCE_DEVICE"))
    resets = []
    clock = Clock()
    sources = []
    config = options["config"]
    if options["in_turn"]:
        from agent.sources import day, turns  # noqa: F401
    for name in options["modules"]:
        name = "agent.sources." + name
        try:
            if options["in_turn"]:
                sources.append(turns.InTurn(name, config, config.copy(), clock, resets.append))
                turns.unload_sources()
            else:
                module = __import__(name, None, None, ["make"])
                sources.append(module.make(config, clock, resets.append))
        except (ValueError, OSError) as error:
            print(json.dumps({"error": str(error)}))
            return
    counter = sys.modules.get("agent.sources.counter")
    if counter:
        counter.interpreter = Still
    print(json.dumps({"ready": True}))
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        order = json.loads(line)
        clock.unix = order["now"]
        row = {}
        for source in sources:
            source._at = None  # as if long enough had passed to ask again
            source.deadline_ms = order["deadline_ms"]
            if order["do"] == "observe":
                source.observe()
                await source._task
            else:
                await source.sample(row)
        said = {"row": [[key, row[key]] for key in row], "resets": resets[:]}
        del resets[:]
        print(json.dumps(said))


asyncio.run(main())
