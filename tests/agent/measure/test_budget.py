"""The month's budget: never exceeded, never under-told, through power cuts and unknown clocks."""

import asyncio
import binascii
import json
import struct
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.link.outages import Outages
from agent.link.quality import Quality
from agent.measure import budget
from agent.net.traffic import own
from agent.wire import ids
from host_tools import wire
from tests import support
from tests.agent.sources.source_lab import INTERPRETERS, Request, http, response
from tests.bench.relay import Relay
from tests.sim.run import Device, Site, life
from tests.sim.world import begin

MB = 1_000_000
WITA = timezone(timedelta(hours=8))
JANUARY = int(datetime(2027, 1, 1, tzinfo=WITA).timestamp())
FEBRUARY = int(datetime(2027, 2, 1, tzinfo=WITA).timestamp())
DAY = 86400

both = pytest.mark.parametrize("interpreter", INTERPRETERS)


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_months_are_those_of_the_calendar_in_wita(unix: int):
    date = datetime.fromtimestamp(unix, WITA)
    assert budget.month_of(unix) == date.year * 12 + date.month - 1


# ---- months of use, on both interpreters


def story(
    interpreter: str, folder: Path, seed: int, limit: int, months: int, cuts: float
) -> dict[str, Any]:
    script = Path(__file__).with_name("budget_story.py")
    arguments = [folder, seed, limit, months, cuts]
    said = support.run_on(interpreter, script, *arguments, check=True).stdout
    return json.loads(said)


@pytest.mark.parametrize(
    ("interpreter", "seed"), [(name, seed) for seed, name in enumerate(2 * INTERPRETERS)]
)
def test_no_month_exceeds_its_budget_whatever_the_power_does(
    interpreter: str, seed: int, tmp_path: Path
):
    limit = 30 * MB  # less than half of what would be used without
    told = story(interpreter, tmp_path, seed, limit, 3, 3)
    assert told["lives"] > 100 and told["told"] > 500
    assert max(told["sent"].values()) <= limit
    assert told["too_little"] == 0
    # It is used all the same, and each month is reported from.
    months = sorted(told["sent"])[:3]
    assert min(told["sent"][month] for month in months) > 0.8 * limit, told
    assert min(told["reports"][month] for month in months) > 1000
    assert told["silent"]
    assert told["writes"] <= 60  # a day, with several power cuts in it


@both
@pytest.mark.parametrize("limit", [0, 50 * MB, 500 * MB])
def test_without_power_cuts_what_is_told_is_what_passed(
    interpreter: str, limit: int, tmp_path: Path
):
    told = story(interpreter, tmp_path, 1, limit, 1, 0)
    said, truth = told["last"]
    assert truth <= said <= truth + 20_000
    assert not told["silent"]
    assert told["writes"] <= 40


# ---- one by one


class Clock:
    def __init__(self, now: int | None) -> None:
        self.unix: int | None = now
        self.passed = 0

    def up(self) -> int:
        return self.passed

    def now(self) -> int | None:
        return self.unix


class Link:
    def __init__(self) -> None:
        self.outages = Outages()
        self.quality = Quality(0, 0)
        self.rounds = 0

    async def round(self) -> tuple[()]:
        self.rounds += 1
        return ()


class Thing:
    """A sampler, a delivery, a client or a reporter, as far as the budget knows them."""

    least = 1
    hold = connected = False
    probe = None
    rows = ()

    async def close(self) -> None:
        self.connected = False


class Device_:
    """A budget and what it governs."""

    def __init__(self, folder: Path, limit: int, now: int | None = JANUARY) -> None:
        own.total = own.most = 0
        own.beyond = None
        self.clock = Clock(now)
        self.link, self.sampler, self.delivery, self.client = Link(), Thing(), Thing(), Thing()
        self.budget = budget.Budget(
            str(folder),
            limit,
            self.clock,
            self.link,
            Thing(),
            self.sampler,
            self.delivery,
            self.client,
        )

    def rounds(self, count: int = 1) -> int:
        """How many of so many rounds were made."""
        before = self.link.rounds
        for _ in range(count):
            asyncio.run(self.budget.round())
        return self.link.rounds - before

    def at(self, now: int | None) -> "Device_":
        self.clock.unix = now
        self.rounds()
        return self

    def spend(self, size: int) -> "Device_":
        """Spend so much in small pieces, over as many rounds as it needs."""
        for number in range(size // 1000):
            own.add(1000)
            if number % 50 == 49:
                self.rounds()
        return self


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    yield
    own.total = own.most = 0
    own.beyond = None


def test_the_nearer_the_end_the_less_is_asked(tmp_path: Path):
    device = Device_(tmp_path, 100 * MB)
    assert device.rounds(60) == 60
    assert device.budget.allows(MB, 3 * MB)
    device.spend(80 * MB)
    assert not device.budget.allows(MB, 3 * MB)  # no throughput any more
    assert device.rounds(60) == 60 and device.sampler.least == 1
    device.spend(10 * MB)
    assert device.rounds(60) == 10 and device.sampler.least == 5
    device.spend(7 * MB)
    assert device.rounds(60) == 2 and device.sampler.least == 60
    device.client.connected = True
    device.spend(3 * MB - 65_000)
    assert device.delivery.hold  # at once, not with the next round
    assert device.rounds(60) == 0
    assert not device.client.connected
    # What was under way may end, and not one byte beyond the limit.
    device.spend(64_000)
    with pytest.raises(OSError, match="budget"):
        own.add(1001)
    assert device.budget.used == 100 * MB - 1000
    # The month turns, and all is as before.
    device.at(FEBRUARY)
    assert device.rounds(60) == 60 and device.sampler.least == 1
    assert not device.delivery.hold and device.budget.used < 70_000


def test_silence_ends_what_is_known_of_the_link(tmp_path: Path):
    device = Device_(tmp_path, 10 * MB)
    device.rounds()
    for at in (100, 110):
        device.link.outages.feed(at, ids.DOWN_PROVIDER)
    device.link.quality.jitter = 5
    device.spend(9 * MB)
    assert device.link.outages.state == ids.DOWN_PROVIDER
    for _ in range(940):
        own.add(1000)
    device.clock.passed = 150
    # It must not look as if it had lasted until the month turned.
    events = asyncio.run(device.budget.round())
    assert events == [(ids.OUTAGE_ENDED, 150, {1: ids.DOWN_PROVIDER, 3: 50})]
    assert device.link.outages.state == ids.UNKNOWN and device.link.quality.jitter is None
    assert list(asyncio.run(device.budget.round())) == []


def test_a_throughput_sample_never_touches_what_reports_need(tmp_path: Path):
    device = Device_(tmp_path, 10 * MB)
    device.rounds()
    assert device.budget.allows(MB, 3 * MB)
    assert not device.budget.allows(3 * MB, 9 * MB)
    assert Device_(tmp_path / "none", 0).budget.allows(9 * MB, 99 * MB)


def test_what_was_spent_while_the_month_was_unknown_counts_in_both(tmp_path: Path):
    device = Device_(tmp_path, 100 * MB)
    device.rounds()
    device.spend(20 * MB).rounds()
    for _ in range(3):  # the power goes again before the time is known
        device = Device_(tmp_path, 100 * MB, None)
        device.rounds()
        device.spend(10 * MB).rounds()
    assert 50 * MB <= device.budget.used <= 51 * MB
    device.at(FEBRUARY)
    assert 30 * MB <= device.budget.used <= 31 * MB


def test_a_clock_that_was_wrong_does_not_bring_back_what_was_spent(tmp_path: Path):
    device = Device_(tmp_path, 100 * MB)
    device.rounds()
    device.spend(40 * MB).rounds()
    device.at(JANUARY + 400 * DAY).spend(5 * MB).at(JANUARY + 900 * DAY).spend(5 * MB)
    device.at(JANUARY + DAY)
    assert device.budget.used >= 50 * MB
    # And seconds around midnight change nothing.
    device.at(FEBRUARY).at(FEBRUARY - 1)
    assert device.budget.used >= 50 * MB
    device.at(FEBRUARY + 1)
    assert device.budget.used < MB


def test_silent_without_a_clock_it_comes_back_when_a_month_must_have_passed(tmp_path: Path):
    device = Device_(tmp_path, 10 * MB)
    device.rounds()
    device.spend(10 * MB - 60_000)
    days = 0
    for days in range(1, 99):
        if days % 10 == 0:
            device = Device_(tmp_path, 10 * MB, None)
        device.clock.unix = None
        for _ in range(24):
            device.clock.passed += 3600
            device.rounds()
        if not device.delivery.hold:
            break
    assert 31 <= days <= 40
    assert device.budget.used < MB


def test_a_ledger_that_rotted_counts_as_all_spent_until_the_month_turns(tmp_path: Path):
    device = Device_(tmp_path, 10 * MB)
    device.rounds()
    device.spend(MB)
    files = sorted(tmp_path.glob("own-*"))
    assert len(files) == 2
    for path in files:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    device = Device_(tmp_path, 10 * MB)
    assert device.rounds(9) == 0 and device.delivery.hold
    device.at(FEBRUARY)
    assert device.rounds(9) == 9


def test_a_first_write_that_was_torn_costs_nothing(tmp_path: Path):
    (tmp_path / "own-b").write_bytes(b"torn")
    device = Device_(tmp_path, 10 * MB)
    assert device.budget.used == 0 and device.rounds(9) == 9


def test_a_limit_that_was_lowered_below_what_is_used_holds(tmp_path: Path):
    device = Device_(tmp_path, 100 * MB)
    device.rounds()
    device.spend(20 * MB)
    device = Device_(tmp_path, 10 * MB)
    assert device.rounds(9) == 0
    with pytest.raises(OSError, match="budget"):
        own.add(1)
    device.at(FEBRUARY)
    assert device.rounds(9) == 9


def test_storage_that_takes_no_bytes_takes_the_agent_off_the_link(tmp_path: Path):
    device = Device_(tmp_path / "missing", 10 * MB)
    assert device.rounds(3) == 0 and device.delivery.hold
    (tmp_path / "missing").mkdir()
    device.rounds()
    assert device.rounds(3) == 3 and not device.delivery.hold
    assert Device_(tmp_path / "none", 0).rounds(3) == 3  # who only counts goes on


def test_an_orderly_stop_writes_down_what_was_really_used(tmp_path: Path):
    device = Device_(tmp_path, 0)
    device.rounds()
    device.spend(100_000)

    async def run() -> None:
        task = asyncio.create_task(device.budget.run())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert Device_(tmp_path, 0).budget.used == 100_000


# ---- the whole agent


@both
def test_what_the_agent_counts_is_what_passes(interpreter: str, tmp_path: Path):
    with closing(Relay("127.0.0.1")) as relay:
        port = relay.target = support.free_port()
        site = Site(tmp_path / "site", "127.0.0.1", relay.port, {"budget.month_mb": 0})
        province = site.province()
        modules = [("tests.sim.links", 1), ("tests.sim.own", 0)]
        counted = []
        with life(site, province, port, interpreter=interpreter, modules=modules) as (_, device):
            for mark in (10, 130):
                while device.minute < mark:
                    device.next_minute()
                    province.minute(device.now)
                    relay.wait_for_silence(0.02)
                relay.wait_for_silence(1)
                mqtt = device.ask("own") - 56 * device.ask("pings")
                counted.append((mqtt, sum(relay.bytes.values())))
            device.finish()
    assert province.refused == []
    (first, first_truth), (last, truth) = counted
    assert first >= first_truth
    # The relay computes the heads. It sees fewer bare acknowledgements than there are, most of all
    # on a busy machine, where it reads several segments at once.
    ratio = (last - first) / (truth - first_truth)
    print(f"counted {ratio:.3f} of what passed")
    assert 1 <= ratio <= 1.25
    told = values(province, "own_month")
    assert len(told) == 3 and told == sorted(told)


@both
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"throughput.url": "https://a/b", "budget.month_mb": 9},
            "throughput.url: expected http://host[:port]/path",
        ),
    ],
)
def test_a_mistake_ends_the_agent_with_the_key(
    interpreter: str, keys: dict[str, object], words: str, tmp_path: Path
):
    site = Site(tmp_path, "127.0.0.1", 1, keys)
    site.enrol()
    with Device(site.config, interpreter) as device:
        assert device.process.wait(support.PATIENCE_S) == 2
        assert f"agent: {site.config}: {words}" in device.log


@both
def test_throughput_is_told_in_its_sample_and_counted(interpreter: str, tmp_path: Path):
    asked: list[Request] = []

    def serve(request: Request) -> bytes:
        asked.append(request)
        return response(bytes(100_000))

    port = support.free_port()
    with http(serve) as server:
        keys = {
            "budget.month_mb": 50,
            "throughput.url": f"http://127.0.0.1:{server}/file",
            "throughput.every_h": 1,
            "throughput.kb": 100,
        }
        site = Site(tmp_path / "site", "127.0.0.1", port, keys)
        province = site.province()
        modules = [("tests.sim.streams", 0)]
        with life(site, province, port, interpreter=interpreter, modules=modules) as (_, device):
            while device.next_minute() < 130:
                province.minute(device.now)
            log = device.finish()
    assert "throughput" not in log
    assert 2 <= len(asked) <= 3
    assert len(values(province, "throughput_down")) == len(asked)
    assert min(values(province, "throughput_down")) > 0
    assert values(province, "own_month")[-1] > 100


@both
@pytest.mark.parametrize("month", ["this", "last"])
def test_a_budget_that_is_used_up_keeps_all_in_the_journal(
    interpreter: str, month: str, tmp_path: Path
):
    with closing(Relay("127.0.0.1")) as relay:
        port = relay.target = support.free_port()
        keys = {"budget.month_mb": 1, "clock.source": "system"}
        site = Site(tmp_path / "site", "127.0.0.1", relay.port, keys)
        province = site.province()
        number = budget.month_of(int(begin())) - (month == "last")
        body = struct.pack(">IHHQQQ", 7, number, 0, 990_000, 990_000, 0)
        journal = site.state / "journal"
        journal.mkdir()
        crc = struct.pack(">I", binascii.crc32(body))
        (journal / "own-b").write_bytes(body + crc)
        with life(site, province, port, interpreter=interpreter) as (_, device):
            while device.next_minute() < 70:
                province.minute(device.now)
            log = device.finish()
        reports = [m.content for m in province.messages if isinstance(m.content, wire.Report)]
        if month == "last":
            assert len(reports) > 10 and "budget: level 0" in log
            return
        assert not relay.bytes and not reports
        assert "budget: level 3" in log
        assert sum(path.stat().st_size for path in journal.glob("*.seg")) > 500


def values(province: Any, name: str) -> list[int]:
    """What a metric was in each report that has it, once if it did not change."""
    found = []
    for stored in province.reports.values():
        for _, report in sorted(stored.items()):
            column = wire.decode_columns(report).get(name, ())
            found += sorted({value for value in column if value is not None})
    return found
