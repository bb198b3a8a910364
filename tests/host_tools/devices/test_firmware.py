"""The firmware cache: only trusted files that the board can start."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from host_tools.devices import partitions
from host_tools.devices.boards import Board, load_board
from host_tools.devices.firmware import FirmwareCache, FirmwareError, inspect, with_partitions
from host_tools.province.settings import Province
from tests.boards.images import APP, firmware, stock_table
from tests.host_tools.conftest import Run

BOARDS = {"esp32": "esp32-generic", "esp32s3": "esp32-s3", "esp32c3": "esp32-c3"}


@pytest.fixture
def cache(tmp_path: Path) -> FirmwareCache:
    return FirmwareCache(tmp_path / "province" / "firmware")


def published(folder: Path, board: Board, data: bytes | None = None) -> Path:
    """The board's file as it was fetched."""
    assert board.firmware and board.chip and board.flash_size
    path = folder / board.firmware.file
    path.write_bytes(firmware(board.chip, board.flash_size) if data is None else data)
    return path


# ---- hashes ------------------------------------------------------------------------------


def test_a_file_with_an_unknown_hash_is_refused_and_the_hash_is_shown(cache, tmp_path):
    file = published(tmp_path, load_board("esp32-generic"))
    with pytest.raises(FirmwareError, match="no hash of this file is known") as caught:
        cache.add(file)
    assert hashlib.sha256(file.read_bytes()).hexdigest() in str(caught.value)
    assert not cache.directory.exists()


@pytest.mark.parametrize("chip", BOARDS)
def test_a_file_that_is_pinned_serves_every_board_that_asks_for_it(cache, tmp_path, chip):
    board = load_board(BOARDS[chip])
    file = published(tmp_path, board)
    added = cache.add(file, pin=True)
    assert added.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert cache.path(board).read_bytes() == file.read_bytes()
    if chip == "esp32":
        assert cache.path(load_board("esp32-poe")) == cache.path(board)


def test_a_hash_from_elsewhere_decides_and_another_file_of_the_name_is_refused(cache, tmp_path):
    board = load_board("esp32-generic")
    file = published(tmp_path, board)
    with pytest.raises(FirmwareError, match="expected " + "0" * 64):
        cache.add(file, sha256="0" * 64)
    cache.add(file, sha256=hashlib.sha256(file.read_bytes()).hexdigest().upper())
    cache.add(file)  # known by now
    assert cache.path(board).exists()
    other = published(tmp_path, board, firmware(size=8004))
    for sha256 in (None, hashlib.sha256(other.read_bytes()).hexdigest()):
        with pytest.raises(FirmwareError, match="not the expected file"):
            cache.add(other, pin=True, sha256=sha256)


def test_missing_firmware_is_answered_with_where_to_get_it(cache):
    board = load_board("esp32-generic")
    with pytest.raises(FirmwareError) as caught:
        cache.path(board)
    assert board.firmware is not None
    assert board.firmware.url in str(caught.value)
    assert f"firmware add {board.firmware.file}" in str(caught.value)


def test_a_file_that_was_changed_or_only_copied_into_the_cache_is_not_used(cache, tmp_path):
    board = load_board("esp32-generic")
    cache.directory.mkdir(parents=True)
    copied = published(cache.directory, board)
    with pytest.raises(FirmwareError, match="not the file that was added"):
        cache.path(board)
    cache.add(copied, pin=True)
    copied.write_bytes(copied.read_bytes()[:-1] + b"x")
    with pytest.raises(FirmwareError, match="not the file that was added"):
        cache.path(board)


def test_a_newer_version_replaces_the_boards_own_in_this_province(cache, tmp_path):
    board = load_board("esp32-generic")
    cache.add(published(tmp_path, board), pin=True)
    newer = tmp_path / "ESP32_GENERIC-20251209-v1.27.0.bin"
    newer.write_bytes(firmware(size=9000))
    with pytest.raises(FirmwareError, match="No board asks for"):
        cache.add(newer, pin=True)
    added = cache.add(newer, pin=True, board="esp32-generic")
    assert (added.version, cache.path(board).name) == ("1.27.0", newer.name)
    # A board that was not named keeps its own.
    assert cache.path(load_board("esp32-poe")).name != newer.name
    # The file that was added last counts, also an older one.
    cache.add(published(tmp_path, board))
    assert cache.path(board).name != newer.name


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ESP32_GENERIC-20240602-v1.23.0.bin", "older"), ("latest.bin", "no version of")],
)
def test_a_version_that_the_agent_can_not_run_on_is_refused(cache, tmp_path, name, expected):
    file = tmp_path / name
    file.write_bytes(firmware())
    with pytest.raises(FirmwareError, match=expected):
        cache.add(file, pin=True, board="esp32-generic")


@pytest.mark.parametrize(
    "pins",
    [
        "x",
        '["a.bin"]\nsha256 = "0"\n',
        '["a.bin"]\nsha256 = "0"\nversion = "1.26.1"\nboards = []\n',
        f'["a.bin"]\nsha256 = "{"0" * 64}"\nversion = 1\nboards = []\n',
        f'["a.bin"]\nsha256 = "{"0" * 64}"\nversion = "1.26.1"\nboards = "all"\n',
    ],
)
def test_a_damaged_list_of_pins_is_reported_with_its_name(cache, pins):
    cache.directory.mkdir(parents=True)
    (cache.directory / "firmware.toml").write_text(pins)
    with pytest.raises(FirmwareError, match="firmware.toml"):
        cache.path(load_board("esp32-generic"))


# ---- images ------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", BOARDS)
@pytest.mark.parametrize("other", BOARDS)
def test_an_image_for_another_chip_is_refused(chip, other):
    board = load_board(BOARDS[chip])
    data = firmware(other, 0x400000)
    if chip == other:
        app = APP - board.flash_offset
        assert inspect("x.bin", data, board) == len(data) - app
        return
    with pytest.raises(FirmwareError, match=r"another chip|not an image|no partition table"):
        inspect("x.bin", data, board)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda whole: whole[:-5000] + bytes([whole[-5000] ^ 1]) + whole[-4999:], "damaged"),
        (lambda whole: whole[:-100], "x.bin"),
        (lambda whole: whole[: APP - 0x1000], "x.bin"),
        (lambda whole: b"<!DOCTYPE html>" * 9000, "not an image"),
        (lambda whole: b"", "not an image"),
        (lambda whole: firmware("esp32", 0x800000), "esp32-generic has 4096 KB"),
    ],
    ids=["a damaged byte", "cut", "bootloader only", "a page of html", "empty", "too large"],
)
def test_a_file_that_the_board_can_not_start_is_refused(spoil, sentence):
    with pytest.raises(FirmwareError, match=sentence):
        inspect("x.bin", spoil(firmware()), load_board("esp32-generic"))


# ---- partitions --------------------------------------------------------------------------


@pytest.mark.parametrize("chip", BOARDS)
def test_data_gets_a_partition_behind_the_code_and_nothing_else_moves(chip):
    board = load_board(BOARDS[chip])
    assert board.flash_size and board.code_bytes
    before = firmware(chip, board.flash_size)
    after = with_partitions(before, board)
    assert len(after) == len(before)
    table = partitions.read(after, board.flash_offset)
    stock = stock_table(board.flash_size)
    assert table is not None
    assert table[:3] == stock[:3]
    assert (table[3].name, table[3].offset, table[3].size) == (b"vfs", 0x200000, 0x80000)
    assert (table[4].name, table[4].offset) == (b"data", 0x280000)
    assert table[4].offset + table[4].size == board.flash_size
    assert table[4].size >= board.budgets["journal_bytes"] * 5 // 4
    inspect("x.bin", after, board)
    # All but the table is as it was, and doing it again changes nothing.
    at = partitions.OFFSET - board.flash_offset
    assert after[:at] == before[:at]
    assert after[at + 0xC00 :] == before[at + 0xC00 :]
    assert with_partitions(after, board) == after


@pytest.mark.parametrize("chip", BOARDS)
def test_firmware_of_our_own_build_keeps_its_partitions(cache, tmp_path, chip):
    board = load_board(BOARDS[chip])
    assert board.flash_size
    image = firmware(chip, board.flash_size, romfs=True)
    assert with_partitions(image, board) == image
    file = tmp_path / f"desalink-{board.name}-v1.26.1.bin"
    file.write_bytes(image)
    cache.add(file, pin=True, board=board.name)
    assert cache.path(board).read_bytes() == image


def test_the_table_ends_with_the_sum_that_the_bootloader_compares():
    packed = partitions.pack(stock_table(0x400000))
    entries, row = packed[: 4 * 32], packed[4 * 32 : 5 * 32]
    assert row == b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(entries).digest()
    assert packed[5 * 32 :] == b"\xff" * (0xC00 - 5 * 32)


def test_firmware_without_a_file_system_of_its_own_gets_one():
    board = load_board("esp32-generic")
    image = firmware()
    at = partitions.OFFSET - board.flash_offset
    table = partitions.pack([p for p in stock_table(0x400000) if p.name != b"vfs"])
    image = image[:at] + table + image[at + 0xC00 :]
    found = partitions.read(with_partitions(image, board), board.flash_offset)
    assert found is not None
    assert [p.name for p in found[3:]] == [b"vfs", b"data"]


def test_no_room_for_data_is_refused():
    board = replace(load_board("esp32-generic"), code_bytes=0x200000)
    with pytest.raises(FirmwareError, match="esp32-generic: .*no room for data"):
        with_partitions(firmware(), board)


# ---- the command -------------------------------------------------------------------------


def test_the_command_adds_and_lists(desalink: Run, kaltim: Province, tmp_path: Path):
    board = load_board("esp32-generic")
    file = published(tmp_path, board)
    refused = desalink("-C", kaltim.directory, "firmware", "add", file)
    assert (refused.code, "--pin" in refused.err) == (1, True)
    added = desalink("-C", kaltim.directory, "firmware", "add", file, "--pin")
    assert (added.code, added.err) == (0, "")
    listed = json.loads(desalink("-C", kaltim.directory, "firmware", "list", "--json").out)
    states = {row["board"]: row["state"] for row in listed}
    assert states["esp32-generic"] == states["esp32-poe"] == "here"
    assert states["esp32-s3"] == "missing"
    with pytest.raises(FirmwareError, match="add .*--sha256 HASH', or --pin in its place"):
        FirmwareCache(kaltim.directory / "firmware").path(load_board("esp32-s3"))
    (kaltim.directory / "firmware" / file.name).write_bytes(b"x")
    listed = json.loads(desalink("-C", kaltim.directory, "firmware", "list", "--json").out)
    assert {row["board"]: row["state"] for row in listed}["esp32-poe"] == "changed"
