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
from agent.wire import ids

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
    if metric in (ids.SIGNAL, ids.LTE_RSRP, ids.CLIENT_SIGNAL):
        if value >= 0:
            return
    elif value < 0 and metric not in (ids.LTE_SINR, ids.ROUTER_TEMPERATURE):
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
    """Where a source adds the clients that it sees (day.Day); None if nobody counts them."""
    if config.get("usage.unique.most") is None:
        return None
    from agent.sources.day import shared

    return shared(config, clock)


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
        self.failure = None
        self._task = None

    async def poll(self, levels):
        """Ask once: write levels (metric -> int) into `levels`, give quantities to `count`.

        What was written before an exception stands. Raises OSError that says what is wrong,
        without anything of a user in its text; of any other exception only the type is shown."""

    def count_into(self, other):
        """Continue the counts of `other`, a source made before for the same (turns.py)."""
        self._octets = other._octets
        self._counts = other._counts
        self._sums = other._sums

    def lasts(self):
        """What the source must know at its next look, beside what this base keeps: pairs of an
        object and the names of its attributes. (turns.py)"""
        return ()

    def seen(self, address):
        """Add a client to the day, by its address: 6 bytes, or text."""
        if self.unique:
            address = binary(address)
            if address:
                self.unique.add(address)

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
        if not self._lock.locked() and not self.asked_within(self.every_ms):
            self._task = asyncio.create_task(self.ask())

    async def sample(self, row):
        """Write what is known at the sample's end."""
        await self.ask()
        row.update(self._levels)
        row.update(self._counts)
        self._counts = {}
        for metric in self._sums:
            total, n = self._sums[metric]
            row[metric] = (total + n // 2) // n
        self._sums = {}
        if self._peak is not None:
            row[ids.CLIENTS_PEAK] = self._peak
        self._peak = self._levels.get(ids.CLIENTS)

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

    def asked_within(self, ms):
        return self._at is not None and interpreter.since(self._at) < ms

    async def ask(self):
        async with self._lock:
            if self.asked_within(min(self.every_ms, _FRESH_MS)):
                return
            self._levels = levels = {}
            failure = None
            try:
                await within(self.deadline_ms, self.poll(levels))
            except OSError as error:
                failure = cause(error)
            except Exception as error:
                # Its text may quote what the equipment sent: a user's address, a name.
                failure = type(error).__name__
            self._at = interpreter.ticks_ms()
            clients = levels.get(ids.CLIENTS)
            if clients is not None and (self._peak is None or clients > self._peak):
                self._peak = clients
            if failure != self.failure:
                self.failure = failure
                interpreter.log("%s: %s" % (self.name, failure or "answers again"))
