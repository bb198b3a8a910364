"""Several sources in little memory: each one's code is loaded for its look, and let go after it.

Most of what a source takes is its code's functions and tables, and the tasks, streams and pieces
of an answer under way. So the sources look one after the other, and in between there is of each
what its settings are and what it must know at its next look: made at start, while the heap is
young.

Whoever failed looks after those that answered. Whoever can't look before the time is over tells
nothing in this sample: that is null, and what it has counted comes with its next answer. It is
before its like next time: nobody waits for ever because others hang.
"""

import asyncio
import gc
import sys

from agent.device import heap, interpreter
from agent.device.interpreter import const
from agent.measure.sampler import merge
from agent.sources import source

# What sources share. What somebody else holds lives on, too.
_STAY = ("source", "counter", "turns", "day", "hmac")
_BUSY_MS = const(2000)
_STEP_MS = const(20)


def let_go():
    """Unload the sources' own modules, and what only they need."""
    for name in [name for name in sys.modules if name[:14] == "agent.sources."]:
        if name[14:] not in _STAY:
            heap.unload(name)


class InTurn(source.Source):
    """A source whose own part is there while it looks only; this is what all have in common."""

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
        # As `make` left them: it puts what took long to make in place of what that was made of.
        self._values = [config[row.split()[0]] for row in module.KEYS.split("\n")]
        self._keep(made)

    def _keep(self, made):
        self._kept = [getattr(part, name) for part, names in made.lasts() for name in names]

    def _make(self):
        module = __import__(self._module, None, None, ("make",))
        if hash(module.KEYS) != self._keys:
            # The values would become those of other keys: a password that of an interface.
            raise OSError(0, "its code was replaced: restart the agent")
        config = self._common.copy()
        for row, value in zip(module.KEYS.split("\n"), self._values):
            config[row.split()[0]] = value
        made = module.make(config, self._clock, self._on_reset)
        kept = iter(self._kept)
        for part, names in made.lasts():
            for name in names:
                setattr(part, name, next(kept))
        made._octets = self._octets
        made._counts = self._counts
        made._sums = self._sums
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
            let_go()


class Turns:
    """The sources that take turns, as one of the sampler's."""

    def __init__(self, config, clock, sampler, busy):
        """config: of it, "usage" names the sources' modules; busy: a lock that is held while the
        CPU is to be kept free. Raises ValueError as the modules' `make`."""
        # Half of a sample is theirs to begin their looks, and the sampler waits for the last one.
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
            let_go()
        self._order = self._sources  # in which they look

    def observe(self):
        """Called every round; asks in the background those for which it is time."""
        if not self._sampling and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._look())

    async def _look(self):
        for each in self._order:
            if not each._within(each.every_ms):
                await self._idle()
                if self._sampling:
                    return
                await each._ask()

    async def _idle(self):
        """Loading takes the CPU: not while round-trip times are taken, unless that lasts."""
        for _ in range(_BUSY_MS // _STEP_MS):
            if not self._busy.locked():
                return
            await interpreter.sleep_ms(_STEP_MS)

    async def sample(self, row):
        """Write what is known at the sample's end."""
        end = interpreter.ticks_add(interpreter.ticks_ms(), self._most_ms)
        parts = {}
        self._sampling = True
        try:
            while self._task and not self._task.done():
                await interpreter.sleep_ms(_STEP_MS)
            order = [each for each in self._order if not each._said]
            order += [each for each in self._order if each._said]
            for each in order:
                if interpreter.ticks_diff(end, interpreter.ticks_ms()) > 0:
                    await self._idle()
                if interpreter.ticks_diff(end, interpreter.ticks_ms()) > 0:
                    parts[each] = {}
                    await each.sample(parts[each])
            self._order = [each for each in order if each not in parts]
            self._order += [each for each in self._sources if each in parts]
        finally:
            self._sampling = False
        for each in self._sources:
            merge(parts.get(each, ()), row)
