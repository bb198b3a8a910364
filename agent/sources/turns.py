"""Several sources in little memory: each one's code is loaded to poll, then unloaded.

Code and tables take most of a source's memory, and while it polls its tasks, connections and
pieces of an answer. So the sources poll one after the other. In between only their settings stay,
and what the next poll must know; both are made at start, while the heap has large free pieces.

Sources that failed poll after those that answered. A source that can't poll before the sample's
end gives null there; its counts come with its next answer, and in the next sample it polls first.
"""

import asyncio
import gc
import sys

from agent.device import heap, interpreter
from agent.device.interpreter import const
from agent.measure.sampler import merge
from agent.sources import source

# What the sources share.
_STAY = ("source", "counter", "turns", "day", "hmac")
_BUSY_MS = const(2000)
_STEP_MS = const(20)


def unload_sources():
    """Unload the sources' own modules, and what only they import."""
    for name in [name for name in sys.modules if name[:14] == "agent.sources."]:
        if name[14:] not in _STAY:
            heap.unload(name)


class InTurn(source.Source):
    """A source whose own module is loaded only while it polls."""

    def __init__(self, name, config, common, clock, on_reset):
        """name: of its module; common: keys of the configuration that are not its own alone."""
        module = __import__(name, None, None, ("make",))
        made = module.make(config, clock, on_reset)
        super().__init__(made.name, on_reset)
        self.every_ms = made.every_ms
        self._module = name
        self._common = common
        self._clock = clock
        self._keys = hash(module.KEYS)
        # As `make` left them: where a value takes long to compute, `make` stores the result.
        self._values = [config[row.split()[0]] for row in module.KEYS.split("\n")]
        self._keep(made)

    def _keep(self, made):
        self._kept = [getattr(part, name) for part, names in made.lasts() for name in names]

    def _make(self):
        module = __import__(self._module, None, None, ("make",))
        if hash(module.KEYS) != self._keys:
            # The values would be assigned to other keys: a password to an interface.
            raise OSError(0, "its code was replaced: restart the agent")
        config = self._common.copy()
        for row, value in zip(module.KEYS.split("\n"), self._values):
            config[row.split()[0]] = value
        made = module.make(config, self._clock, self._on_reset)
        kept = iter(self._kept)
        for part, names in made.lasts():
            for name in names:
                setattr(part, name, next(kept))
        made.count_into(self)
        return made

    async def poll(self, levels):
        made = None
        gc.collect()  # what is loaded now should lie together
        try:
            made = self._make()
            await made.poll(levels)
        finally:
            if made:
                self._keep(made)
            unload_sources()


class Turns:
    """The sources that take turns, as one source for the sampler."""

    def __init__(self, config, clock, sampler, busy):
        """config: "usage" holds the names of the modules; busy: a lock that is held while the CPU
        must stay free. Raises ValueError as each `make`."""
        # They may start polls during half of a sample; the sampler waits for the last one.
        self._most_ms = max(sampler.wait_ms, config["cadence.sample_s"] * 500)
        sampler.wait_ms += self._most_ms
        self._busy = busy
        self._sampling = False
        self._task = None
        self._sources = []
        common = {}
        for name in ("leases", "arp", "lan_interface", "unique.most"):
            name = "usage." + name
            common[name] = config.get(name)
        for name in config["usage"]:
            self._sources.append(InTurn(name, config, common, clock, sampler.counter_reset))
            unload_sources()
        self._order = self._sources

    def observe(self):
        """Called every round; polls in the background those that are due."""
        if not self._sampling and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._poll())

    async def _poll(self):
        for each in self._order:
            if not each.asked_within(each.every_ms):
                await self._idle()
                if self._sampling:
                    return
                await each.ask()

    async def _idle(self):
        """Wait until no round-trip time is taken, but not long: loading takes the CPU."""
        for _ in range(_BUSY_MS // _STEP_MS):
            if not self._busy.locked():
                return
            await interpreter.sleep_ms(_STEP_MS)

    async def sample(self, row):
        """Write what is known at the sample's end."""
        began = interpreter.ticks_ms()
        parts = {}
        self._sampling = True
        try:
            while self._task and not self._task.done():
                await interpreter.sleep_ms(_STEP_MS)
            order = [each for each in self._order if not each.failure]
            order += [each for each in self._order if each.failure]
            for each in order:
                if interpreter.since(began) < self._most_ms:
                    await self._idle()
                if interpreter.since(began) < self._most_ms:
                    parts[each] = {}
                    await each.sample(parts[each])
            self._order = [each for each in order if each not in parts]
            self._order += [each for each in self._sources if each in parts]
        finally:
            self._sampling = False
        for each in self._sources:
            merge(parts.get(each, ()), row)
