"""When to try again: quickly where that is safe, seldom where the broker refuses, never a herd."""

import random

import pytest

from agent.device import interpreter
from agent.net.errors import CERTIFICATE, NetError
from agent.province.backoff import Backoff
from tests import support
from tests.sim.herd import UNREACHABLE, herd

RESET = NetError("reset", "session", 104)
REFUSALS = [
    NetError("not authorised", "mqtt", 5),
    NetError("the client id", "mqtt", 2),
    NetError("alert", "tls", -0x7780),
    NetError("TLS with broker: SSLV3_ALERT_CERTIFICATE_REVOKED", "tls", 1),
]

# A certificate's refusal, where its alert gets lost; or a broker that starts.
CUTS = [
    NetError("reset in the handshake", "tls", 104),
    NetError("a broken pipe", "tls", 32),
    NetError("OpenSSL's end of file", "tls", 8),
    NetError("mbedTLS's end of file", "tls", -0x7280),
    NetError("reset before CONNACK", "mqtt", 104),
    NetError("closed before CONNACK", "mqtt", 0),
]


def limits(monkeypatch, ends, max_s=300):
    """The longest wait in seconds after each of `ends` (milliseconds, error)."""
    monkeypatch.setattr(interpreter, "random_below", lambda limit: limit)
    backoff = Backoff(max_s * 1000)
    found = []
    for lasted_ms, error in ends:
        backoff.ended(lasted_ms, error)
        found.append(backoff.wait_ms() // 1000)
    return found


@pytest.mark.parametrize("days", [0.01, 1, 7, 13])
def test_after_a_connection_of_any_length_the_backoff_begins_anew(monkeypatch, days):
    """Where ticks wrap in 12.4 days too."""
    lasted = support.ticks_diff_of_32_bits(int(days * 86400_000) % (1 << 30), 0)
    ends = [(1, RESET)] * 4 + [(lasted, RESET), (1, RESET)]
    assert limits(monkeypatch, ends) == [4, 8, 16, 32, 2, 4]


@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_a_refused_device_tries_once_an_hour_at_last_and_nothing_hurries_it(monkeypatch, error):
    assert limits(monkeypatch, [(500, error)] * 14)[-2:] == [3600, 3600]
    backoff = Backoff(300_000)
    for _ in range(14):
        backoff.ended(500, error)
        assert backoff.hurry(3_000_000, 10_000) == 3_000_000


@pytest.mark.parametrize("error", CUTS, ids=str)
def test_a_device_that_is_cut_off_in_each_try_comes_once_an_hour_at_last(monkeypatch, error):
    assert limits(monkeypatch, [(500, error)] * 20)[-5:] == [300, 600, 1200, 2400, 3600]


def test_only_an_accepted_connection_makes_a_device_quick_again_that_is_cut_off(monkeypatch):
    ends = [(500, CUTS[0])] * 20 + [(500, UNREACHABLE), (90_000, UNREACHABLE)]
    assert limits(monkeypatch, [*ends, *[(500, CUTS[0])] * 10])[-1] == 2048
    backoff = Backoff(300_000)
    for _ in range(20):
        backoff.ended(500, CUTS[0])
    backoff.accepted()
    for _ in range(16):
        backoff.ended(500, CUTS[0])
    assert backoff.wait_ms() == 300_000


def test_a_broker_that_cut_all_off_for_ten_minutes_has_them_back_in_five(monkeypatch):
    dice = random.Random(1)
    monkeypatch.setattr(interpreter, "random_below", dice.randrange)
    for _ in range(841):
        backoff = Backoff(300_000)
        at_ms = 0
        while at_ms < 600_000:
            backoff.ended(500, CUTS[0])
            at_ms += 500 + backoff.wait_ms()
        assert at_ms < 900_500


@pytest.mark.parametrize(
    "error",
    [
        NetError("not now", "mqtt", 3),
        NetError("late", "tls", 110),
        RESET,
        UNREACHABLE,
        OSError(12),
        MemoryError(),
    ],
    ids=repr,
)
def test_a_broker_that_can_not_take_it_now_is_tried_every_few_minutes(monkeypatch, error):
    assert limits(monkeypatch, [(500, error)] * 14)[-1] == 300


def test_a_broker_that_seems_to_be_back_is_tried_once_at_once():
    backoff = Backoff(300_000)
    for _ in range(10):
        backoff.ended(500, UNREACHABLE)
    assert backoff.hurry(200_000, 10_000) < 10_000
    backoff.ended(500, RESET)
    assert backoff.hurry(200_000, 10_000) == 200_000


def test_the_end_of_an_interception_is_noticed_soon_for_the_first_minutes_only():
    backoff = Backoff(300_000)
    backoff.ended(500, UNREACHABLE)
    hurried = 0
    for _ in range(100):
        backoff.ended(500, NetError("self-signed", "tls", CERTIFICATE))
        hurried += backoff.hurry(3_000_000, 10_000) < 10_000
    assert hurried == 30


@pytest.mark.parametrize("back", [False, True], ids=["regional power cut", "broker back"])
@pytest.mark.parametrize("sheds", [False, True], ids=["a patient broker", "one that sheds load"])
@pytest.mark.parametrize("seed", range(5))
def test_a_herd_is_connected_within_ten_minutes(seed, back, sheds):
    connected, tries = herd(seed, back=back, sheds=sheds)
    assert len(connected) == 841
    assert max(connected) < 600
    assert tries < 4 * 841
