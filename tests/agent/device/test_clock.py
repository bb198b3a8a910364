"""Time with its quality."""

import asyncio
import struct

import pytest

from agent.device import interpreter
from agent.device.clock import Clock
from agent.net import sntp
from agent.supervise import ALIVE
from agent.wire import ids
from tests import support

NOW = 1_800_000_000


class Platform:
    """The port's part that a clock uses."""

    def __init__(self):
        self.synchronised = None
        self.time = NOW
        self.set_to = []

    def clock_synchronised(self):
        return self.synchronised

    def unix_time(self):
        return self.time

    def set_clock(self, unix):
        self.set_to.append(unix)


@pytest.fixture
def ticks(monkeypatch):
    """MicroPython's ticks on a 32-bit port: they wrap at 2**30 ms."""
    period = 1 << 30
    state = {"ms": period - 5000}
    monkeypatch.setattr(interpreter, "ticks_ms", lambda: state["ms"] % period)
    monkeypatch.setattr(interpreter, "ticks_diff", support.ticks_diff_of_32_bits)

    def advance(seconds):
        state["ms"] += seconds * 1000

    return advance


def test_uptime_goes_on_over_the_wrap_of_the_ticks(ticks):
    clock = Clock(Platform())
    for _ in range(100):
        ticks(86400)
        clock.up()
    assert clock.up() == 100 * 86400


def test_a_clock_never_set_knows_nothing(ticks):
    clock = Clock(Platform())
    assert clock.now() is None
    assert clock.quality() == [None, ids.CLOCK_NONE]
    clock.raise_floor(NOW)
    assert clock.now() is None
    assert clock.quality() == [None, ids.CLOCK_SAVED]


def test_a_time_before_the_floor_is_refused(ticks):
    clock = Clock(Platform())
    clock.raise_floor(NOW)
    assert not clock.set(NOW - 1, ids.CLOCK_NTP, False)
    assert clock.set(NOW + 1, ids.CLOCK_NTP)
    assert clock.now() == NOW + 1


def test_a_time_that_no_alive_record_holds_is_refused(ticks):
    # Were it taken, each sample would fail at writing the record, before a report is made of it.
    clock = Clock(Platform())
    for unix in (2**32, 2**33, 2**53 - 1, 2**70):
        assert not clock.set(unix, ids.CLOCK_ACK)
    assert clock.now() is None
    assert clock.set(2**32 - 1, ids.CLOCK_ACK)
    struct.pack(ALIVE, b"abcd", 1, 0, clock.now(), clock.certain())


def test_the_province_ends_what_a_wrong_clock_has_saved(ticks):
    """A run with a clock years ahead leaves a floor that no right time reaches."""
    clock = Clock(Platform())
    clock.raise_floor(NOW + 10**9)
    assert not clock.set(NOW, ids.CLOCK_SYSTEM)
    assert clock.set(NOW, ids.CLOCK_ACK)
    assert clock.now() == NOW
    assert clock.set(NOW, ids.CLOCK_SYSTEM)
    assert clock.quality() == [None, ids.CLOCK_SYSTEM]


@pytest.mark.parametrize("unix", [-1, 0, 946684800, 1735689600])
@pytest.mark.parametrize("source", [ids.CLOCK_ACK, ids.CLOCK_SYSTEM])
def test_the_time_of_a_clock_that_was_never_set_is_refused(ticks, unix, source):
    clock = Clock(Platform())
    assert not clock.set(unix, source)
    assert clock.now() is None


def test_a_weaker_source_does_not_replace_a_fresh_stronger_one(ticks):
    clock = Clock(Platform())
    events = []
    clock.on_set = lambda source, step: events.append((source, step))
    clock.set(NOW, ids.CLOCK_ACK)
    ticks(10)
    clock.set(NOW + 15, ids.CLOCK_NTP)
    ticks(10)
    assert not clock.set(NOW, ids.CLOCK_ACK)
    assert clock.now() == NOW + 25
    assert clock.quality() == [10, ids.CLOCK_NTP]
    assert events == [(ids.CLOCK_ACK, None), (ids.CLOCK_NTP, 5)]


def test_after_hours_a_weaker_source_corrects_the_drift(ticks):
    clock = Clock(Platform())
    clock.set(NOW, ids.CLOCK_NTP)
    ticks(7 * 3600)
    assert clock.set(NOW + 7 * 3600 + 9, ids.CLOCK_ACK)
    assert clock.quality() == [0, ids.CLOCK_ACK]


def test_the_platforms_clock_counts_only_while_it_is_synchronised(ticks):
    platform = Platform()
    clock = Clock(platform)
    clock.follow_system()
    platform.synchronised = False
    clock.follow_system()
    assert clock.now() is None
    platform.synchronised = True
    clock.follow_system()
    assert clock.now() == NOW
    ticks(60)
    platform.time = NOW + 3600  # stepped by an hour
    clock.follow_system()
    assert clock.now() == NOW + 3600
    assert clock.quality() == [None, ids.CLOCK_SYSTEM]


RIGHT = NOW + 100 * 86400


@pytest.mark.parametrize(
    ("answers", "floor", "certain", "now", "saved"),
    [
        # A power cut of hours: one server will do.
        ({"a": NOW + 7200}, NOW, True, NOW + 7200, NOW + 7200),
        # The first start: what is certain is old, two servers agree.
        ({"a": RIGHT, "b": RIGHT + 2}, NOW, True, RIGHT + 2, RIGHT + 2),
        ({"a": RIGHT}, NOW, False, RIGHT, NOW),
        ({"a": RIGHT + 10**7, "b": RIGHT, "c": RIGHT}, NOW, True, RIGHT, RIGHT),
        ({"a": OSError(), "b": NOW - 10**7, "c": NOW + 5}, NOW, True, NOW + 5, NOW + 5),
        # One wrong server alone is used, but never saved.
        ({"a": NOW + 10**9}, NOW, False, NOW + 10**9, NOW),
        # A floor that a wrong clock has left: two servers end it, without TLS; one does not.
        ({"a": NOW, "b": NOW}, NOW + 10**9, True, NOW, NOW),
        ({"a": NOW}, NOW + 10**9, False, None, NOW + 10**9),
        ({"a": OSError()}, NOW, False, None, NOW),
    ],
)
def test_one_time_server_alone_never_sets_what_the_next_start_takes_for_certain(
    ticks, monkeypatch, answers, floor, certain, now, saved
):
    async def query(server, timeout_ms, resolvers):
        if isinstance(answers[server], OSError):
            raise answers[server]
        return answers[server]

    monkeypatch.setattr(sntp, "ask_time", query)
    clock = Clock(Platform())
    clock.raise_floor(floor)
    assert asyncio.run(sntp.synchronise(clock, list(answers))) is certain
    assert (clock.now(), clock.certain()) == (now, saved)
    if not certain:
        assert clock.set(RIGHT, ids.CLOCK_ACK), "an ack knows better"
        assert clock.certain() == RIGHT


def test_what_is_certain_reaches_the_platforms_clock_before_tls_asks_it(ticks):
    platform = Platform()
    platform.time = 946684800  # an ESP32 wakes in the year 2000
    Clock(platform).raise_floor(NOW)
    assert platform.set_to == [NOW]
    platform.time = NOW + 5
    Clock(platform).raise_floor(NOW)
    assert platform.set_to == [NOW]
