"""Boards that only the tests have, beside the real ones: chips whose interpreter is the unix port.

`DESALINK_TEST_BOARDS` hands the folder on to a `desalink` that a test starts (`launch.py`). What
that one does not need is imported where it is used: it is started a hundred times.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from host_tools.devices import boards
from host_tools.devices.boards import load_board
from host_tools.devices.code import files
from host_tools.devices.release import Release, build_release
from tests.support import ROOT

VARIABLE = "DESALINK_TEST_BOARDS"
# A folder in which other processes find the releases that this one has built.
shared: Path | None = None
_BOARD = """\
family = "_esp32"
name = "{name}"
title = "emulated {chip}"
port = "boards.rig.board"
files = ["boards/rig/main.py"]
chip = "{chip}"
flash_size = 0x400000
flash_offset = {offset}
[firmware]
file = "{name}.bin"
url = "https://example.org/firmware.bin"
arch = "{arch}"
[settings]
name = "{name}"
"""


def board_name(chip: str) -> str:
    """The board of an emulated chip."""
    return f"rig-{chip}"


@cache
def _own() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="desalink-")  # gone when the process ends


@cache
def the_tree() -> Path:
    """A folder like the repository, with the agent, all boards and the emulated ones. One for all
    provinces of a process: what is worked out of its files is remembered by their path."""
    return _make_tree(Path(_own().name) / "tree")


@cache
def release(name: str) -> Release:
    """The agent for a board of `the_tree`, built once."""
    from filelock import FileLock

    folder = shared or Path(_own().name)
    with FileLock(folder / f"{name}.lock"):
        built = folder / f"{name}.release"
        if not built.exists():
            built.write_bytes(pickle.dumps(build_release(load_board(name))))
        its: Release = pickle.loads(built.read_bytes())
        return its


def _make_tree(folder: Path) -> Path:
    from tests.boards.images import FLASH_OFFSET

    # Copies: the release builder follows no links when it collects names.
    for name in ("agent", "boards"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copytree(Path(__file__).with_name("rigboard"), folder / "boards" / "rig")
    for chip, offset in FLASH_OFFSET.items():
        name, arch = board_name(chip), "rv32imc" if chip == "esp32c3" else "xtensawin"
        (folder / "boards" / name).mkdir()
        text = _BOARD.format(name=name, chip=chip, offset=offset, arch=arch)
        (folder / "boards" / name / "board.toml").write_text(text)
    return folder


def use_tree(folder: Path) -> None:
    """This process finds its boards and the agent there."""
    boards.FOLDER = folder / "boards"
    files.ROOT = folder


@contextmanager
def other_tree(folder: Path | None = None) -> Iterator[None]:
    """Use a tree, if one is given, and the repository again after the block."""
    if folder is not None:
        use_tree(folder)
    try:
        yield
    finally:
        use_tree(ROOT)
