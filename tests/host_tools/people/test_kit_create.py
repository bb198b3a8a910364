"""Making a kit: what would fail in the village is refused, before anything is issued."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tools.devices.boards import load_board
from host_tools.devices.release import Release
from host_tools.keys.ca import Authority
from host_tools.people.kits import Kit, KitError
from host_tools.people.kits.create import Cargo
from host_tools.people.kits.opened import read_kit
from host_tools.people.kits.settings import read_settings
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from tests.host_tools.conftest import Run
from tests.host_tools.devices.test_firmware import published
from tests.host_tools.kits import KIT_PASSPHRASE, SECOND, SLOT, make_kit

NET = '[[board.wifi]]\nssid = "desa"\npassword = "rahasia1"\n'


@pytest.fixture(autouse=True)
def kit_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESALINK_KIT_PASSPHRASE", KIT_PASSPHRASE)


def _packed(
    kaltim: Province, authority: Authority, tmp_path: Path, text: str, *boards: str
) -> Kit:
    """A kit for two villages with settings and an agent for each board."""
    path = tmp_path / "sites.toml"
    path.write_text(text)
    releases = [Release("0.1.0", board, {"/main.py": b""}) for board in boards]
    with Registry.open(kaltim.directory) as registry:
        cargo = Cargo(read_settings(path), "sites.toml", releases=releases)
        return make_kit(kaltim, registry, authority, cargo=cargo)[0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("[link]\ndns = 'off'", "either wifi or ethernet"),
        (NET + "[board]\nfoo = 1", "foo: no such key"),
        ("[board]\nwifi = 3", "wifi: expected a list of networks"),
        ("[[board.wifi]]\nssid = 'desa'\npasword = 'x'", "wifi.pasword: no such key"),
        ("[[board.wifi]]\npassword = 'rahasia1'", "wifi.ssid: expected a text"),
        (NET + "[[village.6403112002.board.wifi]]\nssid = ''", "wifi.ssid: expected a text"),
        ("[board]\nname = 'esp32-poe'", "is packed for esp32-generic"),
        ("[board]\nname = ['esp32-generic']", "is packed for esp32-generic"),
    ],
)
def test_a_board_s_section_that_it_would_refuse_makes_no_kit(
    kaltim: Province, authority: Authority, tmp_path: Path, settings: str, sentence: str
):
    with pytest.raises(KitError) as refused:
        _packed(kaltim, authority, tmp_path, settings, "esp32-generic")
    told = str(refused.value)
    assert sentence in told and "esp32-generic" in told
    slot = SECOND if "village" in settings else f"{SLOT} (Bohe Silian)"
    assert told.startswith(f"sites.toml, slot {slot}")
    with Registry.open(kaltim.directory) as registry:
        assert registry.certificates(SLOT) == []


def test_a_village_by_cable_and_one_by_wifi_have_one_kit(
    kaltim: Province, authority: Authority, tmp_path: Path
):
    boards = ("esp32-generic", "esp32-poe", "raspberry-pi")
    with pytest.raises(KitError, match="not what esp32-poe takes"):
        _packed(kaltim, authority, tmp_path, NET, *boards)
    settings = f"""
        [slot."{SLOT}".board]
        name = "esp32-poe"
        [slot."{SECOND}".board]
        name = "esp32-generic"
        wifi = [{{ ssid = "desa" }}]
    """
    kit = _packed(kaltim, authority, tmp_path, settings, *boards)
    assert kit.slots[SLOT].config["board"] == {"name": "esp32-poe"}


def test_the_command_names_the_file_and_needs_wifi_for_a_board_that_has_nothing_else(
    desalink: Run, kaltim: Province, tmp_path: Path
):
    image = published(tmp_path, load_board("esp32-generic"))
    assert desalink("-C", kaltim.directory, "firmware", "add", image, "--pin").code == 0
    assert desalink("-C", kaltim.directory, "technicians", "add", "Ani").code == 0
    create = (
        *("-C", kaltim.directory, "kit", "create", "--villages", "6403112001"),
        *("--technician", "Ani", "-o", tmp_path / "trip.desakit", "--board", "esp32-generic"),
    )
    ended = desalink(*create)
    assert ended.code == 1 and ended.err.count("\n") == 1
    assert f"Without --settings, slot {SLOT} (Bohe Silian): " in ended.err
    settings = tmp_path / "sites.toml"
    settings.write_text("[[board.wifi]]\nssid = 'desa'\npasword = 'x'")
    ended = desalink(*create, "--settings", settings)
    assert ended.code == 1 and f"{settings}, slot {SLOT} (Bohe Silian): " in ended.err
    assert "wifi.pasword: no such key" in ended.err
    assert not (tmp_path / "trip.desakit").exists()
    settings.write_text(NET)
    ended = desalink(*create, "--settings", settings)
    assert ended.code == 0 and "for Ani with 1 slot is in" in ended.out


def test_a_kit_s_agent_has_only_what_its_settings_need(
    desalink: Run, kaltim: Province, tmp_path: Path
):
    assert desalink("-C", kaltim.directory, "technicians", "add", "Ani").code == 0
    settings = tmp_path / "sites.toml"
    settings.write_text("[usage.snmp]\nhost = '192.168.1.1'\n")
    path = tmp_path / "trip.desakit"
    create = (
        *("-C", kaltim.directory, "kit", "create", "--villages", "6403112001"),
        *("--technician", "Ani", "-o", path, "--board", "unix", "--settings", settings),
    )
    assert desalink(*create).code == 0
    files = read_kit(path, KIT_PASSPHRASE).releases["unix"].files
    assert "/agent/sources/snmp.mpy" in files
    assert not {"/agent/sources/ubus.mpy", "/agent/link/portal.mpy"} & files.keys()


def test_a_kit_that_can_not_be_written_issues_nothing(
    desalink: Run, kaltim: Province, tmp_path: Path
):
    assert desalink("-C", kaltim.directory, "technicians", "add", "Ani").code == 0
    ended = desalink(
        *("-C", kaltim.directory, "kit", "create", "--villages", "6403112001"),
        *("--technician", "Ani", "-o", tmp_path / "absent" / "dir" / "x"),
    )
    assert ended.code == 1
    assert f"There is no directory {tmp_path / 'absent' / 'dir'}; make it" in ended.err
    with Registry.open(kaltim.directory) as registry:
        assert registry.certificates(SLOT) == []
    assert "has made no kit" in desalink("-C", kaltim.directory, "kit", "list").err
