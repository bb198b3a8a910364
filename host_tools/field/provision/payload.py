"""The parts of a kit for a device: firmware, agent, configuration, certificates."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_tools.common.files import make_directory, write_file
from host_tools.common.i18n import _
from host_tools.devices import romfs
from host_tools.devices.boards import Board, load_board
from host_tools.devices.firmware import with_partitions
from host_tools.devices.release import Release
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.provision.flash import Chip, Image
from host_tools.people.kits.model import Kit, KitSlot

FIRMWARE = "firmware"
# On a serial device.
FOLDER = "/device"
CONFIG = FOLDER + "/config.json"
# Agents in older kits have another name for it.
IMPORT_SELFTEST = """\
from agent import start as selftest
if not hasattr(selftest, 'network'): from agent import trial as selftest
"""


def import_with_time(unix: int) -> str:
    """The script that imports the self-test and gives it the laptop's time."""
    # Not an argument: the agents of earlier kits take none, and this they ignore.
    return f"{IMPORT_SELFTEST}selftest.laptop_time={unix}\n"


@dataclass(frozen=True)
class KitFirmware:
    """A board's firmware: as written to flash, SHA-256 and size of its application, and whether
    it has ROMFS: then the agent is in the image, and the device gets no files of it."""

    name: str
    image: Image
    app_sha256: bytes
    app_bytes: int
    romfs: bool


def choose_board(kit: Kit, slot: KitSlot, chip: Chip, name: str | None) -> Board:
    """The board of a chip: the named one, else the kit's, else the only one that fits.

    Raises:
        ProvisionError: none fits the chip, several do, or the flash is too small.
        BoardError: there is no such board.
    """
    name = name or slot.config.get("board", {}).get("name")
    if name is not None:
        board = load_board(name)
        if board.chip != chip.chip:
            raise ProvisionError(
                "wrong_chip",
                _(
                    "The board has the chip {chip} and {board} needs {wanted}; take another "
                    "board, or give its own name with --board."
                ).format(chip=chip.chip, board=board.name, wanted=board.chip or "-"),
            )
    else:
        fitting = [b for b in map(load_board, sorted(kit.releases)) if b.chip == chip.chip]
        if not fitting:
            raise ProvisionError(
                "wrong_chip",
                _(
                    "The kit has nothing for a board with the chip {chip}; it serves {boards}. "
                    "Take such a board, or ask the province for a kit for this one."
                ).format(chip=chip.chip, boards=", ".join(sorted(kit.releases)) or "-"),
            )
        if len(fitting) > 1:
            raise ProvisionError(
                "which_board",
                _(
                    "The chip {chip} is on several kinds of board ({boards}); say which this is "
                    "with --board."
                ).format(chip=chip.chip, boards=", ".join(b.name for b in fitting)),
            )
        board = fitting[0]
    if chip.flash_size is None:
        raise ProvisionError(
            "secure",
            _("The flash of the board {mac} can't be read; take another board.").format(
                mac=chip.mac
            ),
        )
    if board.flash_size is not None and chip.flash_size < board.flash_size:
        raise ProvisionError(
            "flash_small",
            _(
                "The board {mac} has {have} MB of flash and {board} needs {need} MB; take a board "
                "with more."
            ).format(
                mac=chip.mac,
                have=chip.flash_size >> 20,
                board=board.name,
                need=board.flash_size >> 20,
            ),
        )
    return board


def firmware_of(kit: Kit, board: Board, work: Path) -> KitFirmware:
    """The kit's firmware for a board, as a file in the work directory; it is no secret.

    Raises:
        ProvisionError: the kit has none.
        FirmwareError, ReleaseError: it has no room for the board's data, or for the agent.
    """
    name = kit.firmware_boards.get(board.name)
    if name is None or board.firmware is None:
        raise ProvisionError(
            "kit",
            _(
                "The kit has no firmware for {board}; ask the province for a kit with it "
                "('desalink firmware add', then a new kit)."
            ).format(board=board.name),
        )
    data = kit.firmware[name]
    image = with_partitions(data, board)
    in_place = romfs.partition(image, board.flash_offset) is not None
    if in_place:
        image = romfs.with_release(image, board.flash_offset, release_of(kit, board))
    digest = hashlib.sha256(image).hexdigest()
    make_directory(work / FIRMWARE, 0o755)
    path = work / FIRMWARE / f"{board.name}-{digest[:16]}.bin"
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        write_file(path, image)
    app = data[board.firmware.app_offset - board.flash_offset :]
    return KitFirmware(
        name,
        Image(path.resolve(), board.flash_offset, board.firmware.app_offset),
        hashlib.sha256(app).digest(),
        len(app),
        in_place,
    )


def release_of(kit: Kit, board: Board) -> Release:
    """The agent for a board.

    Raises:
        ProvisionError: the kit has none.
    """
    release = kit.releases.get(board.name)
    if release is None:
        raise ProvisionError(
            "kit",
            _("The kit has no agent for {board}; ask the province for a kit with it.").format(
                board=board.name
            ),
        )
    return release


def own_files(kit: Kit, slot: KitSlot, board: Board, firmware: KitFirmware) -> dict[str, bytes]:
    """Certificates, key, and last the configuration of a slot's device."""
    config = json.dumps(device_config(slot, board, firmware.app_bytes), indent=1)
    return {
        f"{FOLDER}/ca.pem": kit.ca_pem,
        f"{FOLDER}/client.pem": slot.certificate_pem,
        f"{FOLDER}/client.key": slot.key_pem,
        CONFIG: config.encode() + b"\n",
    }


def device_config(slot: KitSlot, board: Board, app_bytes: int | None) -> dict[str, Any]:
    """The configuration of a slot's device: the kit's, with the board's settings."""
    config = copy.deepcopy(slot.config)
    config["port"] = board.port
    config["state_dir"] = FOLDER
    own = {**board.settings, **config.get("board", {})}
    if "name" in board.settings:
        own["firmware_bytes"] = app_bytes
    if own:
        config["board"] = own
    room = board.budgets.get("journal_bytes")
    if room is not None:
        journal = config.setdefault("journal", {})
        journal["capacity"] = min(journal.get("capacity", room), room)
    return config
