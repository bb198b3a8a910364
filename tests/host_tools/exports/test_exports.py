"""What other systems are given: read back as they would, compared with what operators see."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from host_tools.exports import netjson, senml
from host_tools.province.settings import Province
from host_tools.store.queries import SlotStatus
from tests.host_tools.conftest import Run
from tests.world.devices import Device
from tests.world.filled import Filled

NOW = 1_795_620_600
UP = SlotStatus(
    "6403112001-1", "6403112001", "up", NOW - 900, True, 48.0, 2.5, 1_000_000, 7, NOW - 20, 40.0, 3
)
SILENT = SlotStatus("6403112002-1", "6403112002", "no_data", NOW - 9000, False, 48.0)


def resolved(pack: list[dict]) -> dict[str, tuple[float, str, object]]:
    """Name -> time, unit, value, with the base fields put in (RFC 8428, section 4.6)."""
    found, name, time = {}, "", 0.0
    for record in pack:
        name, time = record.get("bn", name), record.get("bt", time)
        value = record["vs"] if "vs" in record else record["v"]
        found[name + record["n"]] = (time + record.get("t", 0), record.get("u", ""), value)
    return found


def test_a_senml_pack_gives_each_value_with_unit_and_time_of_the_report():
    found = resolved(senml.pack([UP, SILENT], NOW))
    assert found == {
        "urn:dev:ops:desalink-6403112001-1:state": (NOW - 20, "", "up"),
        "urn:dev:ops:desalink-6403112001-1:rtt": (NOW - 20, "s", 0.048),
        "urn:dev:ops:desalink-6403112001-1:loss": (NOW - 20, "/", 0.025),
        "urn:dev:ops:desalink-6403112001-1:traffic_today": (NOW - 20, "B", 1_000_000),
        "urn:dev:ops:desalink-6403112001-1:clients": (NOW - 20, "count", 7),
        "urn:dev:ops:desalink-6403112001-1:journal_fill": (NOW - 20, "/", 0.4),
        "urn:dev:ops:desalink-6403112001-1:backlog": (NOW - 20, "count", 3),
        # Values of a silent slot would look like new ones.
        "urn:dev:ops:desalink-6403112002-1:state": (NOW, "", "no_data"),
    }


@pytest.mark.parametrize(
    ("state", "up"),
    [("up", True), ("degraded", True), ("provider", False), ("no_data", None), ("power", None)],
)
def test_netjson_says_up_only_where_it_is_known(state: str, up: bool | None):
    (uplink,) = netjson.device_monitoring(
        SlotStatus("6403112001-1", "6403112001", state, NOW, True), None, NOW
    )["interfaces"]
    assert uplink.get("up") is up


def test_the_verb_gives_the_slots_that_were_asked_for(
    kaltim: Province, desalink: Run, tmp_path: Path
):
    filled = Filled(kaltim.database)
    for seed, slot in enumerate(("6403112001-1", "6401042002-1"), 1):
        device = Device(slot, seed=seed)
        filled.store(device, device.reports(2))
    filled.derive()
    filled.db.close()
    file = tmp_path / "now.json"
    run = partial(desalink, "-C", kaltim.directory, "export")
    assert run("netjson", "--regency", "6403", "-o", file).code == 0
    found = json.loads(file.read_text())
    assert found["type"] == "NetworkCollection"
    (device,) = found["collection"]
    assert device["type"] == "DeviceMonitoring"
    assert device["desalink"]["village"] and device["desalink"]["slot"] == "6403112001-1"
    pack = json.loads(run("senml").out)
    slots = {record["bn"] for record in pack if "bn" in record}
    assert slots == {f"urn:dev:ops:desalink-{s}:" for s in ("6403112001-1", "6401042002-1")}
