"""Samples at an even pace: asks every source once a sample and hands the row to the reporter.

A source is a small object with `async def sample(self, row)`, which writes what it measured into
the row and leaves out what it could not. One that raises, hangs or vanishes costs its own columns
only. One that must look more often has `observe()` too, called every round.

All are asked at once, each into a row of its own, so that one that comes late writes nowhere; then
they are put together in a fixed order, the last one of a metric counts.
"""

import asyncio
import gc

from agent.device import interpreter
from agent.device.interpreter import const
from agent.net.errors import cause
from agent.measure.report import MAX_SAMPLES
from agent.wire import ids

_STEP_MS = const(20)
# Metrics that may be negative: those in dBm, dB and degrees Celsius.
_SIGNED = const(1 << 12 | 1 << 22 | 1 << 27 | 1 << 28 | 1 << 29 | 1 << 31)
# Of these every source gives one in each sample.
_TOLD = (ids.BYTES_DOWN, ids.CLIENTS, ids.ROUTER_UPTIME, ids.DISH_UPTIME)


class Sampler:
    """`sources` is to be filled by whoever makes one, in the order in which they write.

    changed: since the sample before, a source has failed or answers again. well: the last sample
    was no longer than it should be, the link up, and the time known."""

    def __init__(self, base_s, board, clock, journal, link, reporter):
        self.base_s = base_s
        self._board = board
        self._clock = clock
        self._journal = journal
        self._link = link
        self._reporter = reporter
        self._factor = 1
        self.given = None  # which of _TOLD the last sample had
        self.changed = self.well = False
        self.least = 1  # the factor that the budget demands
        self._began = None
        self._health = {}
        self._slow_up = 0  # when heap and storage are to be told next
        self.sources = ()
        self.wait_ms = 5000  # for all of them
        self._tasks = {}  # of each source, its reading under way

    def observe(self):
        """Let those sources look that must look every round."""
        for source in self.sources:
            if hasattr(source, "observe"):
                try:
                    source.observe()
                except Exception as e:
                    _note(source, e)

    async def next(self):
        """Wait for the current sample's end and take it. True if the report must close now."""
        step = self.base_s * self._factor
        if self._began is None:
            self._began = self._clock.up()
            await self.read({})  # counters need a value to count from
        end = self._began + step
        wait_ms = end * 1000 - self._clock.up_ms()
        if wait_ms > 0:
            await interpreter.sleep_ms(wait_ms)
        row = await self.row()
        given = [metric in row for metric in _TOLD]
        self.changed = given != self.given
        self.given = given
        up = row[ids.STATE] == ids.UP
        self.well = up and self._factor == 1 and self._clock.now() is not None
        began = self._began
        self._began = end
        late = False
        if self._clock.up() - end >= step:
            # The device slept or was stopped: what it did not measure must not look measured.
            self._began = self._clock.up()
            late = True
        self._reporter.add(row, began, step)
        return self._next() or late or len(self._reporter.rows) >= MAX_SAMPLES

    async def row(self):
        """The row of a sample that ends now."""
        row = {}
        self._link.put(row)
        await self.read(row)
        if not self._reporter.rows:
            self._health = self._measure_health()
        row.update(self._health)
        return row

    async def read(self, row):
        """Ask every source, and write into `row` what they answer in time."""
        parts = []
        tasks = []
        for source in self.sources:
            parts.append({})
            task = self._tasks.get(source)
            if task is None or task.done():  # never twice at once
                task = asyncio.create_task(_ask(source, parts[-1]))
                self._tasks[source] = task
                tasks.append(task)
        left = self.wait_ms
        try:
            while left > 0 and not all([task.done() for task in tasks]):
                await interpreter.sleep_ms(_STEP_MS)
                left -= _STEP_MS
        finally:
            for source, part in zip(self.sources, parts):
                if self._tasks[source].done():
                    del self._tasks[source]
                    merge(part, row)
                else:
                    self._tasks[source].cancel()

    def _measure_health(self):
        """The device's own levels, measured once a report and valid for all its samples."""
        health = {ids.JOURNAL_FILL: self._journal.fill}
        if self._clock.up() >= self._slow_up:
            self._slow_up = self._clock.up() + 3600  # what changes slowly
            if interpreter.MICROPYTHON:
                health[ids.HEAP_FREE] = gc.mem_free() // 1024
            free = self._board.storage_free()
            if free is not None:
                health[ids.STORAGE_FREE] = free // 1024
        health[ids.VOLTAGE] = self._board.voltage()
        health[ids.TEMPERATURE] = self._board.temperature()
        return health

    def _next(self):
        """Choose the next sample's length by journal and budget. True if it changed."""
        fill = self._journal.fill
        factor = self.least
        # The journal fills with what is not stored: (per mille, length of a sample).
        for level, f in ((750, 60), (500, 15), (250, 5)):
            if fill >= level - (50 if f <= self._factor else 0):
                factor = max(f, factor)
                break
        if factor == self._factor:
            return False
        self._factor = factor
        self._reporter.event(ids.CADENCE_CHANGED, None, {1: self.base_s * factor})
        return True

    def counter_reset(self, metric):
        """For sources whose counter began anew."""
        self._reporter.event(ids.COUNTER_RESET, None, {1: metric})


async def _ask(source, row):
    try:
        await source.sample(row)
    except Exception as e:
        _note(source, e)


def merge(part, row):
    """Take over what can be, whoever says so: integers below 2^40, and no bool."""
    for metric in part:
        value = part[metric]
        if type(value) is int and not abs(value) >> 40:
            if value >= 0 or _SIGNED >> metric & 1:
                row[metric] = value


def _note(source, error):
    # Only a system's error is quoted: another's text may hold what a source read of a user.
    text = cause(error) if isinstance(error, OSError) else ""
    interpreter.log("source:", type(source).__name__, type(error).__name__, text)
