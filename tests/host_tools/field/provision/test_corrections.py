"""Settings that are corrected on the spot: on the device, in the log, at the province."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.host_tools.field.provision.rig import Board, Hub
from tests.host_tools.field.provision.world import PASSPHRASE, VILLAGES, World

_SECRET = "rahasia sekali"


def _config(board: Board) -> dict[str, dict[str, object]]:
    return dict(json.loads((board.files / "device/config.json").read_text()))


def test_corrections_reach_the_device_the_log_and_the_province(tmp_path: Path, a_hub: Hub) -> None:
    # A province of its own, as the device is enrolled there.
    world = World(tmp_path / "own", chips=["esp32"], villages=VILLAGES[3:4])
    board = a_hub.board()
    port = board.plug()
    done = world.provision(
        *(port, VILLAGES[3], "--wifi", "Balai Desa", "--set", "cadence.report_samples", "3"),
        DESALINK_WIFI_PASSWORD=_SECRET,
    )
    assert done.returncode == 0, done.stderr
    seed = world.check_done(board, VILLAGES[3])
    config = _config(board)
    assert config["board"]["wifi"] == [{"ssid": "Balai Desa", "password": _SECRET}]
    assert config["cadence"]["report_samples"] == 3

    # Later somebody comes back, for the settings alone.
    sent = len(board.incoming)
    again = world.provision(
        *(port, VILLAGES[3], "--settings-only", "--set", "cadence.report_samples", "4"),
    )
    assert again.returncode == 0, again.stderr
    assert "firmware" not in again.stdout and "agent" not in again.stdout
    assert len(board.incoming) - sent < 0.25 * sent
    assert _config(board)["cadence"]["report_samples"] == 4
    assert (board.files / "device/device.key").read_bytes()[:32] == seed
    first, second = world.log.records()
    assert first.corrections == {
        "board.wifi": '[{"ssid": "Balai Desa"}]',
        "cadence.report_samples": "3",
    }
    assert second.corrections == {"cadence.report_samples": "4"}
    assert first.device == second.device
    assert _SECRET.encode() not in world.log.export()

    export = world.place / "trip.desalog"
    assert world.desalink("enrolments", "export", "-o", export).returncode == 0
    province = ("-C", world.province.directory, "enrolments")
    said = world.desalink(*province, "import", export, DESALINK_PASSPHRASE=PASSPHRASE)
    assert "Settings of 6403112004-1 differ from the kit: board.wifi" in said.stdout, said.stderr
    listed = json.loads(world.desalink(*province, "list", "--json").stdout)
    assert listed[-1]["corrections"] == {"cadence.report_samples": "4"}


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("broker.key", "x", "only the kit sets it"),
        ("cadence.report_samples", "9999", "cadence.report_samples"),
        ("nonsense.key", "1", "nonsense"),
    ],
)
def test_a_correction_that_a_device_would_refuse_reaches_none(
    world: World, a_hub: Hub, key: str, value: str, sentence: str
) -> None:
    board = a_hub.board()
    done = world.provision(board.plug(), VILLAGES[0], "--set", key, value)
    assert done.returncode == 1 and sentence in done.stderr
    assert not list(board.files.iterdir()) and not world.log.records()
