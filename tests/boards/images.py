"""Firmware as it is published, made with esptool's own classes: bootloader, table, program."""

import csv
import functools
import random
import re

from esptool.bin_image import (
    ELFSection,
    ESP32C3FirmwareImage,
    ESP32FirmwareImage,
    ESP32S3FirmwareImage,
)

from host_tools.devices.partitions import OFFSET, Partition, pack
from tests.support import ROOT

_CLASSES = {
    "esp32": (ESP32FirmwareImage, 0x40080000),
    "esp32s3": (ESP32S3FirmwareImage, 0x40380000),
    "esp32c3": (ESP32C3FirmwareImage, 0x40380000),
}
FLASH_OFFSET = {"esp32": 0x1000, "esp32s3": 0, "esp32c3": 0}
_SIZES = {0x400000: "4MB", 0x800000: "8MB"}
APP = 0x10000
DEFINITIONS = ROOT / "boards" / "_esp32" / "firmware"
# By name, from ESP-IDF's "Partition Tables".
_SUBTYPES = {"nvs": 0x02, "phy": 0x01, "factory": 0x00, "fat": 0x81}


@functools.cache
def program(chip: str, flash_size: int, size: int, seed: int = 0) -> bytes:
    """One image of a chip with `size` bytes of code, checksum and digest right.

    Packed, two thirds of the code remain, as with MicroPython's own.
    """
    make, address = _CLASSES[chip]
    image = make()
    image.entrypoint = address
    image.flash_size_freq = image.ROM_LOADER.FLASH_SIZES[_SIZES[flash_size]]
    noise = random.Random(seed)
    code = b"".join(noise.randbytes(1024) + bytes(512) for _ in range(size // 1536 + 1))
    image.segments = [ELFSection(b".text", address, code[:size], 6)]
    data = image.save(None)
    assert isinstance(data, bytes)
    return data


def stock_table(flash_size: int) -> list[Partition]:
    """The partitions of MicroPython's own builds."""
    return [
        Partition(1, 0x02, 0x9000, 0x6000, b"nvs"),
        Partition(1, 0x01, 0xF000, 0x1000, b"phy_init"),
        Partition(0, 0x00, APP, 0x1F0000, b"factory"),
        Partition(1, 0x81, 0x200000, flash_size - 0x200000, b"vfs"),
    ]


def romfs_table(flash_size: int) -> list[Partition]:
    """The partitions of our own builds with ROMFS."""
    text = (DEFINITIONS / f"partitions-{flash_size >> 20}MiB.csv").read_text()
    rows = csv.reader(re.sub(r"(?m)^#.*\n", "", text).splitlines(), skipinitialspace=True)
    return [
        Partition(
            int(kind == "data"),
            _SUBTYPES[subtype] if subtype.isalpha() else int(subtype, 16),
            int(offset, 16),
            int(size, 16),
            name.encode(),
        )
        for name, kind, subtype, offset, size in rows
    ]


@functools.cache
def firmware(
    chip: str = "esp32",
    flash_size: int = 0x400000,
    size: int = 8000,
    seed: int = 0,
    romfs: bool = False,
) -> bytes:
    """The file that is written to flash at the chip's offset."""
    start = FLASH_OFFSET[chip]
    data = program(chip, flash_size, 2000, 1).ljust(OFFSET - start, b"\xff")
    data += pack((romfs_table if romfs else stock_table)(flash_size))
    return data.ljust(APP - start, b"\xff") + program(chip, flash_size, size, seed)
