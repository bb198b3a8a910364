"""Months of an agent with a budget, on either interpreter: power cuts, torn writes, clocks that
are not known, backlogs. Prints what really passed beside what the agent allowed and told.

Arguments: folder, seed, limit in bytes (0: none), months, power cuts a day.
"""

import asyncio
import json
import random
import sys

if sys.implementation.name == "micropython":
    sys.path.pop(0)  # this folder

from agent.link.outages import Outages
from agent.link.quality import Quality
from agent.measure import budget
from agent.net.traffic import own

BEGIN = 1798761600 - 8 * 3600  # 2027-01-01 00:00 WITA
ROUND_S = 300  # thirty of the agent's rounds in one
ROUND = 30 * 230  # bytes
DAY_S = 86400


class PowerCut(Exception):
    pass


class World:
    """What goes on over reboots: the true time, and what was truly sent in each month."""

    def __init__(self, chance):
        self.now = BEGIN
        self.sent = {}
        self.writes = {}
        self.tears = chance

    def month(self):
        return budget.month_of(self.now)

    def spend(self, size):
        own.add(size)  # or it is not sent
        month = self.month()
        self.sent[month] = self.sent.get(month, 0) + size

    def open(self, path, mode):
        file = open(path, mode)
        return file if mode == "rb" else Torn(file, self)


class Torn:
    """A file whose writing the power may cut at any byte."""

    def __init__(self, file, world):
        self._file = file
        self._world = world

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def write(self, data):
        day = self._world.now // DAY_S
        self._world.writes[day] = self._world.writes.get(day, 0) + 1
        cut = random.random() < self._world.tears
        self._file.write(data[: random.randrange(len(data) + 1)] if cut else data)
        if cut:
            raise PowerCut

    def flush(self):
        self._file.flush()

    def fileno(self):
        return self._file.fileno()


class Clock:
    def __init__(self, world, known_after):
        self._world = world
        self._start = world.now
        self._known_after = known_after

    def up(self):
        return self._world.now - self._start

    def now(self):
        return self._world.now if self.up() >= self._known_after else None


class Link:
    rounds = 0

    def __init__(self, world):
        self._world = world
        self.outages = Outages()
        self.quality = Quality(0, 0)

    async def round(self):
        self.rounds += 1
        self._world.spend(ROUND)
        return ()


class Reporter:
    rows = ()


class Sampler:
    least = 1


class Delivery:
    hold = False
    probe = None


class Client:
    connected = False

    async def close(self):
        self.connected = False


async def live(world, facts, folder, limit, cut_at, clock):
    """One run of the agent, until the power goes, or an orderly stop."""
    own.total = own.most = 0
    own.beyond = None
    link, sampler, delivery, client = Link(world), Sampler(), Delivery(), Client()
    books = budget.Budget(folder, limit, clock, link, Reporter(), sampler, delivery, client)
    task = asyncio.create_task(books.run())
    await asyncio.sleep(0)
    samples = 0
    backlog = 400 * random.randrange(300) if random.random() < 0.2 else 0
    while world.now < cut_at:
        await books.round()
        row = {}
        await books.sample(row)
        if row:
            facts["told"] += 1
            truth = world.sent.get(world.month(), 0)
            if row[41] * 1024 < truth:
                facts["too_little"] += 1
            facts["last"] = [row[41] * 1024, truth]
        samples += ROUND_S / 60 / sampler.least
        if not delivery.hold and not client.connected:
            client.connected = True
            world.spend(3400)
        while backlog > 0 and not delivery.hold:
            world.spend(500)
            backlog -= 400
        if samples >= 5 and client.connected:
            samples -= 5
            world.spend(500)
            month = str(world.month())
            facts["reports"][month] = facts["reports"].get(month, 0) + 1
        if delivery.hold:
            facts["silent"] = True
            if world.now % 3600 < ROUND_S and random.random() < 0.5:
                try:
                    world.spend(152)  # the clock goes on being asked
                except OSError:
                    facts["refused"] += 1
        world.now += ROUND_S
    if random.random() < 0.3:
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass


async def main():
    folder, seed, limit, months, cuts = sys.argv[1:]
    random.seed(int(seed))
    world = World(0.02 if float(cuts) else 0)
    budget.open = world.open
    facts = {"told": 0, "too_little": 0, "reports": {}, "silent": False, "refused": 0}
    end = BEGIN + int(months) * 31 * DAY_S
    lives = 0
    while world.now < end:
        lives += 1
        length = int(2 * random.random() * DAY_S / float(cuts)) if float(cuts) else 99 * DAY_S
        # Mostly soon, now and then not before the power goes again.
        known = random.choice((0, 60, 3600, 3 * DAY_S)) if float(cuts) else 0
        try:
            await live(
                world, facts, folder, int(limit), min(end, world.now + length), Clock(world, known)
            )
        except PowerCut:
            pass
        world.now += ROUND_S
    facts["lives"] = lives
    facts["sent"] = {str(month): world.sent[month] for month in world.sent}
    facts["writes"] = max(world.writes.values())
    print(json.dumps(facts))


asyncio.run(main())
