"""The definitions of firmware with ROMFS: they agree with board.toml, and name nothing that
MicroPython 1.26.1 does not have. The firmware itself is not built here.
"""

import re
import subprocess
from pathlib import Path

import pytest

from host_tools.devices.boards import Board, all_boards
from host_tools.devices.partitions import CODE, DATA, Partition
from host_tools.devices.romfs import PARTITION, RECORD_SPACE
from tests.boards.images import DEFINITIONS, romfs_table

BOARDS = [board for board in all_boards() if board.family == "_esp32"]
each_board = pytest.mark.parametrize("board", BOARDS, ids=[board.name for board in BOARDS])

# Symbol -> a file of MicroPython 1.26.1 that defines it, or has it in a build of its own.
SYMBOLS = {
    "MICROPY_VFS_ROM": "py/mpconfig.h",
    "MICROPY_PY_BLUETOOTH": "ports/esp32/mpconfigport.h",
    "MICROPY_PY_ESPNOW": "ports/esp32/mpconfigport.h",
    "MICROPY_HW_BOARD_NAME": "ports/esp32/boards/ESP32_GENERIC/mpconfigboard.h",
    "MICROPY_HW_MCU_NAME": "ports/esp32/boards/ESP32_GENERIC/mpconfigboard.h",
    "MICROPY_HW_ENABLE_UART_REPL": "ports/esp32/boards/ESP32_GENERIC_C3/mpconfigboard.h",
    "MICROPY_FROZEN_MANIFEST": "ports/esp32/CMakeLists.txt",
    "MICROPY_BOARD_DIR": "ports/esp32/CMakeLists.txt",
    "SDKCONFIG_DEFAULTS": "ports/esp32/CMakeLists.txt",
    "IDF_TARGET": "ports/esp32/boards/ESP32_GENERIC_C3/mpconfigboard.cmake",
    "CONFIG_PARTITION_TABLE_CUSTOM_FILENAME": "ports/esp32/boards/sdkconfig.base",
    "CONFIG_ESPTOOLPY_FLASHSIZE_8MB": "ports/esp32/boards/SIL_WESP32/sdkconfig.board",
}
# Files of its ports/esp32/boards that the definitions build upon.
PARTS = {
    "sdkconfig.base",
    "sdkconfig.usb",
    "sdkconfig.spiram_sx",
    "ESP32_GENERIC_C3/sdkconfig.c3usb",
    "ESP32_GENERIC_S3/sdkconfig.board",
}


def definition(board: Board, name: str) -> str:
    return (DEFINITIONS / board.name / name).read_text()


def code(path: Path) -> str:
    """A file without its comments."""
    return re.sub(r"(?m)(//|#(?!define|include)).*$", "", path.read_text())


def table(board: Board) -> list[Partition]:
    """The partitions that the definition names."""
    (size,) = re.findall(r"desalink/sdkconfig\.(\d+)", definition(board, "mpconfigboard.cmake"))
    named = f'FILENAME="boards/desalink/partitions-{size}MiB.csv"'
    assert named in (DEFINITIONS / f"sdkconfig.{size}MiB").read_text()
    return romfs_table(int(size) << 20)


@each_board
def test_the_partitions_fill_the_boards_flash_and_hold_what_its_toml_says(board):
    assert board.firmware and board.flash_size
    partitions = table(board)
    assert partitions[0].offset == 0x9000
    for before, after in zip(partitions, partitions[1:], strict=False):
        assert before.offset + before.size == after.offset, after
    assert partitions[-1].offset + partitions[-1].size == board.flash_size
    sizes = {p.name: p.size for p in partitions}
    assert sizes[PARTITION] // 2 % 0x1000 == 0
    # 4 KiB for the names and records of the files.
    assert sizes[PARTITION] // 2 >= board.budgets["release_bytes"] + RECORD_SPACE + 0x1000
    assert sizes[DATA] >= board.budgets["journal_bytes"] * 5 // 4
    assert sizes[CODE] >= 0x20000
    (app,) = [p for p in partitions if p.type == 0]
    assert app.offset == board.firmware.app_offset and app.offset % 0x10000 == 0


@each_board
def test_a_definition_is_for_the_boards_chip(board):
    target = re.findall(r"set\(IDF_TARGET (\w+)\)", definition(board, "mpconfigboard.cmake"))
    assert (target or ["esp32"]) == [board.chip]
    assert f'"{str(board.chip).upper()}"' in definition(board, "mpconfigboard.h")


def test_the_definitions_name_only_what_that_micropython_has():
    used, parts = set(), set()
    files = [*DEFINITIONS.glob("*/mpconfigboard.*"), DEFINITIONS / "desalink.h"]
    for path in [*files, *DEFINITIONS.glob("sdkconfig.*")]:
        used |= set(re.findall(r"\b(?:MICROPY|CONFIG|SDKCONFIG|IDF)_\w+", code(path)))
        parts |= set(re.findall(r"boards/(?!desalink)(\S+)", code(path)))
    assert used == set(SYMBOLS)
    assert parts == PARTS


def test_the_build_is_of_the_micropython_whose_files_the_boards_load():
    (version,) = re.findall(r"VERSION=(\S+)", (DEFINITIONS / "build.sh").read_text())
    assert {board.firmware.version for board in BOARDS if board.firmware} == {version}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "usage"), (["esp8266"], "no firmware for 'esp8266'"), (["esp32-c3"], "missing")],
)
def test_the_build_says_what_is_missing(tmp_path, arguments, said):
    (tmp_path / "bin").mkdir()
    for program in ("bash", "dirname", "basename", "mkdir"):
        found = subprocess.run(["which", program], capture_output=True, text=True, check=True)
        (tmp_path / "bin" / program).symlink_to(found.stdout.strip())
    folder = [tmp_path / "out"] if arguments else []
    done = subprocess.run(
        ["bash", DEFINITIONS / "build.sh", *folder, *arguments],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and said in done.stderr, done.stderr
