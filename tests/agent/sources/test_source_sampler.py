"""The sampler with sources of every temper: each costs its own columns only."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent.measure import sampler as module
from agent.wire import ids
from host_tools.wire import vocabulary
from tests.agent.jumping import JumpingLoop

SIGNED_UNITS = {"dBm", "dB", "degC"}


class Source:
    """Does what `do(row)` says at each sample; `looks` counts them."""

    def __init__(self, do: Callable[[dict], Awaitable[None]]) -> None:
        self._do = do
        self.looks = 0

    async def sample(self, row: dict) -> None:
        self.looks += 1
        await self._do(row)


def telling(*values: tuple[int, object], after: float = 0) -> Source:
    async def do(row: dict) -> None:
        await asyncio.sleep(after)
        row.update(values)

    return Source(do)


def read(*sources: Source, times: int = 1, pause: float = 0) -> list[dict]:
    async def run() -> list[dict]:
        sampler = module.Sampler(60, None, None, None, None, None)
        sampler.sources = sources
        sampler.wait_ms = 100
        rows: list[dict] = []
        for _ in range(times):
            rows.append({})
            await sampler.read(rows[-1])
            await asyncio.sleep(pause)
        return rows

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(run())


def test_the_later_one_in_the_list_counts_whoever_is_first_to_answer():
    slow = telling((ids.CLIENTS, 1), (ids.LEASES, 1), after=0.05)
    quick = telling((ids.CLIENTS, 2))
    assert read(slow, quick) == [{ids.CLIENTS: 2, ids.LEASES: 1}]
    assert read(quick, slow) == [{ids.CLIENTS: 1, ids.LEASES: 1}]


def test_all_are_asked_at_once():
    present = 0
    together = asyncio.Event()

    async def meet(row: dict) -> None:
        nonlocal present
        present += 1
        if present == 3:
            together.set()
        await together.wait()
        row[ids.CLIENTS] = present

    assert read(*[Source(meet) for _ in range(3)]) == [{ids.CLIENTS: 3}]


def test_one_that_raises_costs_its_own_and_says_nothing_of_users(
    capsys: pytest.CaptureFixture[str],
):
    async def do(row: dict) -> None:
        raise ValueError("02:00:00:00:00:01")

    assert read(telling((ids.CLIENTS, 1)), Source(do)) == [{ids.CLIENTS: 1}]
    said = capsys.readouterr().err
    assert "Source ValueError" in said and "02:00" not in said


def test_one_that_is_late_writes_into_no_sample_and_is_not_asked_twice():
    alive = 0

    async def stubborn(row: dict) -> None:
        nonlocal alive
        alive += 1
        assert alive == 1, "two at once"
        row[ids.CLIENTS] = 1
        for _ in range(6):
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                pass  # will not be stopped
        row[ids.LEASES] = 1
        alive -= 1

    source = Source(stubborn)
    rows = read(source, telling((ids.SIGNAL, -60)), times=3)
    assert rows == [{ids.SIGNAL: -60}] * 3
    assert source.looks < 3


def test_one_that_hangs_once_is_asked_again():
    async def do(row: dict) -> None:
        if source.looks == 1:
            await asyncio.sleep(60)
        row[ids.CLIENTS] = 7

    source = Source(do)
    assert read(source, times=2) == [{}, {ids.CLIENTS: 7}]


@pytest.mark.parametrize(
    "value", [None, True, False, 1.5, "7", b"7", [7], 1 << 40, -(1 << 40), float("nan")]
)
def test_what_is_no_number_or_too_large_is_null(value: object):
    assert read(telling((ids.CLIENTS, value), (ids.LTE_SINR, value), (ids.LEASES, 0))) == [
        {ids.LEASES: 0}
    ]


def test_only_what_can_be_negative_is():
    for metric in vocabulary.METRICS:
        expected = {metric.id: -1} if metric.unit in SIGNED_UNITS else {}
        assert read(telling((metric.id, -1))) == [expected], metric.name
        assert read(telling((metric.id, 1 << 39))) == [{metric.id: 1 << 39}], metric.name
