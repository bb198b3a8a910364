"""The whole promise against a small model of the province, under any sequence of misfortunes.

The journal, the reporter and the delivery are the agent's own; the broker and the province are a
few lists. Afterwards whatever the journal has accepted is stored once, or its loss was declared.
DESALINK_SEED repeats a life.
"""

import asyncio
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import cbor2
import pytest

from agent.device import cpython, interpreter
from agent.journal.journal import Journal
from agent.measure.report import Reporter
from agent.province import delivery
from agent.province.birth import BirthMessage
from agent.province.delivery import Delivery
from agent.province.session import Session
from agent.wire import ed25519, ids

LIVES = 24
OPTIONS = {"capacity": 6144, "segment_size": 1536, "max_record": 1024}
BASE = "desa/1/6403/6403112001-1/"


class PowerCut(BaseException):
    """Ends the device in the middle of a write."""


class Signer(ed25519.Signer):
    """Signs nothing: what is signed is looked at elsewhere, and takes its time."""

    def __init__(self) -> None:
        self.public = bytes(32)

    async def sign_async(self, message: bytes) -> bytes:
        await asyncio.sleep(0)
        return bytes(64)


class Clock:
    source = 0

    def up(self) -> int:
        return 100

    def now(self) -> int:
        return 1_800_000_000

    def quality(self) -> list[int]:
        return [0, 1]

    def set(self, unix: int, source: int) -> None:
        pass


class Client:
    """A connection to the model's broker, which takes everything as long as it is there."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.connected = False
        self.error = OSError(104, "gone")
        self.on_message = None
        self._closed = asyncio.Event()

    async def connect(self) -> None:
        if not self._world.online:
            raise OSError(111, "refused")
        self._closed.clear()
        self.connected = True

    async def wait_closed(self) -> None:
        await self._closed.wait()

    async def subscribe(self, topics: object) -> None:
        if self._world.retained:
            self.on_message(BASE + "ack", self._world.retained, True)

    async def publish(self, topic: str, message: bytes, qos: int, retain: bool = False) -> None:
        if not self.connected or self._world.dead:
            raise self.error
        self._world.queue.append((topic.rpartition("/")[2], message))
        await asyncio.sleep(0)

    async def disconnect(self, timeout_ms: int = 0) -> None:
        self.drop()

    close = disconnect

    def drop(self) -> None:
        self.connected = False
        self._closed.set()


def payload_of(message: bytes) -> dict:
    return cbor2.loads(cbor2.loads(message).value[2])


def number_of(report: dict) -> int | None:
    """Which of all measurements it carries; None: it only tells of events."""
    column = report[8].get(ids.BYTES_DOWN)
    return column[0] if isinstance(column, list) else column


class Recorded(Journal):
    """Has the world know of what was appended, issued again or not."""

    def __init__(self, world: "World") -> None:
        Journal.__init__(self, str(world.path), **OPTIONS)
        self._world = world

    def append(self, report: bytes, reissued: int | None = None) -> int | None:
        seq = Journal.append(self, report, reissued)
        if seq:
            number = number_of(payload_of(report))
            self._world.accepted.setdefault(number, set()).add((self.stream, seq))
        return seq


class World:
    """`accepted`: measurement -> each (stream, seq) under which the journal took it. `destroyed`:
    those that a copy put back into the flash does not know. `stored`: the province's database."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.path = folder / "journal"
        self.folder = folder
        self.dice = dice
        self.online = self.slow = False
        self.queue: list[tuple[str, bytes]] = []
        self.retained: bytes | None = None
        self.stored: dict[tuple[bytes, int], bytes] = {}
        self.conflicts: list[bytes] = []
        self.pending: Counter[bytes] = Counter()
        self.accepted: dict[int | None, set[tuple[bytes, int]]] = {}
        self.destroyed: set[int] = set()
        self.uncertain: set[int | None] = set()
        self.measured = self.copies = 0
        self.backup: dict[tuple[bytes, int], bytes] | None = None
        self.forgotten: set[tuple[bytes, int]] = set()
        self.image: Path | None = None
        self.task: asyncio.Task | None = None
        self.writes_left = -1
        self.dead = False
        self.history: list[str] = []
        self.restored = 0

    # ---- the device

    def start(self) -> None:
        self.journal = Recorded(self)
        self.journal.open()
        clock = Clock()
        lock = asyncio.Lock()
        self.reporter = Reporter(self.journal, clock, Signer(), BASE + "report", lock)
        self.client = Client(self)
        session = Session(BASE, clock, self.client, 2)
        BirthMessage(session, self.journal, clock, Signer(), {})
        self.delivery = Delivery(session, self.journal, clock, self.reporter)
        self.task = asyncio.create_task(session.run())

    async def kill(self) -> None:
        self.client.drop()
        self.task.cancel()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self.journal.abandon()

    async def settle(self, turns: int = 40) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    async def measure(self, count: int) -> None:
        for _ in range(count):
            self.measured += 1
            self.reporter.add({ids.BYTES_DOWN: self.measured << 10}, 100, 60)
            await self.reporter.close()
            if self.dead:
                raise PowerCut
            self.delivery.wake.set()

    def found(self, fresh: bool = False) -> set[int | None]:
        """The measurements in the journal's files; fresh: those that no run seems to have sent."""
        seen = set()
        for held in (self.journal, self.journal.previous):
            first = max(held.oldest, held.fresh if fresh else 1) if held else 0
            for seq in range(first, held.next_seq) if held else ():
                message = held.read(seq)
                if message:
                    seen.add(number_of(payload_of(message)))
        return seen

    # ---- the province

    def take(self, count: int) -> None:
        """Store what comes next, and answer as docs/wire.md has it."""
        for _ in range(min(count, len(self.queue))):
            kind, message = self.queue.pop(0)
            if kind not in ("birth", "report"):
                continue
            content = payload_of(message)
            if kind == "birth":
                self.acknowledge(content[1], [content[2], content[3]])
                continue
            key = content[1], content[2]
            fresh = key not in self.stored
            if fresh:
                self.stored[key] = message
            elif self.stored[key] != message:
                self.conflicts.append(message)
            self.pending[key[0]] += 1
            in_order = fresh and (key[1] == 1 or (key[0], key[1] - 1) in self.stored)
            if not in_order or self.pending[key[0]] >= 8:
                self.acknowledge(key[0])

    def acknowledge(self, stream: bytes, answers: list[int] | None = None) -> None:
        self.pending[stream] = 0
        flat: list[list[int]] = [[0, 0]]
        for seq in sorted(seq for of, seq in self.stored if of == stream):
            if seq == flat[-1][1] + 1:
                flat[-1][1] = seq
            else:
                flat.append([seq, seq])
        ack = {1: stream, 2: flat[0][1], 3: flat[1:17], 4: 1_800_000_000}
        if answers:
            ack[5] = answers
        self.retained = cbor2.dumps(ack, canonical=True)
        if self.client.connected and self.dice.random() < 0.9:
            self.client.on_message(BASE + "ack", self.retained, False)


# ---- what happens


async def measure(world: World) -> None:
    await world.measure(world.dice.randrange(1, 6))


async def be_cut_off_for_long(world: World) -> None:
    go_offline(world)
    await world.measure(world.dice.randrange(20, 60))


def go_online(world: World) -> None:
    world.online = True


def go_offline(world: World) -> None:
    world.online = False
    world.client.drop()


def province_works(world: World) -> None:
    world.take(world.dice.randrange(1, 30))


def lose_what_is_under_way(world: World) -> None:
    """The broker is killed."""
    world.client.drop()
    world.queue.clear()
    if world.dice.random() < 0.3:
        world.retained = None


async def be_killed(world: World) -> None:
    await world.kill()
    world.start()


async def lose_power_while_writing(world: World) -> None:
    world.writes_left = world.dice.randrange(1, 6)
    try:
        await world.measure(3)
        await world.settle()
    except PowerCut:
        pass
    world.writes_left = -1
    await world.kill()
    if world.dead:
        world.dead = False
        # What was being written may be there, or not.
        newest = max(world.path.glob("*.seg"), key=lambda path: path.name)
        torn = world.dice.randrange(0, 8)
        with newest.open("r+b") as file:
            file.truncate(max(world.safe.get(newest.name, 0), newest.stat().st_size - torn))
    world.start()


def copy_the_flash(world: World) -> None:
    world.copies += 1
    world.image = world.folder / f"image{world.copies}"
    shutil.copytree(world.path, world.image)


async def restore_the_flash(world: World) -> None:
    if not world.image or world.restored > 1:
        return
    await world.kill()
    shutil.rmtree(world.path)
    shutil.copytree(world.image, world.path)
    world.restored += 1
    World.safe = {path.name: path.stat().st_size for path in world.path.glob("*.seg")}
    world.start()
    world.destroyed |= set(world.accepted) - world.found()
    world.uncertain |= world.found(fresh=True)
    world.image = None


def back_up_the_province(world: World) -> None:
    world.backup = dict(world.stored)


def restore_the_province(world: World) -> None:
    if world.backup is not None:
        world.forgotten |= world.stored.keys() - world.backup.keys()
        world.stored = dict(world.backup)
        world.pending.clear()


EVENTS = [
    *[measure] * 8,
    *[go_online] * 4,
    *[province_works] * 8,
    *[go_offline] * 2,
    be_cut_off_for_long,
    lose_what_is_under_way,
    be_killed,
    be_killed,
    lose_power_while_writing,
    lose_power_while_writing,
    copy_the_flash,
    restore_the_flash,
    back_up_the_province,
    restore_the_province,
]


async def live(folder: Path, dice: random.Random, sync) -> World:
    world = World(folder, dice)
    sync.append(world)
    world.start()
    for _ in range(120):
        event = dice.choice(EVENTS)
        world.history.append(event.__name__)
        done = event(world)
        if done is not None:
            await done
        await world.settle(dice.choice([1, 5, 40, 250]))
    # At last nothing happens any more.
    world.online = True
    for _ in range(100):
        await world.measure(1 if _ < 20 else 0)
        await world.settle(60)
        world.take(1000)
        if _ % 10 == 9:
            world.client.drop()  # the birth of the next connection is answered with all there is
        await world.settle(150)
    await world.kill()
    return world


def judge(world: World) -> None:
    reports = {key: payload_of(message) for key, message in world.stored.items()}
    times = Counter(number_of(report) for report in reports.values())
    declared = set()
    for (stream, _), report in reports.items():
        for _, kind, detail in report.get(9, []):
            if kind == ids.DROPPED:
                first, last = detail[2]
                declared |= {(detail.get(3, stream), seq) for seq in range(first, last + 1)}
    del times[None]
    # The copy may be of a flash whose reports were sent only later, which it can't know.
    twice = {n: count for n, count in times.items() if count > 1 and n not in world.uncertain}
    assert not twice, f"stored more than once: {twice}"
    for first, last, _, _, stream in world.journal.gaps:
        declared |= {(stream, seq) for seq in range(first, last + 1)}  # by its next report
    # Of a stream that it has left, a device keeps nothing that was stored once.
    declared |= {key for key in world.forgotten if key[0] != world.journal.stream}
    lost = {
        number: keys
        for number, keys in world.accepted.items()
        if number and not (number in times or number in world.destroyed or keys & declared)
    }
    assert not lost, f"lost in silence: {lost}"


@pytest.mark.parametrize("part", range(4))
def test_whatever_happens_each_report_is_stored_once_or_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    worlds: list[World] = []

    def sync(file) -> None:
        world = worlds[-1]
        name = os.path.basename(file.name)
        if world.writes_left > 0:
            world.writes_left -= 1
            world.dead = world.writes_left == 0
        if world.dead:
            raise PowerCut
        world.safe[name] = os.fstat(file.fileno()).st_size

    async def sleep_ms(ms: int) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(interpreter, "sync", sync)
    monkeypatch.setattr(interpreter, "sleep_ms", sleep_ms)
    # The province answers late here, but it does.
    monkeypatch.setattr(delivery, "_ACK_MS", 10**9)
    monkeypatch.setattr(interpreter, "log", lambda *words: None)
    monkeypatch.setattr(cpython, "sync_directory", lambda path: None)
    World.safe = {}
    base = int(os.environ.get("DESALINK_SEED", part * 1000))
    for seed in range(base, base + LIVES // 4):
        print(f"DESALINK_SEED={seed}")
        folder = tmp_path / str(seed)
        folder.mkdir()
        World.safe = {}
        dice = random.Random(seed)
        monkeypatch.setattr(
            interpreter, "random_below", lambda n, dice=dice: dice.randrange(max(n, 1))
        )
        world = asyncio.run(live(folder, dice, worlds))
        judge(world)
