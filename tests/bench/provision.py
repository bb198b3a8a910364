"""Seconds to make bare boards into devices: one, eight side by side, what of it is no transfer.

The boards are emulated (tests/provision), but their lines take the time of the rates that are set
on them, 921,600 baud for the firmware and 115,200 for the rest, as a real board's do; and the
firmware has the size of MicroPython's own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from host_tools.devices.boards import load_board
from host_tools.people.kits import seal
from tests.boards.images import APP, FLASH_OFFSET, firmware
from tests.host_tools.field.provision.rig import Hub, hub
from tests.host_tools.field.provision.tree import board_name, other_tree
from tests.host_tools.field.provision.world import World

_CHIP = "esp32"
_SIDE_BY_SIDE = 8
_REPL_BAUD = 115200
_BITS_A_BYTE = 10
# Of the application; MicroPython 1.26 for the ESP32 has 1.7 MB, of which 1.1 MB cross the line.
_FULL, _QUICK = 1_600_000, 300_000


def measure(quick: bool) -> dict[str, float]:
    """`provision_one_s` and `provision_eight_s`: whole runs of `desalink provision`;
    `provision_transfer_s`: esptool alone with the same firmware, and the same files' bytes at the
    line's rate; `provision_overhead_share`: the share of one board's time beyond that."""
    size = _QUICK if quick else _FULL
    seal.COST = 14  # the time that a passphrase takes is no part of it
    with tempfile.TemporaryDirectory() as name, other_tree():
        place = Path(name)
        world = World(place / "world", [_CHIP], size)
        transfer = _transfer(place / "bare", world, size)
        one = _run(place / "one", world, 1)
        eight = _run(place / "eight", world, _SIDE_BY_SIDE)
    return {
        "provision_one_s": one,
        "provision_eight_s": eight,
        "provision_transfer_s": transfer,
        "provision_overhead_share": 1 - transfer / one,
    }


def _plugged(made: Hub, count: int) -> None:
    for _number in range(count):
        made.board(_CHIP, paced=True).plug()


def _run(folder: Path, world: World, count: int) -> float:
    """Seconds of a batch of boards."""
    laptop = world.with_laptop(folder)
    with hub(folder / "hub") as made:
        _plugged(made, count)
        began = time.monotonic()
        done = laptop.desalink(
            *("provision", "--batch", "--port", made.pattern, "--count", count, "--offline"),
            timeout=600,
        )
        seconds = time.monotonic() - began
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(laptop.log.records()) == count
    return seconds


def _transfer(folder: Path, world: World, size: int) -> float:
    """Seconds that firmware and files take by themselves."""
    folder.mkdir()
    image = folder / "firmware.bin"
    image.write_bytes(firmware(_CHIP, size=size))
    baud = load_board(board_name(_CHIP)).baud[0]
    with hub(folder / "hub") as made:
        _plugged(made, 1)
        port = made.boards[0].port.resolve()
        began = time.monotonic()
        subprocess.run(
            [
                *(sys.executable, "-m", "esptool", "--port", str(port), "--baud", str(baud)),
                *("write-flash", "--erase-all", hex(FLASH_OFFSET[_CHIP]), str(image)),
            ],
            check=True,
            capture_output=True,
            timeout=600,
        )
        seconds = time.monotonic() - began
        assert made.boards[0].flash.data[APP] == 0xE9
    files = world.kit.releases[board_name(_CHIP)].files
    return seconds + sum(map(len, files.values())) * _BITS_A_BYTE / _REPL_BAUD


if __name__ == "__main__":
    for key, value in measure("--quick" in sys.argv).items():
        print(f"{key:28} {value:8.2f}")
