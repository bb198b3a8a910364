"""The probes and the ladder on an ESP32's sockets."""

import pytest

from agent.wire import ids
from tests.esp32.conftest import Run

_RTT = 234  # of hosts beyond the village, in tenths of a millisecond
_NEAR = 12


@pytest.mark.parametrize(
    ("target", "result"),
    [
        ("192.168.1.1", ids.PROBE_OK),
        ("192.168.1.9", ids.PROBE_TIMEOUT),
        ("10.90.0.1", ids.PROBE_UNREACHABLE),
        ("192.168.1.1:53", ids.PROBE_OK),
        ("192.168.1.1:9", ids.PROBE_REFUSED),
        ("192.168.1.1:81", ids.PROBE_TIMEOUT),
        ("10.90.0.1:80", ids.PROBE_TIMEOUT),  # lwIP passes no ICMP error on
        ("dns:192.168.1.1", ids.PROBE_OK),
        ("dns:1.1.1.1:54", ids.PROBE_TIMEOUT),
    ],
)
def test_a_probe_says_what_is_there(run: Run, target: str, result: int):
    value, found = run("probe", target=target)
    assert found == result
    assert (value is None) == (result != ids.PROBE_OK)


@pytest.mark.parametrize("target", ["1.1.1.1", "192.168.1.1:9", "dns:1.1.1.1"])
def test_round_trip_times_are_true_to_a_millisecond_between_ticks(run: Run, target: str):
    value, result = run("probe", target=target, refusal=True)
    assert result == ids.PROBE_OK
    assert 0 <= value - (_NEAR if "192" in target else _RTT) < 10


def test_probes_at_once_do_not_delay_each_other(run: Run):
    for value, result in run("together"):
        assert result == ids.PROBE_OK
        assert 0 <= value - _RTT < 20


@pytest.mark.parametrize("target", ["1.1.1.1", "1.1.1.1:9", "dns:1.1.1.1"])
def test_without_a_network_every_host_is_unreachable_at_once(run: Run, target: str):
    assert run("probe", target=target, down=True) == [None, ids.PROBE_UNREACHABLE]


def test_the_portals_check_prints_no_warnings(run: Run):
    assert run("page") == [ids.PROBE_OK, 0]


def test_a_healthy_village_is_up_without_loss(run: Run):
    found = run("rounds")
    row = dict(found["row"])
    assert (found["state"], found["evidence"]) == (ids.UP, [])
    assert row[ids.LOSS] == row[ids.LOSS_GW] == 0
    assert 0 <= row[ids.RTT_MIN] * 5 - _RTT < 15  # half milliseconds
    assert 0 <= row[ids.RTT_GW_MIN] - _NEAR < 10


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("gateway", ids.DOWN_GATEWAY),
        ("provider", ids.DOWN_PROVIDER),
        ("dns", ids.DOWN_DNS),
        ("portal", ids.DOWN_PORTAL),
        ("broker", ids.DOWN_BROKER),
        ("netif", ids.DOWN_GATEWAY),
    ],
)
def test_each_fault_has_its_cause(run: Run, fault: str, cause: int):
    found = run("rounds", fault=fault)
    assert found["state"] == cause
    assert len(found["evidence"]) == 1


@pytest.mark.parametrize("targets", [1, 3, 8])
def test_ten_sockets_are_enough_for_any_number_of_targets(run: Run, targets: int):
    found = run("rounds", targets=targets, fault="provider")
    assert found["state"] == ids.DOWN_PROVIDER
    assert found["most"] <= 6  # the session, a source, a time server and a look-up need four


def test_a_lack_of_sockets_is_no_outage(run: Run):
    found = run("rounds", taken=10)
    assert (found["state"], found["evidence"]) == (ids.UP, [])
