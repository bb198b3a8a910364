"""Faults in the agent's own tasks: wherever memory or the system fails, the agent recovers.

An exception is raised at every line that waits, calls or allocates, one after the other, while the
agent measures and delivers. After each fault what is measured must still reach the province.
"""

import ast
import asyncio
import contextlib
import gc
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import cbor2
import pytest

from agent import supervise
from agent.device import cpython, interpreter
from agent.device.clock import Clock
from agent.journal.journal import Journal
from agent.measure.report import Reporter
from agent.measure.sampler import Sampler
from agent.net.mqtt import Client
from agent.province.birth import BirthMessage
from agent.province.delivery import Delivery
from agent.province.session import Session
from agent.supervise import Supervisor
from agent.wire import ed25519, ids
from tests.agent.jumping import JumpingLoop
from tests.support import ROOT

BASE = "desa/1/6403/6403112001-1/"
FILES = [
    *(f"agent/province/{name}.py" for name in ("session", "delivery", "birth", "acks")),
    "agent/net/mqtt.py",
    "agent/net/packet.py",
    "agent/net/tasks.py",
    "agent/measure/report.py",
    "agent/measure/sampler.py",
    "agent/journal/journal.py",
    "agent/journal/segment.py",
    "agent/supervise.py",
]
ALLOCATES = (
    ast.Await, ast.Call, ast.List, ast.Dict, ast.Tuple, ast.BinOp, ast.ListComp, ast.Raise,
)  # fmt: skip


class Province:
    """A broker and the province behind it: acknowledges what it has got."""

    def __init__(self) -> None:
        self.stored: dict[bytes, set[int]] = {}
        self.rows = 0
        self._seen = False
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """End every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError, EOFError):
            while True:
                kind = (await reader.readexactly(1))[0]
                length = shift = 0
                while True:
                    byte = (await reader.readexactly(1))[0]
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                self._answer(kind, await reader.readexactly(length), writer)

    def _answer(self, kind: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        if kind == 0x10:
            writer.write(bytes((0x20, 2, self._seen, 0)))
            self._seen = True
        elif kind == 0x82:
            writer.write(b"\x90\x03" + body[:2] + b"\0")
        elif kind == 0xC0:
            writer.write(b"\xd0\0")
        elif kind & 0xF0 == 0x30:
            end = 2 + struct.unpack(">H", body[:2])[0]
            writer.write(b"\x40\2" + body[end : end + 2])
            self._take(body[2:end].decode(), body[end + 2 :], writer)

    def _take(self, topic: str, message: bytes, writer: asyncio.StreamWriter) -> None:
        word = topic.removeprefix(BASE)
        if word not in ("birth", "report"):
            return
        content = cbor2.loads(cbor2.loads(message).value[2])
        stream = content[1]
        held = self.stored.setdefault(stream, set())
        answers = {}
        if word == "birth":
            answers = {5: [content[2], content[3]]}
        elif content[2] not in held:
            held.add(content[2])
            self.rows += content.get(11, 5)
        last = 0
        while last + 1 in held:
            last += 1
        more = [[seq, seq] for seq in sorted(held) if seq > last][:16]
        ack = cbor2.dumps({1: stream, 2: last, 3: more, 4: 1_800_000_000} | answers)
        name = (BASE + "ack").encode()
        body = struct.pack(">H", len(name)) + name + ack
        size = bytes((len(body) & 0x7F | 0x80, len(body) >> 7))  # two bytes are a legal length
        writer.write(b"\x30" + size + body)


class Signer(ed25519.Signer):
    def __init__(self) -> None:
        self.public = bytes(32)

    async def sign_async(self, message: bytes) -> bytes:
        await asyncio.sleep(0)
        return bytes(64)


class Board:
    """As far as the agent asks one; `fed`: how often the watchdog was."""

    fed = 0

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None

    def unix_time(self) -> int:
        return 1_800_000_000

    async def keep_network(self) -> None:
        pass

    def feed_watchdog(self) -> None:
        self.fed += 1


class Link:
    """A link that is up."""

    def __init__(self) -> None:
        self.busy = asyncio.Lock()

    async def round(self) -> tuple[()]:
        return ()

    def put(self, row: dict[int, int]) -> None:
        row[ids.STATE] = ids.UP


class Agent:
    def __init__(self, folder: Path, port: int) -> None:
        self.board = Board()
        clock = Clock(self.board)
        self.journal = Journal(str(folder / "journal"), 65536, 8192, 2048)
        self.journal.open()
        link = Link()
        self.reporter = Reporter(self.journal, clock, Signer(), BASE + "report", link.busy)
        client = Client("127.0.0.1", port, "6403112001-1", keepalive_s=300, ack_timeout_s=60)
        self.session = Session(BASE, clock, client, 2)
        BirthMessage(self.session, self.journal, clock, Signer(), {})
        self.delivery = Delivery(self.session, self.journal, clock, self.reporter)
        sampler = Sampler(1, self.board, clock, self.journal, link, self.reporter)
        settings = {
            "cadence.round_s": 1,
            "cadence.report_samples": 2,
            "cadence.quiet_samples": 0,
            "clock.source": "system",
            "broker.resolvers": [],
        }
        self.supervisor = Supervisor(
            self.board, clock, self.journal, link, self.reporter, sampler, self.session,
            self.delivery, settings,
        )  # fmt: skip


class Injector:
    """Raises an exception at one line, once; or notes which lines run."""

    def __init__(self) -> None:
        self.lines = {str(ROOT / name): _allocating(ROOT / name) for name in FILES}
        self.seen: set[tuple[str, int]] = set()
        self.point: tuple[str, int] | None = None
        self.error: Exception | None = None
        self.fired = False

    def on_call(self, frame: FrameType, event: str, _: Any) -> Any:
        return self.on_line if frame.f_code.co_filename in self.lines else None

    def on_line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            point = frame.f_code.co_filename, frame.f_lineno
            if self.point is None:
                if point[1] in self.lines[point[0]]:
                    self.seen.add(point)
            elif point == self.point and not self.fired:
                self.fired = True
                assert self.error
                raise self.error
        return self.on_line

    def arm(self, point: tuple[str, int] | None, error: Exception | None = None) -> None:
        self.point, self.error, self.fired = point, error, False
        sys.settrace(self.on_call)


def _allocating(path: Path) -> set[int]:
    """The first lines of the statements that can fail for lack of memory, or wait."""
    lines = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.stmt) or isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Try | ast.Import
        ):
            continue
        parts = [node]
        if isinstance(node, ast.If | ast.While):
            parts = [node.test]
        elif isinstance(node, ast.For | ast.AsyncFor):
            parts = [node.iter]
        elif isinstance(node, ast.With | ast.AsyncWith):
            parts = [item.context_expr for item in node.items]
        if any(isinstance(inner, ALLOCATES) for part in parts for inner in ast.walk(part)):
            lines.add(node.lineno)
    return lines


async def _until(done: Callable[[], bool], seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not done():
        if loop.time() > end:
            return False
        await asyncio.sleep(0.3)
    return True


async def _live(folder: Path, part: int, parts: int) -> list[str]:
    province = Province()
    agent = Agent(folder, await province.start())
    run = asyncio.create_task(agent.supervisor.run())
    injector = Injector()

    async def recovers() -> bool:
        """What is measured from now on reaches the province, and nothing waits."""
        rows = province.rows + 4
        return await _until(
            lambda: province.rows >= rows and agent.journal.unstored_count <= 2 or run.done(), 4500
        )

    failures = []
    hit = 0
    try:
        assert await _until(lambda: agent.session.connected, 750)
        injector.arm(None)
        for _ in range(3):
            assert await recovers()
            province.cut()
            await recovers()
        points = sorted(injector.seen)[part::parts]
        for path, line in points:
            for error in (MemoryError("injected"), OSError(5, "injected")):
                injector.arm((path, line), error)
                # Some lines run at the begin of a connection only.
                if not await _until(lambda: injector.fired, 5):
                    province.cut()
                    await _until(lambda: injector.fired, 15)
                hit += injector.fired
                if injector.fired and (not await recovers() or run.done()):
                    failures.append(f"{Path(path).relative_to(ROOT)}:{line} {error!r}")
                    return failures
        fed = agent.board.fed
        assert await _until(lambda: agent.board.fed > fed, 750)
    finally:
        sys.settrace(None)
        agent.supervisor.stop()
        await asyncio.wait([run], timeout=1500)
        province.cut()
    print(f"{hit} faults at {len(points)} lines")
    assert hit > 1.7 * len(points)
    return failures


@pytest.mark.parametrize("part", range(4))
def test_the_agent_recovers_from_a_fault_at_any_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(
        interpreter, "ticks_ms", lambda: int(asyncio.get_running_loop().time() * 1000)
    )
    dice = random.Random(part)
    monkeypatch.setattr(interpreter, "random_below", lambda n: dice.randrange(max(n, 1)))
    monkeypatch.setattr(interpreter, "sync", lambda file: None)
    monkeypatch.setattr(interpreter, "log", lambda *words: None)
    monkeypatch.setattr(cpython, "sync_directory", lambda path: None)
    monkeypatch.setattr(supervise, "_STEADY_S", 1)
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(_live(tmp_path, part, 4)) == []
    gc.collect()
