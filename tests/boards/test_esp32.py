"""The ESP32 family's port, on real MicroPython over stand-ins of what only its firmware has."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from agent.wire import ids
from tests.support import run_micropython

HERE = Path(__file__).parent


def on_device(scenario: str, *args: object) -> Any:
    ended = run_micropython(HERE / "device.py", scenario, *args, check=True)
    return json.loads(ended.stdout.splitlines()[-1])


# ---- Wi-Fi ---------------------------------------------------------------------------------


def test_a_network_is_joined_without_the_drivers_own_reconnecting_or_power_saving():
    seen = on_device("joins")
    assert (seen["missing"], seen["connected"]) == (None, True)
    assert seen["said"] == ["country ID", "radio on", "reconnects 0", "pm 0", "connect desa"]
    assert seen["seconds"] < 6


def test_an_access_point_that_is_not_there_is_waited_for_and_then_told():
    seen = on_device("nobody_there")
    assert (seen["missing"], seen["attempts"]) == ("no_access_point", [0])
    assert 30 <= seen["seconds"] < 36


def test_an_access_point_that_appears_while_waiting_is_joined():
    assert on_device("appears_later") == {"missing": None}


def test_a_wrong_password_is_told_long_before_the_time_is_over():
    seen = on_device("wrong_password")
    assert seen["missing"] == "wrong_password"
    assert seen["seconds"] < 15


def test_a_right_password_that_the_driver_calls_wrong_twice_is_still_believed():
    seen = on_device("false_wrong_password")
    assert (seen["missing"], seen["attempts"]) == (None, [3])


def test_an_access_point_that_gives_no_address_is_told_as_that():
    assert on_device("no_address")["missing"] == "no_address"


def test_the_late_event_of_leaving_a_network_is_not_taken_for_a_failure_to_join_it():
    assert on_device("address_later") == {"missing": None, "attempts": 2}


def test_a_static_address_needs_no_dhcp():
    seen = on_device("static_address")
    assert seen["missing"] is None
    assert seen["said"].index("static 10.1.1.2") < seen["said"].index("connect desa")


def test_of_several_networks_the_strongest_comes_first():
    seen = on_device("strongest_first")
    assert (seen["missing"], seen["attempts"]) == (None, [0, 1])


def test_a_network_that_refuses_does_not_keep_the_next_from_being_joined():
    seen = on_device("second_lets_in")
    assert (seen["missing"], seen["attempts"][1]) == (None, 1)


def test_a_hidden_network_is_joined_if_it_is_said_to_be_one():
    assert on_device("hidden") == ["no_access_point", None]


def test_a_bssid_chooses_one_access_point_of_a_network():
    assert on_device("one_access_point_of_two")["attempts"] == [0, 1]


def test_an_open_network_is_joined_without_a_password():
    assert on_device("open_network")["missing"] is None


def test_a_lost_network_is_joined_again_and_the_agent_sees_it_as_on_linux():
    story = on_device("keeps")
    joined = [True, -67, "127.0.0.1", ["127.0.0.53"], ids.PROBE_OK]
    lost = [False, None, None, [], ids.PROBE_NO_CARRIER]
    assert story["seen"] == [joined, lost, joined]


def test_a_radio_that_finds_nothing_for_minutes_is_switched_off_and_on():
    assert on_device("restarts_the_radio")["scanning for s"] > 240


# ---- Ethernet ------------------------------------------------------------------------------


def test_ethernet_tells_a_missing_cable_from_a_missing_address():
    story = on_device("ethernet")
    assert story["seen"] == ["no_carrier", "no_address", None, False, None]
    # The driver of a PHY can be made once only.
    assert story["made"] == 1


def test_the_pins_of_the_phy_come_from_the_settings():
    assert on_device("ethernet")["pins"] == {
        "phy_type": "1",
        "phy_addr": "0",
        "mdc": "Pin(23)",
        "mdio": "Pin(18)",
        "power": "Pin(12)",
        "ref_clk": "Pin(17)",
        "ref_clk_mode": "3",
    }


# ---- resets --------------------------------------------------------------------------------


def test_the_watchdog_is_fed_by_progress_only_and_gives_an_hour_to_who_interrupts():
    assert on_device("watchdog")["told"] == [90000, "feed", "feed", 3600000]
    assert on_device("keeps")["watchdogs"] == [120000]


def test_every_cause_of_a_reset_that_the_platform_knows_is_told(tmp_path):
    assert on_device("reset_causes", tmp_path) == {
        "power": ids.RESET_POWER,
        "software or panic before the first record": ids.RESET_UNKNOWN,
        "watchdog": ids.RESET_WATCHDOG,
        "deep sleep": ids.RESET_SOFT,
        "soft": ids.RESET_SOFT,
        "usb, jtag and others": ids.RESET_UNKNOWN,
        "panic": ids.RESET_PANIC,
        "reset after the end": ids.RESET_SOFT,
        "kept": "alive",
        "panic of the next run": ids.RESET_PANIC,
        "dip": ids.RESET_BROWNOUT,
        "cut": ids.RESET_POWER,
    }


def test_the_last_minute_survives_a_reset_and_the_last_five_a_power_cut(tmp_path):
    before, after_reset, after_cut, beside_code = on_device("alive", tmp_path)
    assert before is None
    assert after_reset == "minute 6"
    assert after_cut == "minute 5"
    # Nothing is written beside the code and the key.
    assert beside_code == ["journal"]


# ---- the device itself ---------------------------------------------------------------------


def test_time_is_unix_time_whatever_the_platforms_epoch():
    seen = on_device("epoch")
    assert seen["here"] is True
    assert seen["there"] == 1764022205
    # Year, month, day, weekday, hours, minutes, seconds, subseconds, in UTC.
    assert seen["rtc"] == [2025, 11, 24, 0, 22, 10, 5, 0]


def test_the_board_knows_itself():
    application = (bytes(range(256)) * 40)[:10000]
    assert on_device("itself") == {
        "board": "esp32-generic",
        "id": "24:0a:c4:01:02:fe",
        "hash": hashlib.sha256(application).hexdigest(),
        "no hash": None,
        "volts": 330,
        "no volts": None,
        "temperature": [None, 41],
    }


_NET = {"ssid": "desa", "password": "rahasia1"}
_PHY = {"phy": "LAN8720", "address": 0, "mdc": 23, "mdio": 18}
WRONG = [
    ({}, "either wifi or ethernet"),
    ({"wifi": [_NET], "ethernet": _PHY}, "either wifi or ethernet"),
    ({"wifi": []}, "wifi: expected a list"),
    ({"wifi": ["desa"]}, "wifi: expected networks"),
    ({"wifi": [{"password": "x"}]}, "wifi.ssid: expected a text of 1 to 32 bytes"),
    ({"wifi": [{"ssid": "x" * 33}]}, "wifi.ssid: expected a text of 1 to 32 bytes"),
    ({"wifi": [{**_NET, "pasword": "x"}]}, "wifi.pasword: no such key"),
    ({"wifi": [{**_NET, "bssid": "02:00:00:00:00:0g"}]}, "wifi.bssid: expected an address"),
    ({"wifi": [{**_NET, "bssid": "02:00"}]}, "wifi.bssid: expected an address"),
    ({"wifi": None}, "wifi: expected a list"),
    ({"wifi": [_NET], "watchdog": 3}, "watchdog: no such key"),
    ({"wifi": [_NET], "watchdog_s": "60"}, "watchdog_s: expected a number from 0 to 3600"),
    ({"wifi": [_NET], "static": {"address": "10.0.0.2"}}, "static: expected { address"),
    (
        {"wifi": [_NET], "static": dict.fromkeys(["address", "netmask", "gateway", "dns"], "1")},
        "static.address: expected an IPv4 address",
    ),
    ({"wifi": [_NET], "voltage": {"pin": 35}}, "voltage: expected { pin, ratio }"),
    ({"wifi": [_NET], "voltage": {"pin": 35, "ratio": 1}}, "voltage.ratio: expected a number"),
    ({"ethernet": {**_PHY, "phy": "NE2000"}}, "ethernet.phy: expected a type"),
    ({"ethernet": {**_PHY, "mdc": None}}, "ethernet.mdc: expected a number"),
    ({"ethernet": {**_PHY, "clock": 17}}, 'ethernet.clock_mode: expected "in" or "out"'),
    ({"ethernet": {**_PHY, "speed": 10}}, "ethernet.speed: no such key"),
]


def test_settings_that_can_not_be_are_refused_with_a_sentence_that_names_the_key(tmp_path):
    (tmp_path / "wrong.json").write_text(json.dumps([board for board, _ in WRONG]))
    said = on_device("wrong_settings", tmp_path)
    for (board, expected), sentence in zip(WRONG, said, strict=True):
        assert expected in (sentence or "nothing"), board


# ---- storage -------------------------------------------------------------------------------


def test_an_unreadable_data_area_alone_is_formatted_and_that_is_told(tmp_path):
    seen = on_device("volumes", tmp_path)
    assert seen["blank"] == [None, []]
    # Neither one misread nor a second mounting costs what was measured.
    assert seen["misread"] == [None, ["00000001.seg"]]
    assert seen["twice"] == [None, ["00000001.seg"]]
    assert seen["noise"] == [True, []]
    assert seen["told"] is True
    assert seen["kept"] == 2 * 4096
    assert seen["key"] == "key"
    assert seen["after"] == [None, False]


def test_without_a_partition_for_data_the_journal_gets_a_folder(tmp_path):
    assert on_device("without_partition", tmp_path) == ["journal"]


def test_only_a_corrupt_area_is_formatted(tmp_path):
    assert on_device("must_not_format", tmp_path) == [[12, 0], [5, 0], [22, 0]]


# ---- start ---------------------------------------------------------------------------------


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """The folder /device of a provisioned board."""
    (tmp_path / "journal").mkdir()
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def start(folder: Path, how: str) -> Any:
    ended = run_micropython(HERE / "starting.py", folder, how, check=True)
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("how", ["interrupt", "quit"])
def test_the_agent_starts_on_a_provisioned_board_and_an_interrupt_ends_in_the_repl(device, how):
    seen = start(device, how)
    assert seen["ran"] == [[f"{device}/config.json"]]
    assert (seen["reset"], seen["reason"]) == (False, None)
    # The watchdog can't be stopped: whoever interrupts has an hour.
    assert seen["dogs"] == [90000, 3600000]


def test_a_board_that_is_not_provisioned_or_about_to_be_waits_for_the_laptop(device):
    (device / "provisioning").write_text("")
    assert start(device, "return")["ran"] == []
    (device / "provisioning").unlink()
    (device / "config.json").unlink()
    assert start(device, "return") == {"ran": [], "reset": False, "reason": None, "dogs": []}


@pytest.mark.parametrize(
    ("how", "word"), [("raise", "RuntimeError: no such luck"), ("exit", "SystemExit")]
)
def test_an_agent_that_fails_leaves_its_reason_and_the_board_starts_anew(device, how, word):
    seen = start(device, how)
    assert seen["reset"] is True
    assert word in seen["reason"]
    assert len(seen["reason"]) <= 1000
    reason = device / "journal" / "reason.txt"
    written = reason.stat().st_mtime_ns
    assert start(device, how)["reset"] is True
    assert reason.stat().st_mtime_ns == written  # the same reason costs the flash nothing


def test_a_start_whose_storage_fails_leaves_the_board_reachable(tmp_path):
    assert start(tmp_path, "boot") == "went on"


def test_memory_is_short_where_a_handshake_of_tls_does_not_fit():
    assert on_device("memory") == [False, False, True]
