"""Boards that only the tests have, beside the real ones: chips whose interpreter is the unix port.

`DESALINK_TEST_BOARDS` hands the folder on to a `desalink` that a test starts (`launch.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

from host_tools.devices import boards, release
from tests.boards.images import APP, FLASH_OFFSET
from tests.support import ROOT

VARIABLE = "DESALINK_TEST_BOARDS"
_RIG = Path(__file__).with_name("rigboard")
_FILES = ["boards/rig/main.py"]


def board_name(chip: str) -> str:
    """The board of an emulated chip."""
    return f"rig-{chip}"


def make_tree(folder: Path) -> Path:
    """A folder like the repository, with the agent, all boards and the emulated ones."""
    (folder / "boards").mkdir(parents=True)
    (folder / "agent").symlink_to(ROOT / "agent")
    for entry in (ROOT / "boards").iterdir():
        (folder / "boards" / entry.name).symlink_to(entry)
    (folder / "boards" / "rig").symlink_to(_RIG)
    for chip, offset in FLASH_OFFSET.items():
        directory = folder / "boards" / board_name(chip)
        directory.mkdir()
        arch = "rv32imc" if chip == "esp32c3" else "xtensawin"
        (directory / "board.toml").write_text(
            f'name = "{board_name(chip)}"\n'
            f'title = "emulated {chip}"\n'
            'interpreter = "micropython"\n'
            'transport = "serial"\n'
            'port = "boards.rig.board"\n'
            f'chip = "{chip}"\n'
            "flash_size = 0x400000\n"
            f"flash_offset = {offset}\n"
            "baud = [921600, 460800, 115200]\n"
            "code_bytes = 0x80000\n"
            f"files = {json.dumps(_FILES)}\n"
            "[firmware]\n"
            'version = "1.26.1"\n'
            f'file = "{board_name(chip)}.bin"\n'
            'url = "https://example.org/firmware.bin"\n'
            'sha256 = ""\n'
            'mpy = "6.3"\n'
            f'arch = "{arch}"\n'
            f"app_offset = {APP}\n"
            "[settings]\n"
            f'name = "{board_name(chip)}"\n'
        )
    return folder


def use_tree(folder: Path) -> None:
    """Have this process find its boards there."""
    boards._FOLDER = folder / "boards"
    release._ROOT = folder
