"""The agent's own traffic: how much of it there was in this month, and never more than allowed.

traffic.own counts what is sent and received. Here that becomes a month's sum that survives a
restart and a power cut, and never says too little: before more is used, more is written down as
used. The nearer the limit, the less is asked; at its end the agent is silent until the month
turns, and keeps in its journal what it measures.
"""

import asyncio
import binascii
import struct

from agent.device import interpreter
from agent.net.traffic import own
from agent.device.interpreter import const
from agent.link.outages import Outages
from agent.wire import ids

# Number, month, days of silence; bytes used, of these certainly in this month, used in the month
# before; CRC32.
_RECORD = ">IHHQQQ"
_MB = const(1000000)
_CHUNK = const(65536)  # so much is written down ahead
_SLACK = const(8192)  # may arrive before it is counted
_LAST = const(65536)  # of the limit: for what is under way, and for SNTP in the silence
_HOUR_S = const(3600)
_SOON_S = const(10)
_DAY_S = const(86400)
_MONTH_DAYS = const(31)

_NO_THROUGHPUT = const(80)
# Level: from so many per cent, one round in so many, samples so many times as long.
_LEVELS = ((0, 1, 1), (90, 6, 5), (97, 30, 60), (101, 0, 60))
_SILENT = const(3)


def month_of(unix):
    """Months since the year 0 in WITA (UTC+8) at a Unix time; the Gregorian calendar."""
    day = (unix + 8 * 3600) // _DAY_S + 719468  # since 0000-03-01
    era = day // 146097
    day %= 146097
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    return (era * 400 + year) * 12 + (5 * day + 2) // 153 + 2


def make(settings, clock, link, reporter, sampler, session, client):
    """The Budget that a configuration asks for, with its samples."""
    limit = settings["budget.month_mb"]
    folder = settings["state_dir"] + "/journal"
    budget = Budget(folder, limit * _MB, clock, link, reporter, sampler, session, client)
    sampler.sources.append(budget)
    if settings["throughput.url"]:
        from agent.link.throughput import Throughput

        budget.throughput = Throughput(settings, clock, link, budget)
        sampler.sources.append(budget.throughput)
    return budget


class Budget:
    """In the link's place for who asks for rounds; a source of samples; `run` keeps the books
    until it is cancelled.

    folder: where the two files of the ledger lie; limit: bytes a month, 0: only count. `client` is
    the session's. `throughput`: what else is to be run, if set."""

    def __init__(self, folder, limit, clock, link, reporter, sampler, session, client):
        self._path = folder + "/own-"
        self._limit = limit
        self._clock = clock
        self._link = link
        self._reporter = reporter
        self._sampler = sampler
        self._session = session
        self._client = client
        self._level = 0
        self._rounds = 0
        self._broken = False
        self._due = clock.up() + _SOON_S  # when to tell
        self._told = None
        self._silent_s = 0  # in all its days
        self._looked = clock.up()
        self._number = self._month = self._days = self._reserved = 0
        self._sure = 0  # what was used when the month was last known
        self._before = 0  # used in the month before
        self._base = -own.total  # used = base + what was counted
        self.throughput = None
        self._load()
        self._choose()
        own.beyond = self._beyond

    @property
    def used(self):
        """Bytes of this month, at least all that there were."""
        return self._base + own.total

    def allows(self, size, most):
        """Whether a sample of throughput may take `size` bytes, `most` if it goes wrong."""
        if not self._limit:
            return True
        used = self.used
        level = self._limit // 100
        return used + size <= _NO_THROUGHPUT * level and used + most < _LEVELS[1][0] * level

    async def run(self):
        """Measure throughput if wanted. When cancelled, write down what really was used."""
        try:
            if self.throughput:
                await self.throughput.run()
            while True:
                await interpreter.sleep_ms(60000)
        except asyncio.CancelledError:
            own.beyond = None
            self._write(self.used)
            raise

    async def sample(self, row):
        """Tell the month's sum once an hour, in all samples of one report."""
        if not self._reporter.rows:
            self._told = None
            up = self._clock.up()
            if up >= self._due and self._month and self._clock.now() is not None:
                self._due = up + _HOUR_S
                self._told = (self.used + 1023) >> 10
        if self._told is not None:
            row[ids.OWN_MONTH] = self._told

    async def round(self):
        """Events of the link's round, if one is due."""
        self._turn()
        self._choose()
        if self._level == _SILENT:
            self._session.probe = None  # what became of the session says nothing
            if self._client.connected:
                await self._client.close()
            return self._forget()
        self._rounds += 1
        if self._rounds % _LEVELS[self._level][1]:
            return ()
        return await self._link.round()

    def _forget(self):
        """Nothing is asked, so nothing is known of the link any more; events as of a round."""
        link = self._link
        events = link.outages.end(self._clock.up())
        if link.outages.state:
            link.outages = Outages()
            link.quality.reset()
            link.quality.jitter = None
        return events

    # ---- the month ---------------------------------------------------------------------------

    def _turn(self):
        """Begin anew with the month, as far as it is known."""
        up = self._clock.up()
        passed = up - self._looked
        self._looked = up
        now = self._clock.now()
        if now is None:
            if self._level == _SILENT:
                self._wait(passed)
            return
        month = month_of(now)
        if month != self._month:
            if month < self._month:
                # The clock was wrong before: whatever was counted counts.
                self._base += self._before
                self._before = 0
            elif self._month:
                # What may have been used in this month counts to it, and a leap may be taken back.
                new = self.used - self._sure
                self._before = self._sure + (self._before if month > self._month + 1 else 0)
                self._base = new - own.total
            self._month = month
            self._days = self._silent_s = 0
            self._due = up + _SOON_S
            self._sure = self.used
            self._reserve()
        self._sure = self.used

    def _wait(self, passed):
        """Silent, and without a clock that could tell its end: after 31 such days it is there."""
        self._silent_s += passed
        if self._silent_s >= _DAY_S:
            self._silent_s -= _DAY_S
            self._days += 1
            if self._days >= _MONTH_DAYS:
                self._days = 0
                self._before = self.used
                self._base = -own.total
                self._sure = 0
            self._reserve()

    # ---- the levels --------------------------------------------------------------------------

    def _choose(self):
        if self._broken:
            self._reserve()
        level = 0
        used = self.used
        limit = self._limit
        if limit and (self._broken or used + _LAST > limit):
            level = _SILENT
        elif limit:
            while used * 100 >= limit * _LEVELS[level + 1][0]:
                level += 1
        if level != self._level:
            interpreter.log("budget: level", level, "at", used >> 10, "KiB")
        self._level = level
        self._sampler.least = _LEVELS[level][2]
        self._session.hold = level == _SILENT
        self._mark()

    def _mark(self):
        """Until when `own` may count on by itself."""
        most = self._reserved - _SLACK
        if self._limit:
            end = self._limit if self._level == _SILENT else self._limit - _LAST
            most = end if self._reserved >= self._limit else min(most, end)
        own.most = most - self._base

    def _beyond(self, n):
        """`own` has counted n more, and that is beyond its mark. OSError: they must not be."""
        if self._limit and self.used > self._limit:
            own.total -= n
            raise OSError(28, "the month's budget is used up")
        if not self._broken and self.used + _SLACK > self._reserved:
            self._reserve()
        self._choose()

    # ---- the ledger --------------------------------------------------------------------------

    def _reserve(self):
        used = self.used + _CHUNK
        if self._limit:
            used = max(min(used, self._limit), self.used)
        self._broken = not self._write(used)
        self._mark()

    def _write(self, used):
        """Write down that so much is used. Two files in turn: of a torn write the other is left,
        and nothing of what was to be used by it has been. False if it can't be written."""
        self._number += 1
        body = struct.pack(
            _RECORD, self._number, self._month, self._days, used, self._sure, self._before
        )
        path = self._path + "ab"[self._number & 1]
        try:
            try:
                file = open(path, "r+b")
            except OSError:
                file = open(path, "wb")
            with file:
                file.write(body + struct.pack(">I", binascii.crc32(body)))
                interpreter.sync(file)
        except OSError as e:
            if not self._broken:
                interpreter.log("budget:", e)
            return False
        self._reserved = used
        return True

    def _load(self):
        """Take over what is written: at most that much was used."""
        size = struct.calcsize(_RECORD)
        newest = None
        damaged = 0
        for name in "ab":
            try:
                with open(self._path + name, "rb") as file:
                    data = file.read(64)
            except OSError as e:
                damaged += e.errno != 2  # ENOENT
                continue
            body = data[:size]
            if struct.pack(">I", binascii.crc32(body)) != data[size:]:
                damaged += 1
                continue
            record = struct.unpack(_RECORD, body)
            if newest is None or record > newest:
                newest = record
        if newest:
            self._number, self._month, self._days, used, self._sure, self._before = newest
            # The damaged one may have been newer, and used.
            self._reserved = used + (_CHUNK if damaged else 0)
        elif damaged == 2:
            self._reserved = self._limit  # nobody knows: then all of it, until the month turns
        # Only one, and damaged: the very first write was torn, and nothing used before it.
        self._base += self._reserved
