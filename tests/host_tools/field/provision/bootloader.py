"""The mock bootloader, made to differ from board to board: MAC, flash chip, and what is in it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

from esp32_mock_bootloader import registers, server

FLASH_4MB = 0x164020
FLASH_2MB = 0x154020

# `.board`: the board whose thread this is.
here = threading.local()


class _Spi(server.SpiPeripheralMock):
    """The flash chip's identification, which has its size."""

    flash_id = FLASH_4MB

    def read_reg(self, addr: int) -> int:
        value = super().read_reg(addr)
        if self.spi_base is not None and addr - self.spi_base == self.w0_offs:
            return self.flash_id if self._last_command == 0x9F else value
        return value


class _Session(server.ChipSession):
    """A session of the mock with the MAC and the flash of the board whose thread makes it."""

    def __init__(self, chip_mode: str) -> None:
        super().__init__(chip_mode)
        board: Any = here.board
        mac = tuple(bytes.fromhex(board.mac.replace(":", "")))
        self.registers.update(registers._mac_registers(board.chip, mac))
        self.spi = _Spi(None)
        self.spi.flash_id = board.flash_id
        self.spi.configure_for_chip(board.chip)


server.ChipSession = _Session


class Flash(server.FlashImage):
    """The same, written by slices: byte by byte it would take longer than the line. The board's
    files lie in it, too."""

    def __init__(self, files: Path) -> None:
        super().__init__()
        self._files = files

    def erase_all(self) -> None:
        super().erase_all()
        shutil.rmtree(self._files)
        self._files.mkdir()

    def write_defl_block(self, payload: bytes) -> None:
        length = int.from_bytes(payload[:4], "little")
        assert self._decompressor is not None
        data = self._decompressor.decompress(payload[16 : 16 + length])
        self.data[self._defl_offset : self._defl_offset + len(data)] = data
        self._defl_offset += len(data)

    def write_plain_block(self, payload: bytes) -> None:
        length = int.from_bytes(payload[:4], "little")
        data = payload[16 : 16 + length]
        self.data[self._plain_offset : self._plain_offset + length] = data
        self._plain_offset += length
