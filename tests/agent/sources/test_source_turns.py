"""Sources that take turns: one at a time and there for their looks only, each costs its own."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

import agent.sources
from agent import start
from agent.device import interpreter
from agent.measure import sampler as sampler_module
from agent.sources import source, turns
from agent.wire import ids
from tests.agent.jumping import JumpingLoop

NAMES = ("one", "two", "three", "four", "five", "six", "seven")

MODULE = """\
from agent.sources import source
from tests.agent.sources import test_source_turns as lab

KEYS = "usage.{name}.word str - 1 9"


class Scripted(source.Source):
    def __init__(self, word, on_reset):
        super().__init__("usage.{name}", on_reset)
        self.word = word
        self.looks = 0

    def lasts(self):
        return ((self, ("looks",)),)

    async def poll(self, levels):
        self.looks += 1
        await lab.look(self, levels)


def make(config, clock, on_reset):
    return Scripted(config["usage.{name}.word"], on_reset)
"""

Look = Callable[[source.Source, dict], Awaitable[None]]
looks: dict[str, Look] = {}  # by a source's name, what it does when it looks
order: list[str] = []  # of those that looked


async def look(which: source.Source, levels: dict) -> None:
    name = which.name.removeprefix("usage.")
    order.append(name)
    await looks[name](which, levels)


def telling(*values: tuple[int, object], after: float = 0) -> Look:
    async def do(which: source.Source, levels: dict) -> None:
        await asyncio.sleep(after)
        levels.update(values)

    return do


async def hanging(which: source.Source, levels: dict) -> None:
    await asyncio.sleep(60)
    levels[ids.LEASES] = 1


def loaded() -> set[str]:
    return {name for name in NAMES if f"agent.sources.{name}" in sys.modules}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of sources to be loaded; afterwards all of agent.sources is as it was."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(MODULE.format(name=name))
    before = {name: sys.modules[name] for name in sys.modules if name.startswith("agent.sources.")}
    monkeypatch.setattr(agent.sources, "__path__", [*agent.sources.__path__, str(tmp_path)])
    # A device makes room after each look; the heap of the tests is a hundred times as large.
    monkeypatch.setattr(gc, "collect", lambda: 0)
    looks.clear()
    order.clear()
    yield
    for name, module in before.items():
        sys.modules[name] = module
        setattr(agent.sources, name.rpartition(".")[2], module)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[JumpingLoop]:
    loop = JumpingLoop()
    monkeypatch.setattr(interpreter, "ticks_ms", lambda: int(loop.time() * 1000))
    yield loop
    loop.close()


def sampling(
    busy: asyncio.Lock | None = None, sample_s: int = 60
) -> tuple[sampler_module.Sampler, turns.Turns]:
    """A sampler with a source of each name in `looks`."""
    sampler = sampler_module.Sampler(sample_s, None, None, None, None, None)
    config: dict[str, object] = {f"usage.{name}.word": f"{name} word" for name in looks}
    config |= {"usage": [f"agent.sources.{name}" for name in looks], "cadence.sample_s": sample_s}
    taken = turns.Turns(config, None, sampler, busy or asyncio.Lock())
    sampler.sources = (taken,)
    assert loaded() == set()
    return sampler, taken


def run(loop: JumpingLoop, *steps: int | str | dict[str, Look], sample_s: int = 60) -> list[dict]:
    """The rows of a sampler with a source of each name in `looks`. "sample" and "observe" are done
    when so many seconds have passed as a number before them says; a dict changes what sources
    do."""

    async def main() -> list[dict]:
        sampler, taken = sampling(sample_s=sample_s)
        rows: list[dict] = []
        for step in steps:
            if isinstance(step, int):
                await asyncio.sleep(step)
            elif isinstance(step, dict):
                looks.update(step)
            elif step == "sample":
                rows.append({})
                await sampler.read(rows[-1])
            else:
                taken.observe()
                await taken._task
        assert loaded() == set()
        return rows

    return loop.run_until_complete(main())


def test_one_looks_at_a_time_and_none_is_loaded_meanwhile(loop: JumpingLoop):
    async def do(which: source.Source, levels: dict) -> None:
        name = which.name.removeprefix("usage.")
        assert loaded() == {name}
        await asyncio.sleep(0.5)
        assert loaded() == {name}
        levels[ids.LEASES] = 1

    looks.update(dict.fromkeys(NAMES, do))
    assert run(loop, "sample", 30, "observe", 10, "observe", 20, "sample") == [{ids.LEASES: 1}] * 2
    assert order == [*NAMES] * 3


def test_a_source_finds_its_settings_and_what_lasts_at_every_look(loop: JumpingLoop):
    async def do(which: source.Source, levels: dict) -> None:
        assert which.word == "two word"  # type: ignore[attr-defined]
        levels[ids.CLIENTS] = which.looks  # type: ignore[attr-defined]
        which.octets(ids.BYTES_DOWN, 1000 * which.looks**2, True)  # type: ignore[attr-defined]
        which.mean(ids.DISH_RTT, which.looks)  # type: ignore[attr-defined]

    looks.update(one=telling(), two=do)
    assert run(loop, "sample", 30, "observe", 30, "sample", 60, "sample") == [
        {ids.CLIENTS: 1, ids.CLIENTS_PEAK: 1, ids.DISH_RTT: 1},
        {ids.CLIENTS: 3, ids.CLIENTS_PEAK: 3, ids.DISH_RTT: 3, ids.BYTES_DOWN: 8000},
        {ids.CLIENTS: 4, ids.CLIENTS_PEAK: 4, ids.DISH_RTT: 4, ids.BYTES_DOWN: 7000},
    ]


def test_the_later_one_in_the_list_counts_whenever_it_looked(loop: JumpingLoop):
    looks.update(one=hanging, two=telling((ids.LEASES, 2)), three=telling((ids.LEASES, 3)))
    healed = {"one": telling((ids.LEASES, 1), (ids.CLIENTS, 1))}
    rows = run(loop, "sample", 60, healed, "sample", 60, "sample")
    assert [row[ids.LEASES] for row in rows] == [3, 3, 3]
    assert [row.get(ids.CLIENTS) for row in rows] == [None, 1, 1]
    # Who hung waits for the others, until it has answered.
    assert order == ["one", "two", "three", "two", "three", "one", "one", "two", "three"]


def test_six_that_hang_cost_their_own_and_leave_time_for_the_seventh(loop: JumpingLoop):
    looks.update(dict.fromkeys(NAMES, hanging))
    looks["seven"] = telling((ids.CLIENTS, 7), after=2)
    rows = run(loop, "sample", 30, "sample")
    assert rows == [{ids.CLIENTS: 7, ids.CLIENTS_PEAK: 7}] * 2
    assert loop.time() <= 30 + 2 * 30


def test_one_that_was_not_asked_is_null_and_tells_later_what_it_has_counted(loop: JumpingLoop):
    async def count(which: source.Source, levels: dict) -> None:
        levels[ids.CLIENTS] = 1
        which.count(ids.BYTES_UP, 100)

    async def hanging_on(which: source.Source, levels: dict) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)  # it takes its time to end

    looks.update(dict.fromkeys(NAMES[:6], telling()), seven=count)
    hang = dict.fromkeys(NAMES[:6], hanging_on)
    rows = run(loop, "observe", 30, hang, "sample", 30, "sample")
    assert rows[0] == {}
    assert rows[1] == {ids.CLIENTS: 1, ids.CLIENTS_PEAK: 1, ids.BYTES_UP: 200}


def test_nobody_waits_for_ever_because_others_hang(loop: JumpingLoop):
    async def fail(which: source.Source, levels: dict) -> None:
        raise OSError

    async def main() -> list[dict]:
        busy = asyncio.Lock()
        await busy.acquire()  # so that each waits before its look, too
        sampler, _ = sampling(busy)
        rows: list[dict] = []
        for _ in range(6):
            rows.append({})
            began = loop.time()
            await sampler.read(rows[-1])
            assert loop.time() - began < sampler.wait_ms / 1000
            looks.update(dict.fromkeys(NAMES, hanging))
            looks["seven"] = telling((ids.CLIENTS, 7), after=4)
            await asyncio.sleep(25)
        return rows

    looks.update(dict.fromkeys(NAMES, telling()), seven=fail)
    told = {ids.CLIENTS: 7, ids.CLIENTS_PEAK: 7}
    assert loop.run_until_complete(main())[3:] == [told] * 3


def test_whoever_is_asked_last_has_its_time_as_well(loop: JumpingLoop):
    """With samples of ten seconds, one that hangs leaves half a second to begin in."""
    looks.update(one=hanging, two=hanging)
    healed = {"two": telling((ids.CLIENTS, 7), after=2)}
    assert run(loop, "sample", 10, healed, "sample", sample_s=10)[1] == {
        ids.CLIENTS: 7,
        ids.CLIENTS_PEAK: 7,
    }


@pytest.mark.parametrize("lie", [None, True, 1.5, "7", b"7", [7], 1 << 40, -1])
def test_what_is_no_number_costs_its_own_columns_only(lie: object, loop: JumpingLoop):
    looks.update(one=telling((ids.LEASES, 1)), two=telling((ids.LEASES, lie), (ids.DISH_UP, 5)))
    assert run(loop, "sample") == [{ids.LEASES: 1, ids.DISH_UP: 5}]


@pytest.mark.parametrize("error", [MemoryError(), ImportError(), ValueError("02:00:00:00:00:01")])
def test_one_that_fails_is_let_go_and_says_nothing_of_users(
    error: Exception, loop: JumpingLoop, capsys: pytest.CaptureFixture[str]
):
    async def do(which: source.Source, levels: dict) -> None:
        raise error

    looks.update(one=do, two=telling((ids.DISH_UP, 2)))
    rows = run(loop, "sample", 60, {"one": telling((ids.LEASES, 1))}, "sample")
    assert rows == [{ids.DISH_UP: 2}, {ids.DISH_UP: 2, ids.LEASES: 1}]
    said = capsys.readouterr().err
    assert f"usage.one: {type(error).__name__}" in said and "02:00" not in said


def test_one_whose_code_can_not_be_loaded_costs_its_own_columns_only(
    loop: JumpingLoop, tmp_path: Path
):
    looks.update(one=telling((ids.LEASES, 1)), two=telling((ids.DISH_UP, 5)))

    async def main() -> list[dict]:
        sampler, _ = sampling()
        (tmp_path / "one.py").rename(tmp_path / "gone")
        rows: list[dict] = [{}, {}]
        await sampler.read(rows[0])
        (tmp_path / "gone").rename(tmp_path / "one.py")
        await asyncio.sleep(60)
        await sampler.read(rows[1])
        return rows

    rows = loop.run_until_complete(main())
    assert rows == [{ids.DISH_UP: 5}, {ids.DISH_UP: 5, ids.LEASES: 1}]


def test_code_that_is_replaced_meanwhile_gets_no_values_of_other_keys(
    loop: JumpingLoop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    looks.update(one=telling((ids.LEASES, 1)), two=telling((ids.DISH_UP, 5)))
    code = MODULE.replace('KEYS = "', 'KEYS = "usage.{name}.more int 1 1 9\\n')

    async def main() -> list[dict]:
        sampler, _ = sampling()
        rows: list[dict] = [{}, {}]
        await sampler.read(rows[0])
        (tmp_path / "one.py").write_text(code.format(name="one"))
        await asyncio.sleep(60)
        await sampler.read(rows[1])
        return rows

    rows = loop.run_until_complete(main())
    assert rows == [{ids.DISH_UP: 5, ids.LEASES: 1}, {ids.DISH_UP: 5}]
    assert "usage.one: its code was replaced: restart the agent" in capsys.readouterr().err


def test_nothing_is_loaded_while_round_trip_times_are_taken(loop: JumpingLoop):
    async def main() -> None:
        busy = asyncio.Lock()
        _, taken = sampling(busy)
        async with busy:
            task = asyncio.create_task(taken.sample({}))
            await asyncio.sleep(1)
            assert order == []
        await task
        assert order == ["one"]
        async with busy:  # for good
            await asyncio.sleep(60)
            await taken.sample({})
        assert order == ["one", "one"]

    looks["one"] = telling()
    loop.run_until_complete(main())


def test_only_several_take_turns_and_only_from_mpy_files():
    class Module:
        def __init__(self, file: str) -> None:
            self.__name__ = "agent.sources.one"
            self.__file__ = file

    for file, count in (("/x/one.py", 2), ("/rom/one.mpy", 1)):
        given = [Module(file)] * count
        assert start.take_turns(given) is None
        assert [type(module) for module in given] == [Module] * count
    several = [Module("/rom/one.mpy")] * 2
    assert start.take_turns(several) is turns
    assert several == ["agent.sources.one"] * 2
