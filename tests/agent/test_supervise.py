"""The supervisor, and what keeps two agents from one state folder."""

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.device import interpreter
from agent.supervise import Supervisor
from tests import support


class Parts:
    """Every part of an agent: does nothing, or what a test wants."""

    def __init__(self, **own: Any) -> None:
        self.up_s = 0
        self.fed = 0
        self.beat = 0
        self.wake = asyncio.Event()
        self.rows: list[bytes] = []
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    def up(self) -> int:
        self.up_s += 1
        return self.up_s

    def up_ms(self) -> int:
        return self.up() * 1000

    def feed_watchdog(self) -> None:
        self.fed += 1

    async def never(self, *_: Any) -> None:
        await asyncio.sleep(3600)

    async def at_once(self, *_: Any) -> tuple[()]:
        return ()

    run = next = keep_network = never
    round = close = drain = leave = at_once


def _supervisor(parts: Parts, journal: Parts | None = None) -> Supervisor:
    """An agent of these parts; only a journal closes without a coroutine."""
    journal = journal or Parts(close=lambda: None)
    settings = {
        "cadence.round_s": 10,
        "cadence.report_samples": 5,
        "cadence.quiet_samples": 0,
        "clock.source": "auto",
        "clock.ntp": [],
        "broker.resolvers": [],
    }
    agent = Supervisor(parts, parts, journal, parts, parts, parts, parts, parts, settings)
    agent.save_alive = lambda: None  # type: ignore[method-assign]
    return agent


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep_ms(ms: int) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(interpreter, "sleep_ms", sleep_ms)


@pytest.mark.parametrize(("part", "seconds"), [("round", 10), ("next", 60), ("run", 150)])
def test_a_part_that_always_fails_ends_the_agent_with_a_cause(part: str, seconds: int) -> None:
    """A heap that is too small would else fill the console with the same error for ever."""

    async def fail() -> None:
        parts.up_s += seconds
        raise MemoryError

    parts = Parts(**{part: fail})
    said = asyncio.run(_supervisor(parts).run())
    assert said == "MemoryError, 12 times in a row: restart it"


def test_a_last_report_that_fails_keeps_nothing_else_from_its_end() -> None:
    """A heap that is too small for the rounds is too small for the last report as well."""
    closed = []

    async def fail() -> None:
        raise MemoryError

    async def close() -> None:
        closed.append("report")
        raise MemoryError

    journal = Parts(close=lambda: closed.append("journal"))
    said = asyncio.run(_supervisor(Parts(round=fail, close=close), journal).run())
    assert said == "MemoryError, 12 times in a row: restart it"
    assert closed == ["report", "journal"]


@pytest.mark.parametrize("beats", [True, False])
def test_the_watchdog_is_fed_only_while_the_session_is_not_stuck(beats: bool) -> None:
    parts = Parts(up=lambda: 10_000, beat=9_990 if beats else 9_000)

    async def scenario() -> None:
        agent = _supervisor(parts)
        running = asyncio.create_task(agent.run())
        for _ in range(50):
            await asyncio.sleep(0)
        agent.stop()
        assert await running is None

    asyncio.run(scenario())
    assert bool(parts.fed) is beats


_HOLD = """
import sys
sys.path.insert(0, %r)
from boards.%s.board import Board
board = Board(%r)
print(board.lock())
sys.stdin.readline()
"""


@pytest.mark.parametrize("first", ["cpython", "micropython"])
@pytest.mark.parametrize("second", ["cpython", "micropython"])
def test_a_state_folder_has_one_agent_and_a_killed_one_leaves_no_lock(
    tmp_path: Path, first: str, second: str
) -> None:
    def start(which: str, folder: Path) -> SimpleNamespace:
        family = "_linux" if which == "cpython" else "unix"
        script = tmp_path / f"{which}.py"
        script.write_text(_HOLD % (str(support.ROOT), family, str(folder)))
        command = [sys.executable, "-u"] if which == "cpython" else [support.micropython()]
        process = subprocess.Popen(
            [*command, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        return SimpleNamespace(process=process, said=process.stdout.readline().strip())

    def end(*started: SimpleNamespace) -> None:
        for one in started:
            one.process.kill()
            one.process.communicate()

    state, other = tmp_path / "state", tmp_path / "other"
    state.mkdir()
    other.mkdir()
    (tmp_path / "link").symlink_to(state)
    one = start(first, state)
    two = start(second, tmp_path / "link")
    three = start(second, other)
    end(two, three)
    assert (one.said, two.said, three.said) == ("None", "False", "None")
    end(one)
    four = start(second, state)
    end(four)
    assert four.said == "None"
