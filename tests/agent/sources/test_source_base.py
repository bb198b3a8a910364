"""What all sources share: when they ask, what stands after a failure, what is said."""

import asyncio
from collections.abc import Callable

import pytest

from agent.device import interpreter
from agent.sources.counter import MAYBE, NO, YES, Octets, Uptime
from agent.sources.snmpv3 import User
from agent.sources.source import Source, number, put
from agent.wire import ids
from tests import support
from tests.agent.sources import snmp_agent

W32 = 1 << 32


class Clock:
    """Stands for compat's ticks."""

    ms = 1000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(interpreter, "ticks_ms", clock)
    return clock


class Scripted(Source):
    """Each look takes the next of `looks`: levels, or an exception after them."""

    def __init__(self, *looks: object) -> None:
        super().__init__("scripted")
        self.looks = list(looks)
        self.asked = 0

    async def poll(self, levels: dict) -> None:
        self.asked += 1
        look = self.looks.pop(0)
        if isinstance(look, dict):
            levels.update(look)
        elif isinstance(look, Exception):
            raise look
        else:
            levels[ids.LEASES] = 1
            await asyncio.sleep(60)


def turn(source: Source, clock: Clock, *steps: object) -> list[dict]:
    """Runs steps: a number lets so many ms pass, "observe" and "sample" do that. The rows."""

    async def run() -> list[dict]:
        rows = []
        for step in steps:
            if step == "observe":
                source.observe()
                for _ in range(20):  # until it has looked: nothing in it waits
                    await asyncio.sleep(0)
            elif step == "sample":
                rows.append({})
                await source.sample(rows[-1])
            else:
                clock.ms += step  # type: ignore[operator]
        return rows

    return asyncio.run(run())


def test_between_samples_it_is_asked_every_so_often(clock: Clock):
    source = Scripted(*[{}] * 9)
    turn(source, clock, "sample", 10000, "observe", 10000, "observe", 10000, "observe", 10000)
    assert source.asked == 2
    turn(source, clock, "observe", 20000, "observe")
    assert source.asked == 3


def test_a_look_of_just_now_serves_the_sample(clock: Clock):
    source = Scripted({ids.CLIENTS: 3}, {ids.CLIENTS: 4})
    rows = turn(source, clock, "observe", 3000, "sample", 3000, "sample")
    assert [row[ids.CLIENTS] for row in rows] == [3, 4]


def test_the_peak_is_the_greatest_of_the_looks(clock: Clock):
    source = Scripted(*({ids.CLIENTS: n} for n in (2, 9, 4, 1, 3)))
    steps = ["sample", 30000, "observe", 30000, "sample", 30000, "observe", 30000, "sample"]
    rows = turn(source, clock, *steps)
    assert [row[ids.CLIENTS_PEAK] for row in rows] == [2, 9, 4]


def test_what_was_told_before_a_failure_stands_and_nothing_older(clock: Clock):
    class Half(Scripted):
        async def poll(self, levels: dict) -> None:
            levels[ids.LEASES] = self.asked
            await super().poll(levels)

    source = Half({ids.CLIENTS: 5}, OSError(1, "is gone"))
    rows = turn(source, clock, "sample", 60000, "sample")
    assert rows[1] == {ids.LEASES: 1, ids.CLIENTS_PEAK: 5}


def test_a_look_that_hangs_ends_at_its_deadline():
    source = Scripted(None)
    source.deadline_ms = 50
    row: dict[int, int] = {}
    asyncio.run(source.sample(row))
    assert row == {ids.LEASES: 1}


def test_a_failure_is_said_once_and_its_end_too(clock: Clock, capsys: pytest.CaptureFixture[str]):
    gone = OSError(1, "is gone")
    source = Scripted({}, gone, gone, {}, ValueError("02:00:00:00:00:01"), {})
    turn(source, clock, *["sample", 60000] * 6)
    said = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        "scripted: is gone",
        "scripted: answers again",
        "scripted: ValueError",
        "scripted: answers again",
    ]


@pytest.mark.parametrize(
    "metric,value",
    [(ids.SIGNAL, 0), (ids.LTE_RSRP, 5), (ids.CLIENTS, -1), (ids.LEASES, 1 << 50)]
    + [(ids.CLIENTS, None)],
)
def test_levels_that_can_not_be_are_null(metric: int, value: int | None):
    levels: dict[int, int] = {}
    put(levels, metric, value)
    assert levels == {}


def test_the_first_answer_to_a_metric_counts():
    levels: dict[int, int] = {}
    put(levels, ids.LTE_SINR, -3)
    put(levels, ids.LTE_SINR, 8)
    assert levels == {ids.LTE_SINR: -3}


def test_numbers_may_be_texts():
    assert [number(x) for x in (7, b"7", b"-7")] == [7, 7, -7]
    strange = (True, None, b"", b"-", b"7x", b"9" * 20, [])
    assert [number(x) for x in strange] == [None] * 7


@pytest.mark.parametrize(
    "last,value,wide,renewed,bytes_,reset",
    [
        (100, 150, True, NO, 50, False),
        (100, 150, True, MAYBE, 50, False),
        (100, 150, True, YES, 150, True),
        (150, 100, True, NO, 100, True),
        (150, 100, True, MAYBE, 100, True),
        (W32 - 10, 5, False, NO, 15, False),
        (W32 - 10, 5, False, MAYBE, 5, True),
        (W32 - 10, 5, True, NO, 15, False),  # 64 bits wide, counting in 32
        (1 << 40, 5, True, NO, 5, True),
        (100, 1 << 45, True, NO, None, False),
        (100, 1 << 45, True, YES, None, True),
    ],
)
def test_a_counter(last: int, value: int, wide: bool, renewed: int, bytes_: int, reset: bool):
    octets = Octets()
    assert octets.step(last, wide, NO) == (None, False)
    assert octets.step(value, wide, renewed) == (bytes_, reset)


def test_what_a_line_can_carry_grows_with_the_time(clock: Clock):
    octets = Octets()
    octets.step(0, True, NO)
    clock.ms += 600_000
    assert octets.step(50_000_000_000, True, NO) == (50_000_000_000, False)


@pytest.mark.parametrize(
    "before,passed_s,after,restarted",
    [
        (360000, 60, 366000, False),
        (360000, 60, 365900, False),
        (360000, 60, 500, True),
        (2000, 600, 5000, True),  # its uptime is greater than it was, and yet too small
        (W32 - 100, 60, 5900, False),  # wraps
        (W32 - 100, 60, 500000, False),  # this device slept meanwhile
        (W32 // 2 + 10**9, 60, 500, True),  # after 370 days
        (360000, 86400, 360000 + 8640000 - 80000, False),  # a clock that is 1 % slow
    ],
)
def test_a_restart_is_told_by_the_uptime(
    clock: Clock, before: int, passed_s: int, after: int, restarted: bool
):
    uptime = Uptime()
    assert uptime.restarted(before) is False
    clock.ms += passed_s * 1000
    assert uptime.restarted(after) is restarted


DAY_S = 86400


@pytest.mark.parametrize("silent_days", [7, 12, 13, 20, 30])
def test_equipment_silent_for_days_is_judged_right_where_ticks_wrap_in_12_days(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, silent_days: int
):
    monkeypatch.setattr(interpreter, "ticks_diff", support.ticks_diff_of_32_bits)
    uptime = Uptime()
    octets = Octets()
    uptime.restarted(100 * DAY_S)
    octets.step(5_000_000, True, NO)
    clock.ms += silent_days * DAY_S * 1000
    # Only the way to it was broken.
    assert uptime.restarted(100 * (1 + silent_days) * DAY_S) is False
    # What no line carries within the time that is known to have passed is null, never invented.
    assert octets.step(1 << 50, True, NO) == (None, False)
    clock.ms += silent_days * DAY_S * 1000
    # Its power was off.
    assert uptime.restarted(100 * 60) is True


def split(data: bytes) -> list[tuple[int, bytes]]:
    """The fields of a SEQUENCE."""
    return snmp_agent.split(snmp_agent.split(data)[0][1])


def sequence(fields: list[tuple[int, bytes]]) -> bytes:
    return snmp_agent.tlv(0x30, b"".join(snmp_agent.tlv(*field) for field in fields))


def test_the_time_of_a_silent_version_3_agent_never_runs_backwards(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(interpreter, "ticks_diff", support.ticks_diff_of_32_bits)
    user = User("observer", "sha256", "auth-secret", None)

    async def meet(question: Callable[[], bytes], met: Callable[[bytes], bool]) -> None:
        version, head, security, rest = split(question())
        fields = [(snmp_agent.OCTETS, b"engine"), *split(security[1])[1:]]
        security = (snmp_agent.OCTETS, sequence(fields))
        met(sequence([version, head, security, rest]))

    asyncio.run(user.ready(meet))
    clock.ms += 7 * DAY_S * 1000
    _, _, security, _ = split(user.wrap(b""))
    assert snmp_agent.integer(split(security[1])[2][1]) >= 0
