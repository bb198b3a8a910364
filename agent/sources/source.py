"""What the sources that ask other equipment share: when they ask, and what an answer is worth.

A source is asked when a sample ends, and between samples every `every_ms`, so that a peak is one
and little is lost when the equipment restarts. What one answer did not give is null in the
sample; what fails is said once on the console, and once more when it works again.
"""

import asyncio

from agent.device import interpreter
from agent.net.errors import cause
from agent.net.tasks import within
from agent.device.interpreter import const
from agent.sources.counter import NO, Octets

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_SIGNAL = const(12)
_CLIENTS = const(15)
_CLIENTS_PEAK = const(16)
_CLIENT_SIGNAL = const(27)
_LTE_RSRP = const(28)
_LTE_SINR = const(29)
_ROUTER_TEMPERATURE = const(31)

_FRESH_MS = const(5000)


def number(value):
    """A JSON value as an integer: routers write numbers as texts too; None for anything else."""
    if isinstance(value, bytes) and 0 < len(value) < 20:
        digits = value[1:] if value[:1] == b"-" else value
        return int(value) if digits.isdigit() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def put(levels, metric, value):
    """Write a level unless it is None, is there already, or can't be: no radio hears 0 dBm, and
    nothing that is counted is negative."""
    if value is None or metric in levels or abs(value) >> 40:
        return
    if metric in (_SIGNAL, _LTE_RSRP, _CLIENT_SIGNAL):
        if value >= 0:
            return
    elif value < 0 and metric not in (_LTE_SINR, _ROUTER_TEMPERATURE):
        return
    levels[metric] = value


def put_mean(levels, metric, values):
    """Write the mean of a list, unless it is empty."""
    if values:
        put(levels, metric, sum(values) // len(values))


def binary(address):
    """A hardware address of 6 bytes from its text with colons or dashes, None if it is none."""
    if len(address) == 17:
        try:
            address = bytes([int(address[i : i + 2], 16) for i in range(0, 17, 3)])
        except ValueError:
            return None
    return address if len(address) == 6 else None


def day_of(config, clock):
    """Where to add the clients that a source sees (day.Day), None if nobody counts them."""
    if config.get("usage.unique.most") is None:
        return None
    from agent.sources.day import shared

    return shared(config, clock)


def take_turns(modules):
    """Where that is worth it (turns.py): the module `turns`; then `modules` holds their names, and
    they are let go. Else None.

    Only several sources take turns, and only from .mpy files: a source file is compiled each time
    that it is loaded, which a full heap has no room for. CPython has enough."""
    if len(modules) < 2 or getattr(modules[0], "__file__", "")[-4:] != ".mpy":
        return None
    from agent.sources import turns

    modules[:] = [module.__name__ for module in modules]
    turns.let_go()
    return turns


class Source:
    """Base of a source: `poll(levels)` is the subclass's."""

    every_ms = 30000
    deadline_ms = 4500  # the sampler waits for 5 s

    def __init__(self, name, on_reset=None, unique=None):
        self.name = name
        self.unique = unique  # where to add the clients that are seen (day.Day), or None
        self._on_reset = on_reset  # told of the metric whose counter began anew
        self._octets = {}
        self._lock = asyncio.Lock()
        self._at = None
        self._levels = {}
        self._counts = {}
        self._sums = {}
        self._peak = None
        self._said = None
        self._task = None

    async def poll(self, levels):
        """Ask once: write levels (metric -> int) into `levels`, give quantities to `count`.

        What was written before an exception stands. Raises OSError that says what is wrong,
        without anything of a user in its text; of any other exception only the type is shown."""

    def lasts(self):
        """What the source must know at its next look, beside what this base keeps: pairs of an
        object and the names of its attributes. (turns.py)"""
        return ()

    def count(self, metric, quantity):
        """Add to a quantity of the sample (kind "count"); None: nothing is known yet."""
        if quantity is not None:
            self._counts[metric] = self._counts.get(metric, 0) + quantity

    def mean(self, metric, value):
        """Take a value into the mean that the sample tells of a level."""
        total, n = self._sums.get(metric, (0, 0))
        self._sums[metric] = total + value, n + 1

    def renewed(self, how):
        """The counters of octets have begun anew; `how` is `renewed` of counter.Octets. It is kept
        until they are read, as equipment that has just started may not have them yet."""
        for octets in self._octets.values():
            octets.renewed = max(octets.renewed, how)

    def octets(self, metric, value, wide):
        """Add what a counter of octets that reads `value` now has counted since it was last read.
        `wide` is that of counter.Octets."""
        if value is None or value < 0:
            return
        if metric not in self._octets:
            self._octets[metric] = Octets()
        delta, reset = self._octets[metric].step(value, wide, NO)
        self.count(metric, delta)
        if reset:
            self._on_reset(metric)

    def observe(self):
        """Called every round; asks in the background when it is time."""
        if not self._lock.locked() and not self._within(self.every_ms):
            self._task = asyncio.create_task(self._ask())

    async def sample(self, row):
        """Write what is known at the sample's end."""
        await self._ask()
        row.update(self._levels)
        row.update(self._counts)
        self._counts = {}
        for metric in self._sums:
            total, n = self._sums[metric]
            row[metric] = (total + n // 2) // n
        self._sums = {}
        if self._peak is not None:
            row[_CLIENTS_PEAK] = self._peak
        self._peak = self._levels.get(_CLIENTS)

    async def each(self, *parts):
        """Await coroutines one after the other; the first error is raised when all have run."""
        first = None
        for part in parts:
            try:
                await part
            except Exception as error:
                first = first or error
        if first:
            raise first

    def _within(self, ms):
        return (
            self._at is not None and interpreter.ticks_diff(interpreter.ticks_ms(), self._at) < ms
        )

    async def _ask(self):
        async with self._lock:
            if self._within(min(self.every_ms, _FRESH_MS)):
                return
            self._levels = levels = {}
            said = None
            try:
                await within(self.deadline_ms, self.poll(levels))
            except OSError as error:
                said = cause(error)
            except Exception as error:
                # Its text may quote what the equipment sent: a user's address, a name.
                said = type(error).__name__
            self._at = interpreter.ticks_ms()
            clients = levels.get(_CLIENTS)
            if clients is not None and (self._peak is None or clients > self._peak):
                self._peak = clients
            if said != self._said:
                self._said = said
                interpreter.log("%s: %s" % (self.name, said or "answers again"))
