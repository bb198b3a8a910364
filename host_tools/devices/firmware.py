"""The province's firmware: MicroPython images with known hashes.

Nothing is downloaded here. A file is used only if its SHA-256 is known, from board.toml or from
the province's firmware.toml, which pins trusted files. MicroPython publishes no hashes, so the
operator pins the first file of a version; every later copy must be the same file.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from host_tools.common.errors import DesalinkError
from host_tools.common.files import make_directory, write_file
from host_tools.common.i18n import _
from host_tools.common.tables import TableError, checked, text
from host_tools.devices import partitions
from host_tools.devices.boards import Board, BoardFirmware, all_boards

PINS = "firmware.toml"
_OLDEST = (1, 24, 0)
_HEADER = 0x18  # of an image with its extension, which has the chip's number


@dataclass(frozen=True)
class _Pin:
    sha256: Annotated[str, text(r"[0-9a-f]{64}", "64 hexadecimal digits")]
    version: Annotated[str, text(r"\d+\.\d+\.\d+", "a version such as 1.26.1")]
    boards: list[str]


class FirmwareError(DesalinkError):
    """Firmware that is missing, wrong, or not trusted."""


def _inspect(what: str, data: bytes, chip: str) -> Any:
    """One image, bootloader or application, read by esptool.

    Raises:
        FirmwareError: no image, damaged, or for another chip.
    """
    from esptool.bin_image import LoadFirmwareImage  # type: ignore[import-untyped]
    from esptool.util import FatalError  # type: ignore[import-untyped]

    try:
        if len(data) < _HEADER:
            raise FatalError(_("it is empty"))
        image = LoadFirmwareImage(chip, data)
    except (FatalError, RuntimeError, IndexError, ValueError) as error:
        raise FirmwareError(
            _(
                "{what} is not an image that an {chip} can start ({error}); fetch the file again."
            ).format(what=what, chip=chip, error=error)
        ) from None
    except Exception as error:  # struct.error and others, from a cut header
        raise FirmwareError(
            _("{what} is cut short ({error}); fetch the file again.").format(
                what=what, error=error
            )
        ) from None
    if image.chip_id != image.ROM_LOADER.IMAGE_CHIP_ID:
        raise FirmwareError(
            _(
                "{what} is for another chip than {chip} (its number is {chip_id}); choose the "
                "file of the board's own chip."
            ).format(what=what, chip=chip, chip_id=image.chip_id)
        )
    if image.checksum != image.calculate_checksum():
        raise FirmwareError(
            _("{what} is damaged (checksum); fetch the file again.").format(what=what)
        )
    if image.append_digest and image.stored_digest != image.calc_digest:
        raise FirmwareError(
            _("{what} is damaged (SHA-256); fetch the file again.").format(what=what)
        )
    return image


def inspect(name: str, data: bytes, board: Board) -> int:
    """Check an image for the flash: bootloader, partition table, application.

    Args:
        name: the file's, for messages.

    Returns:
        Bytes of the application, from its offset to the file's end.

    Raises:
        FirmwareError: not for this board's chip, damaged, or too large for its flash.
    """
    assert board.chip and board.firmware and board.flash_size
    app = board.firmware.app_offset - board.flash_offset
    bootloader = _inspect(_("{name}: the bootloader").format(name=name), data[:app], board.chip)
    _inspect(_("{name}: the application").format(name=name), data[app:], board.chip)
    made_for = bootloader.ROM_LOADER.FLASH_SIZES
    size = next(
        (n for n, code in made_for.items() if code == bootloader.flash_size_freq & 0xF0), ""
    )
    table = partitions.read(data, board.flash_offset)
    if table is None:
        raise FirmwareError(
            _("{name} has no partition table; fetch the file again.").format(name=name)
        )
    end = max([board.flash_offset + len(data), *(p.offset + p.size for p in table)])
    if end > board.flash_size:
        raise FirmwareError(
            _(
                "{name} needs {end} KB of flash{made_for} and {board_name} has {flash_size} KB; "
                "choose the file of its own size."
            ).format(
                name=name,
                end=end >> 10,
                made_for=_(" (made for {size})").format(size=size) if size else "",
                board_name=board.name,
                flash_size=board.flash_size >> 10,
            )
        )
    room = next((p.size for p in table if p.offset == board.firmware.app_offset), 0)
    if len(data) - app > room:
        raise FirmwareError(
            _(
                "{name}: the application is larger than its partition; fetch the file again."
            ).format(name=name)
        )
    return len(data) - app


def with_partitions(data: bytes, board: Board) -> bytes:
    """An image with a partition for the board's data (docs/boards.md), ready for flash.

    Raises:
        FirmwareError: the image has no room for it.
    """
    if board.code_bytes is None:
        return data
    assert board.flash_size is not None
    try:
        return partitions.split(data, board.flash_offset, board.flash_size, board.code_bytes)
    except ValueError as error:
        raise FirmwareError(
            _("{name}: the firmware's partitions: {error}.").format(name=board.name, error=error)
        ) from None


class FirmwareCache:
    """The directory of firmware files, with the pins in firmware.toml.

    A pin is a table named after the file: sha256, version, boards. The latest pin that names a
    board replaces the firmware of its board.toml.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _pins(self) -> dict[str, dict[str, Any]]:
        path = self.directory / PINS
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FirmwareError(
                _("{path} can't be understood: {error}; correct it.").format(
                    path=path, error=error
                )
            ) from None
        for name, pin in table.items():
            try:
                checked(pin, _Pin)
            except TableError as error:
                raise FirmwareError(
                    _(
                        "{path}: {name}: {error} Correct it, or remove the table and add the file "
                        "again."
                    ).format(path=path, name=name, error=error)
                ) from None
        return table

    def firmware(self, board: Board) -> BoardFirmware | None:
        """The province's firmware for a board; its sha256 is "" if not pinned."""
        found = board.firmware
        if found is None:
            return None
        for name, pin in self._pins().items():
            if board.name in pin["boards"]:
                url = found.url if name == found.file else ""
                found = replace(
                    found, file=name, sha256=pin["sha256"], version=pin["version"], url=url
                )
        return found

    def _boards_for(self, name: str, board: str | None) -> list[Board]:
        with_firmware = [b for b in all_boards() if b.firmware is not None]
        if board is not None:
            chosen = [b for b in with_firmware if b.name == board]
            if not chosen:
                names = ", ".join(b.name for b in with_firmware)
                raise FirmwareError(
                    _("'{board}' takes no firmware; choose one of {names}.").format(
                        board=board, names=names
                    )
                )
            return chosen
        known = [
            b for b in with_firmware if name in (b.firmware and b.firmware.file, self._named(b))
        ]
        if not known:
            files = ", ".join(sorted({b.firmware.file for b in with_firmware if b.firmware}))
            raise FirmwareError(
                _(
                    "No board asks for {name}; rename it as it was published ({files}), or say "
                    "which board it is for with --board."
                ).format(name=name, files=files)
            )
        return known

    def _named(self, board: Board) -> str | None:
        firmware = self.firmware(board)
        return firmware.file if firmware else None

    def add(
        self, file: Path, *, sha256: str | None = None, pin: bool = False, board: str | None = None
    ) -> BoardFirmware:
        """Add a file to the cache, if its hash is known and its boards can start it.

        Args:
            sha256: the hash, from another source; pins the file.
            pin: trust the file as it is.
            board: its board, if the file's name is of no board.

        Raises:
            FirmwareError: unknown or wrong hash, or an image that does not fit.
            OSError: it can't be read or written.
        """
        data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        boards = self._boards_for(file.name, board)
        pins = self._pins()
        known = pins[file.name]["sha256"] if file.name in pins else None
        for b in boards:
            if known is None and b.firmware and b.firmware.file == file.name:
                known = b.firmware.sha256 or None
        expected = sha256.lower() if sha256 else known
        if expected is None and not pin:
            raise FirmwareError(
                _(
                    "{file}: no hash of this file is known yet; its SHA-256 is {digest}: compare "
                    "it with what a colleague has, then add it with --sha256 HASH, or with --pin "
                    "to trust this file."
                ).format(file=file, digest=digest)
            )
        if expected not in (None, digest) or known not in (None, digest):
            raise FirmwareError(
                _(
                    "{file} is not the expected file: SHA-256 {digest}, expected {expected}; "
                    "fetch "
                    "it again and compare."
                ).format(
                    file=file, digest=digest, expected=expected if expected != digest else known
                )
            )
        version = self._version(file.name, boards[0])
        for b in boards:
            inspect(file.name, data, b)
            with_partitions(data, b)
        make_directory(self.directory, 0o755)
        write_file(self.directory / file.name, data)
        entry = pins.pop(file.name, {"boards": []})
        names = sorted({*entry["boards"], *(b.name for b in boards)})
        pins[file.name] = {"sha256": digest, "version": version, "boards": names}
        write_file(self.directory / PINS, _render(pins).encode())
        found = self.firmware(boards[0])
        assert found is not None
        return found

    def _version(self, name: str, board: Board) -> str:
        assert board.firmware is not None
        if name == board.firmware.file:
            return board.firmware.version
        match = re.search(r"-v(\d+)\.(\d+)\.(\d+)\.bin$", name)
        if match is None:
            raise FirmwareError(
                _(
                    "{name}: the name has no version of MicroPython; name the file as it was "
                    "published, such as NAME-20250911-v1.26.1.bin."
                ).format(name=name)
            )
        if tuple(map(int, match.groups())) < _OLDEST:
            raise FirmwareError(
                _(
                    "{name} is older than MicroPython 1.24, which the agent needs; fetch a newer "
                    "one."
                ).format(name=name)
            )
        return ".".join(match.groups())

    def path(self, board: Board) -> Path:
        """The board's firmware, checked against its hash.

        Raises:
            FirmwareError: it is missing (the sentence has its source) or was changed.
        """
        firmware = self.firmware(board)
        if firmware is None:
            raise FirmwareError(
                _("{name} takes no firmware; it keeps its own system.").format(name=board.name)
            )
        path = self.directory / firmware.file
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            where = (
                _("fetch it from {url}").format(url=firmware.url)
                if firmware.url
                else _("get it from its source")
            )
            pin = "" if firmware.sha256 else " --sha256 HASH"
            vouch = "" if firmware.sha256 else _(", or --pin in its place to trust the file")
            raise FirmwareError(
                _(
                    "The firmware of {name} is missing ({path}): {where}, then run 'desalink "
                    "firmware add {file}{pin}'{vouch}."
                ).format(
                    name=board.name,
                    path=path,
                    where=where,
                    file=firmware.file,
                    pin=pin,
                    vouch=vouch,
                )
            ) from None
        if not firmware.sha256 or hashlib.sha256(data).hexdigest() != firmware.sha256:
            raise FirmwareError(
                _(
                    "{path} is not the file that was added; delete it and add it again with "
                    "'desalink firmware add {file}'."
                ).format(path=path, file=firmware.file)
            )
        return path


def _render(pins: dict[str, dict[str, Any]]) -> str:
    text = "# The firmware that this province trusts; written by 'desalink firmware add'.\n"
    for name, pin in pins.items():
        boards = ", ".join(f'"{board}"' for board in pin["boards"])
        text += (
            f'\n["{name}"]\nversion = "{pin["version"]}"\nsha256 = "{pin["sha256"]}"\n'
            f"boards = [{boards}]\n"
        )
    return text
