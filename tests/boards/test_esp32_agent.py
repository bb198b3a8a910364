"""The whole agent on the ESP32's port: what of a board's own measurements reaches a report."""

import json
import zlib
from pathlib import Path

import cbor2
import pytest

from agent.wire import ids
from host_tools.devices.boards import load_board
from host_tools.devices.release import build_release
from host_tools.devices.romfs import half, romfs_image
from host_tools.wire import Report, decode_columns, parse_report, vocabulary
from tests.agent.net.mqtt_lab import Authority
from tests.support import free_port, run_micropython
from tests.world.journals import Accepted

SLOT = "6403112001-1"
SETTINGS = {
    "name": "esp32-generic",
    "wifi": [{"ssid": "desa", "password": "rahasia1"}],
    "voltage": {"pin": 35, "ratio": 2000},
    "watchdog_s": 60,
}


def run(folder: Path, *args: object, script: str = "whole.py") -> tuple[dict, list[Report], Path]:
    """What the board says of itself, its reports, and the folder /device."""
    authority = Authority(folder)
    cert, key = authority.issue(SLOT)
    config = {
        "slot": SLOT,
        "port": "boards._esp32.board",
        "board": SETTINGS,
        "state_dir": str(folder),
        "broker": {
            "host": "127.0.0.1",
            "port": free_port(),  # nobody is there: everything stays in the journal
            "backoff_max_s": 2,
            "ca": str(authority.path),
            "cert": cert,
            "key": key,
        },
        "cadence": {"round_s": 1, "sample_s": 1, "report_samples": 3},
        "link": {"interface": "wlan0", "targets": [], "dns": "off", "timeout_ms": 900},
        "journal": {"capacity": 262144},
        "clock": {"ntp": []},
    }
    text = json.dumps(config)
    start = folder / "config.json"
    if script == "from_romfs.py":
        text = text.replace(str(folder), "/device")
        start = folder.parent
        (folder / "device.key").write_bytes(bytes(32) + zlib.crc32(bytes(32)).to_bytes(4, "big"))
    (folder / "config.json").write_text(text)
    ended = run_micropython(Path(__file__).parent / script, start, *args, check=True)
    seen = Accepted(folder / "seen")
    seen.look()
    reports = [
        parse_report(cbor2.loads(signed).value[2])
        for _, signed in sorted(seen.reports.items(), key=lambda item: item[0][1])
    ]
    return json.loads(ended.stdout.splitlines()[-1]), reports, folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, list[Report], Path]:
    return run(tmp_path_factory.mktemp("device"))


def test_a_board_with_romfs_runs_the_agent_from_the_image_that_its_loader_chose(tmp_path):
    content = half(romfs_image(build_release(load_board("esp32-generic"))))
    (tmp_path / "romfs").write_bytes(content.ljust(2 * len(content), b"\xff"))
    (tmp_path / "device").mkdir()
    loaded, reports, _ = run(tmp_path / "device", script="from_romfs.py")
    ours = {name: file for name, file in loaded.items() if name.startswith(("agent.", "boards."))}
    assert {"agent.core", "boards._esp32.wifi"} <= set(ours)
    assert {file[:5] for file in ours.values() if file} == {"/rom/"}
    assert column(reports, ids.STATE)[-1] == ids.DOWN_BROKER
    assert column(reports, ids.SIGNAL)[-1] == -67


def column(reports: list[Report], metric: int) -> list[int | None]:
    """A metric over all samples; None where it was not measured."""
    (name,) = [name for number, name, *_ in vocabulary.METRICS if number == metric]
    values: list[int | None] = []
    for report in reports:
        values += decode_columns(report).get(name, [None] * report.n)
    return values


def test_the_radios_signal_and_the_supplys_voltage_are_in_the_reports(ran):
    _, reports, _ = ran
    signal = column(reports, ids.SIGNAL)
    # None before the network was joined, then the access point's.
    assert (signal[0], signal[-1]) == (None, -67)
    assert set(column(reports, ids.VOLTAGE)) == {330}


def test_the_interface_is_down_until_the_network_is_joined_and_then_the_gateway_is_asked(ran):
    _, reports, _ = ran
    states = column(reports, ids.STATE)
    # Afterwards all is there but the broker.
    assert states[-1] == ids.DOWN_BROKER
    down = states.index(ids.DOWN_INTERFACE)
    gateway = column(reports, ids.RTT_GW_MEAN)
    assert gateway[down] is None
    assert any(value is not None for value in gateway), gateway


def test_the_first_event_tells_why_the_device_started(ran):
    _, reports, _ = ran
    first = reports[0].events[0]
    assert (first.kind, first.detail[1]) == (ids.BOOTED, ids.RESET_POWER)
    assert 5 not in first.detail


def test_the_watchdog_starts_with_the_agent_and_is_fed_by_its_rounds(ran):
    board, _, _ = ran
    assert board["watchdogs"][0] == 60000
    assert board["watchdogs"].count("feed") > 3


def test_nothing_but_the_volume_is_written_in_operation(ran):
    board, _, folder = ran
    made = {path.name for path in folder.iterdir() if path.suffix not in (".crt", ".key")}
    assert made == {"config.json", "journal", "seen"}
    assert "device.key" in board["beside"]
    assert board["on the volume"] == ["alive"]


def test_a_journal_that_was_unreadable_is_told_with_the_first_event(tmp_path):
    _, reports, _ = run(tmp_path, "noise")
    first = reports[0].events[0]
    assert (first.kind, first.detail[5]) == (ids.BOOTED, True)
