"""Firmware images for the emulated boards: valid to esptool, and of a size to be chosen."""

from __future__ import annotations

import hashlib
import random
import struct
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from esptool.bin_image import (
    ESP32C3FirmwareImage,
    ESP32FirmwareImage,
    ESP32S3FirmwareImage,
    ImageSegment,
)

_IMAGES = {
    "esp32": (ESP32FirmwareImage, 0x3FFB0000),
    "esp32s3": (ESP32S3FirmwareImage, 0x3FC88000),
    "esp32c3": (ESP32C3FirmwareImage, 0x3FC80000),
}
FLASH_OFFSET = {"esp32": 0x1000, "esp32s3": 0, "esp32c3": 0}
APP_OFFSET = 0x10000


def _image(chip: str, data: bytes) -> bytes:
    kind, address = _IMAGES[chip]
    image = kind()
    segment = ImageSegment(address, data)
    segment.name = "data"
    image.segments.append(segment)
    image.entrypoint = address
    with TemporaryDirectory() as folder:
        path = Path(folder, "image.bin")
        image.save(str(path))
        return path.read_bytes()


def _partition(kind: int, subtype: int, offset: int, size: int, name: str) -> bytes:
    return struct.pack("<2sBBII16sI", b"\xaa\x50", kind, subtype, offset, size, name.encode(), 0)


@cache
def make_firmware(chip: str, size: int = 120_000, seed: int = 1) -> bytes:
    """Bootloader, partition table and application in one file, to be written at FLASH_OFFSET.

    size: bytes of the application; about two thirds of them stay when compressed, as in
    MicroPython's own.
    """
    noise = random.Random(seed)
    parts = [noise.randbytes(1024) + bytes(512) for _ in range(size // 1536 + 1)]
    app = _image(chip, b"".join(parts)[:size])
    table = (
        _partition(1, 2, 0x9000, 0x6000, "nvs")
        + _partition(1, 1, 0xF000, 0x1000, "phy_init")
        + _partition(0, 0, APP_OFFSET, 0x1F0000, "factory")
        + _partition(1, 0x81, 0x200000, 0x200000, "vfs")
    )
    table += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(table).digest()
    base = FLASH_OFFSET[chip]
    whole = bytearray(b"\xff" * (APP_OFFSET - base))
    loader = _image(chip, noise.randbytes(2048))
    whole[: len(loader)] = loader
    whole[0x8000 - base : 0x8000 - base + len(table)] = table
    return bytes(whole) + app
