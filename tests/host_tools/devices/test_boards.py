"""board.toml: what it may say, and what `desalink boards` makes of it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from host_tools.devices import boards
from host_tools.devices.boards import (
    BoardError,
    load_board,
    read_board,
)
from tests.host_tools.conftest import Run
from tests.support import ROOT


def _whole() -> str:
    """The ESP32's board.toml as it would be without a family."""
    own, table = (
        tomllib.loads((ROOT / "boards" / path).read_text())
        for path in ("esp32-generic/board.toml", "_esp32/family.toml")
    )
    del own["family"]
    sections = []
    for name, value in own.items():
        table[name] = {**table.get(name, {}), **value} if isinstance(value, dict) else value
    for name, value in list(table.items()):
        if isinstance(value, dict):
            sections += [f"[{name}]"] + [
                f"{json.dumps(k) if '.' in k else k} = {json.dumps(v)}" for k, v in value.items()
            ]
            del table[name]
    return "\n".join([f"{k} = {json.dumps(v)}" for k, v in table.items()] + sections) + "\n"


ESP32 = _whole()


@pytest.fixture
def board(tmp_path: Path):
    """Writes the ESP32's board.toml with changes, into a folder of its name; gives its path."""

    def write(*changes: tuple[str, str]) -> Path:
        text = ESP32
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "esp32-generic" / "board.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_every_esp32_names_the_source_of_its_firmware():
    for name in ("esp32-generic", "esp32-poe", "esp32-c3", "esp32-s3"):
        board = load_board(name)
        assert board.firmware is not None
        assert board.firmware.url.endswith("/" + board.firmware.file)
        assert board.firmware.version in board.firmware.file
        assert board.settings["name"] == name
        assert board.transport == "serial"
    assert load_board("esp32-poe").settings["ethernet"]["phy"] == "LAN8720"


def test_an_unknown_board_is_answered_with_those_there_are():
    with pytest.raises(BoardError, match="no board 'esp33'.*esp32-generic"):
        load_board("esp33")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('chip = "esp32"', 'cihp = "esp32"'), "cihp: no such key"),
        (('title = "ESP32, Wi-Fi"\n', ""), "title is missing"),
        (('chip = "esp32"', 'chip = "esp8266"'), 'chip: expected one of "esp32"'),
        (("flash_size = 4194304", 'flash_size = "4MB"'), "flash_size: expected a whole number"),
        (("flash_size = 4194304\n", ""), "flash_size is missing: a board with a chip"),
        (("flash_offset = 4096", "flash_offset = true"), "flash_offset: expected a whole"),
        (('chip = "esp32"\n', ""), "only a board with a chip has it"),
        (("[921600, 460800, 115200]", "[115200, 921600]"), "baud: expected the fastest rate"),
        (("[921600, 460800, 115200]", "[1]"), "baud: expected a list of rates"),
        (("_esp32/boot.py", "_esp32/bot.py"), "there is no boards/_esp32/bot.py"),
        (("boards/_esp32/boot.py", "../keys/root.key"), "files: expected a list of paths"),
        (("boards._esp32.board", "boards._esp32.prot"), "there is no boards/_esp32/prot.py"),
        (('version = "1.26.1"', "version = 1.26"), "firmware.version: expected a version"),
        (('sha256 = ""', 'sha256 = "abc"'), "firmware.sha256: expected 64 hexadecimal digits"),
        (('sha256 = ""\n', ""), "firmware.sha256 is missing"),
        (('arch = "xtensawin"', 'arch = "z80"'), "firmware.arch: expected one of"),
        (("https://micropython", "http://micropython"), "firmware.url: expected an address"),
        (("app_offset = 65536", "offset = 0x10000"), "firmware.offset: no such key"),
        (("code_bytes = 524288", "code_bytes = 524289"), "code_bytes: expected a multiple"),
        (("release_bytes = 262144", "release_bytes = 0"), "budgets.release_bytes: expected"),
        (('name = "esp32-generic"', 'name = "esp32"'), "name: expected 'esp32-generic'"),
        (
            ('name = "esp32-generic"\ncountry', 'name = "other"\ncountry'),
            "settings.name: expected 'esp32-generic'",
        ),
        (("[settings]", "[settings"), "can't be understood"),
    ],
)
def test_a_mistake_is_reported_with_file_and_key(board, change, expected):
    path = board(change)
    with pytest.raises(BoardError) as caught:
        read_board(path)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def test_the_list_is_a_table_and_json(desalink: Run):
    ended = desalink("boards")
    assert ended.code == 0
    row = next(line for line in ended.out.splitlines() if line.startswith("esp32-s3\t"))
    assert row.split("\t")[1:] == [
        "ESP32-S3, Wi-Fi",
        "esp32s3",
        "8 MB",
        "serial",
        "MicroPython 1.26.1",
        "ESP32-S3-DevKitC",
    ]
    listed = json.loads(desalink("boards", "--json").out)
    names = {board["name"] for board in listed}
    assert {"esp32-generic", "esp32-poe", "esp32-c3", "esp32-s3", "linux", "unix"} <= names
    assert next(b for b in listed if b["name"] == "esp32-poe")["settings"]["ethernet"]["mdc"] == 23


def test_the_check_builds_for_each_board_and_shows_what_is_not_pinned(desalink: Run):
    ended = desalink("boards", "check", "esp32-c3", "linux")
    assert (ended.code, ended.err) == (0, "")
    assert "esp32-c3: firmware ESP32_GENERIC_C3-" in ended.out
    assert "not pinned" in ended.out
    assert "linux: " in ended.out


def test_the_check_shows_every_mistake_and_ends_with_an_error(
    desalink: Run, board, monkeypatch: pytest.MonkeyPatch
):
    path = board(("budgets", "budget"))
    monkeypatch.setattr(boards, "FOLDER", path.parent.parent)
    ended = desalink("boards", "check")
    assert ended.code == 1
    assert "budget: no such key" in ended.err
    assert "1 of 1 boards are wrong" in ended.err
