"""Every screen of the menu: keys in, screen out, and the verb that it runs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click
import pytest

from host_tools.cli import desalink
from host_tools.common.i18n import set_language
from host_tools.field.menu.items import ITEMS
from host_tools.field.menu.keys import BACKSPACE, DOWN, ENTER, ESCAPE, PAGE_DOWN, TAB, UP, split
from host_tools.field.menu.screen import Choice
from tests.host_tools.field.menu.session import Session
from tests.host_tools.field.provision.world import KIT_PASSPHRASE, VILLAGES, World
from tests.world.kits import FieldDevice

FIRST = min(VILLAGES)  # of the kit
PASSPHRASE_KEYS = (KIT_PASSPHRASE, ENTER)


@pytest.fixture(autouse=True)
def _laptop(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A technician's laptop without a kit's file at hand."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DESALINK_LANG", "en")
    for name in ("DESALINK_KIT_PASSPHRASE", "DESALINK_STICK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_first_screen_names_each_verb_and_begins_with_what_comes_next(world: World) -> None:
    session = Session(world)
    home = session.press()
    assert "A kit is open, until" in home
    for verb in ("kit open", "doctor", "provision --village", "provision --batch"):
        assert f"desalink {verb}" in home
    assert "▸  2  Check this laptop" in home
    # After the check, the first device is next.
    home = session.press(ENTER, ENTER)
    assert session.verbs == [["--lang", "en", "doctor"]]
    assert "✓ Check this laptop" in home and "▸  3  Set up one device" in home


def test_each_verb_of_the_menu_is_one_of_desalink() -> None:
    for item in ITEMS:
        command: click.Command = desalink
        for part in item.verb.split():
            if part.startswith("-"):
                assert part in {name for option in command.params for name in option.opts}
            else:
                assert isinstance(command, click.Group)
                found = command.get_command(click.Context(command), part)
                assert found is not None, item.verb
                command = found


def test_damaged_log_is_a_sentence_on_the_screen(world: World) -> None:
    for number, slot in enumerate(list(world.kit.slots)[:2]):
        FieldDevice(f"24:0a:c4:00:00:0{number}").enrol(world.log, world.kit, slot)
    session = Session(world)
    session.press("5", *PASSPHRASE_KEYS)
    (log,) = (path for path in world.log.directory.iterdir() if path.stat().st_size > 20)
    log.write_bytes(log.read_bytes()[:30] + b"?" + log.read_bytes()[31:])
    assert "damagedatrecord" in _unfolded(session.press())
    said = session.press("3")
    assert "This does not work" in said and "damagedatrecord" in _unfolded(said)


def test_esc_ends_the_menu(world: World) -> None:
    assert Session(world).press(ESCAPE) == ""


def test_failed_verb_can_be_run_again_at_once(world: World) -> None:
    session = Session(world)
    session.codes = [1, 1]
    shown = session.press("2", ENTER, ENTER)
    assert len(session.verbs) == 3
    assert "Enter: try again" in session.screens[-2] and "Enter: back" in shown
    session = Session(world)
    session.codes = [1]
    home = session.press("2", ESCAPE)
    assert len(session.verbs) == 1 and "✓" not in home


def test_kit_of_the_stick_is_opened_with_its_passphrase(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "ani.desakit").write_bytes(world.kit_file.read_bytes())
    monkeypatch.setenv("DESALINK_STICK", str(stick))
    world.laptop = tmp_path / "nothing"
    session = Session(world)
    home = session.press()
    assert "No kit is open" in home and "▸  1  Open the kit" in home
    assert "Guide.pdf" in _unfolded(home)
    assert "ani.desakit" in session.press(ENTER)
    asked = session.press(ENTER, ENTER, "wrong passphrase")
    assert "•" * 16 in asked and "wrong" not in asked
    assert "passphrase" in session.press(ENTER, ENTER, "wrong passphrase", ENTER)
    assert not session.verbs
    session.press(ENTER, ENTER, *PASSPHRASE_KEYS)
    assert session.verbs == [["--lang", "en", "kit", "open", str(stick / "ani.desakit")]]


def test_kit_that_was_not_opened_after_all_is_forgotten(world: World, tmp_path: Path) -> None:
    world.laptop = tmp_path / "nothing"
    session = Session(world)
    session.codes = [1]
    home = session.press("1", ENTER, str(world.kit_file), ENTER, *PASSPHRASE_KEYS, ESCAPE)
    assert "No kit is open" in home
    assert "kit's passphrase" in session.press("3")


def test_kit_of_another_folder_is_typed(world: World, tmp_path: Path) -> None:
    session = Session(world)
    said = session.press("1", ENTER, str(tmp_path / "none.desakit"), ENTER, *PASSPHRASE_KEYS)
    assert "This does not work" in said and "none.desakit" in _unfolded(said)
    session.press("1", ENTER, str(world.kit_file), ENTER, *PASSPHRASE_KEYS)
    assert session.verbs == [["--lang", "en", "kit", "open", str(world.kit_file)]]


def test_village_is_found_by_name_or_on_the_map(world: World, tmp_path: Path) -> None:
    FieldDevice("24:0a:c4:00:00:01").enrol(world.log, world.kit, f"{FIRST}-1")
    port = tmp_path / "ttyUSB0"
    port.touch()
    session = Session(world, str(port))
    villages = session.press("3", *PASSPHRASE_KEYS)
    names = [world.kit.slots[f"{code}-1"].village.name for code in VILLAGES]
    assert all(name in villages for name in names)
    # The first without a device is proposed.
    assert f"✓ {names[4]}" in villages and f"▸ {names[5]}" in _joined(villages)
    assert f"Maratua  {VILLAGES[1]}" in villages
    found = session.press("3", names[3].upper(), ENTER)
    command = f"desalink provision --village {VILLAGES[3]} --port {port} --offline"
    assert _unfolded(command) in _unfolded(found)
    assert "Nothing matches" in session.press("3", "nowhere")
    assert names[1] in session.press("3", "nowhere", *[BACKSPACE] * 7)
    # Nobody gave positions.
    assert "Tab" not in villages


def test_villages_in_the_order_of_the_map(world: World) -> None:
    """Positions on a line from north to south; the kit's order is another."""
    session = Session(world)
    session.press("5", *PASSPHRASE_KEYS)
    kit = session.menu.trip.kit
    assert kit is not None
    slots = {}
    for place, (name, slot) in zip((3, 1, 7, 5), kit.slots.items(), strict=False):
        village = replace(slot.village, lat=-place / 10, lon=117.0)
        slots[name] = replace(slot, village=village)
    rest = [name for name in kit.slots if name not in slots]
    session.menu.trip.kit = replace(kit, slots={**slots, rest[0]: kit.slots[rest[0]]})
    names = [slot.village.name for slot in session.menu.trip.kit.slots.values()]
    by_kit, by_map = session.press("3"), session.press("3", TAB)
    assert sorted(names, key=by_kit.index) == names and "Tab order of the map" in by_kit
    wanted = [names[1], names[0], names[3], names[2], names[4]]
    assert sorted(names, key=by_map.index) == wanted and "Tab order of the kit" in by_map
    session.press("4", "3", "1")
    codes = [slot.slot[:10] for slot in session.menu.trip.kit.slots.values()]
    wanted = [codes[1], codes[0], codes[3], codes[2], codes[4]]
    assert session.verbs[-1][-2:] == ["--villages", ",".join(wanted)]


def test_device_is_set_up_with_what_differs_from_the_kit(world: World, tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    session = Session(world, str(port))
    first = (*PASSPHRASE_KEYS, ENTER)
    shown = session.press("3", *first, "2", "4", "Kantor", ENTER)
    assert "network is here" in shown and "Wi-Fi: Kantor" in shown
    shown = session.press("3", ENTER, "2", "3")
    assert "site is measured" in shown and "--site" in _joined(shown)
    session.press("3", ENTER, "2", "4", "Kantor", ENTER, "5", DOWN, ENTER, "1")
    kinds = list(world.kit.releases)
    command = ["provision", "--village", FIRST, "--port", str(port), "--wifi", "Kantor"]
    assert session.verbs == [["--lang", "en", *command, "--board", kinds[0]]]
    assert "Which village?" in session.press("3", ENTER, ESCAPE)
    assert "Set up one device" in session.press("3", ENTER, ESCAPE, ESCAPE)
    FieldDevice("24:0a:c4:00:00:01").enrol(world.log, world.kit, f"{FIRST}-1")
    shown = session.press("3", FIRST, ENTER)
    assert "has a device already" in shown and "--replace" in _unfolded(shown)


def test_board_is_looked_for_until_it_is_there(world: World, tmp_path: Path) -> None:
    session = Session(world, f"{tmp_path}/tty*")
    assert "No board was found" in session.press("3", *PASSPHRASE_KEYS, ENTER)
    for name in ("ttyUSB0", "ttyUSB1"):
        (tmp_path / name).touch()
    shown = session.press("3", ENTER)
    assert "ttyUSB0" in shown and "Search again" in shown
    session.press("3", ENTER, DOWN, ENTER, ENTER)
    assert f"{tmp_path}/ttyUSB1" in session.verbs[0]


def test_device_over_ssh(tmp_path: Path) -> None:
    world = World(tmp_path / "own", chips=["esp32"], villages=VILLAGES[:1], others=["openwrt"])
    session = Session(world, f"{tmp_path}/tty*")
    shown = session.press("3", *PASSPHRASE_KEYS, ENTER)
    assert "A router or Raspberry Pi" in shown
    session.press("3", ENTER, ENTER, "root@192.168.1.1", ENTER, ENTER)
    command = ["provision", "--village", VILLAGES[0], "--ssh", "root@192.168.1.1", "--offline"]
    assert session.verbs == [["--lang", "en", *command]]


def test_installed_device_is_visited(world: World, tmp_path: Path) -> None:
    (tmp_path / "ttyUSB0").touch()
    session = Session(world, f"{tmp_path}/tty*")
    session.press("8", ENTER)
    session.press("9", DOWN, ENTER, "root@192.168.1.1", ENTER)
    session.press(PAGE_DOWN, UP, UP, ENTER, *PASSPHRASE_KEYS, ENTER)
    assert [verb[2:] for verb in session.verbs] == [
        ["device", "talk", f"{tmp_path}/ttyUSB0"],
        ["device", "watch", "root@192.168.1.1"],
        ["device", "accept", f"{tmp_path}/ttyUSB0"],
    ]


def test_many_devices(world: World, tmp_path: Path) -> None:
    session = Session(world, f"{tmp_path}/tty*")
    shown = session.press("4", *PASSPHRASE_KEYS, "3")
    assert "hub with its own power" in shown and "asked for at each board" in shown
    session.press("4", "3", "2", "1")
    command = ["provision", "--batch", "--port", f"{tmp_path}/tty*", "--ask"]
    assert session.verbs == [["--lang", "en", *command]]


def test_what_is_left_labels_and_export(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESALINK_STICK", str(tmp_path))
    session = Session(world)
    session.press("5", *PASSPHRASE_KEYS)
    shown = session.press("6")
    assert "labels.pdf" in _unfolded(shown)
    session.press("6", ENTER)
    session.press("7", ENTER)
    verbs = [verb[2:] for verb in session.verbs]
    assert verbs[0] == ["kit", "show", "--left"]
    assert verbs[1] == ["labels", "--trip", "-o", str(tmp_path / "labels.pdf")]
    assert verbs[2][:3] == ["enrolments", "export", "-o"]
    assert Path(verbs[2][3]).parent == tmp_path


def test_passphrase_is_given_to_verbs_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str | None] = []

    def run(session: Session, arguments: list[str]) -> int:
        given.append(os.environ.get("DESALINK_KIT_PASSPHRASE"))
        return 0

    monkeypatch.setattr(Session, "run", run)
    Session(world).press("5", *PASSPHRASE_KEYS)
    assert given == [KIT_PASSPHRASE] and "DESALINK_KIT_PASSPHRASE" not in os.environ


def test_both_languages(world: World) -> None:
    session = Session(world)
    try:
        shown = session.press(PAGE_DOWN, ENTER)
        assert "Periksa laptop ini" in shown and "English" in shown
        shown = session.press("3", *PASSPHRASE_KEYS)
        assert "Desa yang mana?" in shown and "Esc kembali" in shown
        assert "Check this laptop" in session.press(PAGE_DOWN, ENTER)
    finally:
        set_language(None)


def test_long_list_scrolls(world: World) -> None:
    session = Session(world)
    choices = [Choice(f"line {n:02}") for n in range(60)]

    def show() -> None:
        with session.menu.screen as screen:
            screen.choose("A list", choices)

    session.menu.show = show  # type: ignore[method-assign]
    shown = session.press(PAGE_DOWN, DOWN)
    assert "▸ line 16" in _joined(shown) and "line 00" not in shown
    assert "line 59" in session.press(UP, *[PAGE_DOWN] * 5)


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("\x1b[A\x1bOB\x1b[5~", ["up", "down", "page up"]),
        ("a\r\x1b", ["a", ENTER, ESCAPE]),
        ("\x1b[1;5Cé\t\x7f", ["other", "é", TAB, BACKSPACE]),
    ],
)
def test_keys_that_arrive_together(sent: str, keys: list[str]) -> None:
    assert list(split(sent)) == keys


def _joined(screen: str) -> str:
    """With each line break and stretch of blanks as one blank."""
    return " ".join(screen.split())


def _unfolded(screen: str) -> str:
    """Without blanks and line breaks: a long path is folded anywhere."""
    return "".join(screen.split())
