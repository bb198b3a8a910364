"""Making a kit: what would fail in the village is refused, before anything is issued."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tools.devices.boards import load_board
from host_tools.devices.heap import HeapError
from host_tools.devices.release import Release
from host_tools.keys.ca import Authority
from host_tools.people.kits import Kit, KitError
from host_tools.people.kits.create import Cargo
from host_tools.people.kits.opened import read_kit
from host_tools.people.kits.settings import read_settings
from host_tools.province.settings import Province
from tests.boards.images import firmware as image
from tests.host_tools.conftest import PASSPHRASE, Ended, Run
from tests.host_tools.devices.test_firmware import published
from tests.world.evidencing import signing_registry
from tests.world.kits import KIT_PASSPHRASE, SECOND, SLOT, make_kit

NET = '[[board.wifi]]\nssid = "desa"\npassword = "rahasia1"\n'


SITES = "sites.toml"


@pytest.fixture(autouse=True)
def kit_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESALINK_KIT_PASSPHRASE", KIT_PASSPHRASE)


@pytest.fixture
def create(desalink: Run, kaltim: Province, tmp_path: Path) -> Callable[..., Ended]:
    """`desalink kit create` for one village, by a technician who is there."""
    assert desalink("-C", kaltim.directory, "technicians", "add", "Ani").code == 0

    def run(*more: object, output: Path = tmp_path / "trip.desakit") -> Ended:
        return desalink(
            *("-C", kaltim.directory, "kit", "create", "--villages", "6403112001"),
            *("--technician", "Ani", "-o", output, *more),
        )

    return run


def _nothing_is_issued(province: Province) -> bool:
    with signing_registry(province) as registry:
        return registry.certificates(SLOT) == [] and registry.kits() == []


def _packed(
    kaltim: Province, authority: Authority, tmp_path: Path, text: str, *boards: str
) -> Kit:
    """A kit for two villages with settings and an agent for each board."""
    path = tmp_path / SITES
    path.write_text(text)
    releases = [Release("0.1.0", board, {"/main.py": b""}) for board in boards]
    with signing_registry(kaltim) as registry:
        cargo = Cargo(read_settings(path), SITES, releases=releases)
        return make_kit(kaltim, registry, authority, cargo=cargo)[0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("[link", "can't be understood"),
        ("since = 2026-01-01", "can't be understood"),
        ("village = 3", "village: expected a section"),
        ("[link]\ncolour = 'red'", "link.colour: no such key"),
        ("port = 'x'", "can't set port"),
        ("[broker]\nkey = 'x'", "can't set broker.key"),
        ("[cadence]\nround_s = 0", "cadence.round_s: expected an integer from 1 to 60"),
        ("[village.6403119999.link]\ngateway = 'off'", "6403119999, which is no regency"),
        ("board = 3", "expected an object"),
        # What only the board knows; the sentence names the first slot with the mistake.
        (
            "[link]\ndns = 'off'",
            rf"{SITES}, slot {SLOT} \(Bohe Silian\): .*wifi or ethernet",
        ),
        (NET + "[board]\nfoo = 1", "foo: no such key"),
        ("[board]\nwifi = 3", "wifi: expected a list of networks"),
        ("[[board.wifi]]\nssid = 'desa'\npasword = 'x'", "wifi.pasword: no such key"),
        ("[[board.wifi]]\npassword = 'rahasia1'", "wifi.ssid: expected a text"),
        (
            NET + "[[village.6403112002.board.wifi]]\nssid = ''",
            rf"{SITES}, slot {SECOND} .*esp32-generic.* wifi.ssid: expected a text",
        ),
        ("[board]\nname = 'esp32-poe'", "is packed for esp32-generic"),
        ("[board]\nname = ['esp32-generic']", "is packed for esp32-generic"),
    ],
)
def test_settings_that_a_device_would_refuse_make_no_kit(
    kaltim: Province, authority: Authority, tmp_path: Path, settings: str, sentence: str
):
    with pytest.raises(KitError) as refused:
        _packed(kaltim, authority, tmp_path, settings, "esp32-generic")
    assert re.search(sentence, str(refused.value)), refused.value
    assert "\n" not in str(refused.value)
    assert _nothing_is_issued(kaltim)


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


@pytest.mark.parametrize(
    ("board", "settings", "romfs", "fits"),
    [
        ("esp32-generic", "", False, False),
        ("esp32-generic", "", True, True),
        ("esp32-generic", "[board]\npsram = true", False, True),
        ("raspberry-pi", "", False, True),
    ],
)
def test_a_source_that_a_board_has_no_memory_for_makes_no_kit(
    kaltim: Province,
    authority: Authority,
    tmp_path: Path,
    board: str,
    settings: str,
    romfs: bool,
    fits: bool,
):
    path = tmp_path / SITES
    path.write_text(NET + settings + "\n[usage.snmp]\nhost = '192.168.1.1'\n")
    firmware = {board: ("firmware.bin", image(romfs=romfs))}
    releases = [Release("0.1.0", board, {"/main.py": b""})]
    with signing_registry(kaltim) as registry:
        cargo = Cargo(read_settings(path), SITES, firmware, releases)
        if fits:
            assert make_kit(kaltim, registry, authority, cargo=cargo)
            return
        with pytest.raises(HeapError, match=rf"^{SITES}, slot {SLOT} \(Bohe Silian\): .* snmp"):
            make_kit(kaltim, registry, authority, cargo=cargo)
    assert _nothing_is_issued(kaltim)


def test_the_command_names_the_file_and_needs_wifi_for_a_board_that_has_nothing_else(
    desalink: Run, create: Callable[..., Ended], kaltim: Province, tmp_path: Path
):
    image = published(tmp_path, load_board("esp32-generic"))
    assert desalink("-C", kaltim.directory, "firmware", "add", image, "--pin").code == 0
    ended = create("--board", "esp32-generic")
    assert ended.code == 1 and ended.err.count("\n") == 1
    assert f"Without --settings, slot {SLOT} (Bohe Silian): " in ended.err
    settings = tmp_path / SITES
    settings.write_text("[[board.wifi]]\nssid = 'desa'\npasword = 'x'")
    ended = create("--board", "esp32-generic", "--settings", settings)
    assert ended.code == 1 and f"{settings}, slot {SLOT} (Bohe Silian): " in ended.err
    assert not (tmp_path / "trip.desakit").exists()
    settings.write_text(NET)
    ended = create("--board", "esp32-generic", "--settings", settings)
    assert ended.code == 0 and "for Ani with 1 slot is in" in ended.out


def test_a_kit_s_agent_has_only_what_its_settings_need(
    create: Callable[..., Ended], tmp_path: Path
):
    settings = tmp_path / SITES
    settings.write_text("[usage.snmp]\nhost = '192.168.1.1'\n")
    assert create("--board", "unix", "--settings", settings).code == 0
    files = read_kit(tmp_path / "trip.desakit", KIT_PASSPHRASE).releases["unix"].files
    assert "/agent/sources/snmp.mpy" in files
    assert not {"/agent/sources/ubus.mpy", "/agent/link/portal.mpy"} & files.keys()


@pytest.mark.parametrize(
    ("folder", "secret", "sentence"),
    [
        ("absent/dir", KIT_PASSPHRASE, "There is no directory {folder}; make it"),
        ("", PASSPHRASE, "a passphrase of its own"),
        ("", "short", "needs at least 8"),
    ],
)
def test_a_kit_that_can_not_be_written_or_sealed_issues_nothing(
    create: Callable[..., Ended],
    kaltim: Province,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    secret: str,
    sentence: str,
):
    monkeypatch.setenv("DESALINK_KIT_PASSPHRASE", secret)
    output = tmp_path / folder / "kit"
    ended = create(output=output)
    assert (ended.code, sentence.format(folder=output.parent) in ended.err) == (1, True)
    assert _nothing_is_issued(kaltim) and not output.exists()


def test_a_full_disk_leaves_no_kit_on_record_as_valid(
    create: Callable[..., Ended], desalink: Run, kaltim: Province, tmp_path: Path, monkeypatch
):
    assert create(output=tmp_path / "good").code == 0

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("host_tools.people.kits.create.write_private", full)
    ended = create(output=tmp_path / "kit")
    assert ended.code == 1 and f"The disk is full at {tmp_path / 'kit'}" in ended.err
    listed = json.loads(desalink("-C", kaltim.directory, "kit", "list", "--json").out)
    assert sorted(entry["state"] for entry in listed) == ["revoked", "valid"]
