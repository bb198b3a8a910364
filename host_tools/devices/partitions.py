"""The partition table inside a firmware image (ESP-IDF's format), and a partition for data.

32 bytes an entry: AA 50, type, subtype, offset, size, name, flags; then EB EB, 14 times FF, and
the MD5 of the entries; the rest of the table's space is FF.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace

from host_tools.common.i18n import _

OFFSET = 0x8000  # in flash: ESP-IDF's default, which MicroPython keeps
_SPACE = 0xC00
_ENTRY = struct.Struct("<2sBBII16sI")
_MAGIC = b"\xaa\x50"
_MD5 = b"\xeb\xeb" + b"\xff" * 14
_BLOCK = 0x1000

CODE = b"vfs"
DATA = b"data"
_TYPE_DATA = 1
_LITTLEFS = 0x83


@dataclass(frozen=True)
class Partition:
    """One entry; offset and size in bytes of flash."""

    type: int
    subtype: int
    offset: int
    size: int
    name: bytes
    flags: int = 0


def read(image: bytes, flash_offset: int) -> list[Partition] | None:
    """The table of an image that is written at `flash_offset`, None if it has none."""
    at = OFFSET - flash_offset
    table = []
    while _ENTRY.size <= len(image) - at and image[at : at + 2] == _MAGIC:
        _magic, kind, subtype, offset, size, name, flags = _ENTRY.unpack_from(image, at)
        table.append(Partition(kind, subtype, offset, size, name.rstrip(b"\0"), flags))
        at += _ENTRY.size
    return table or None


def pack(table: list[Partition]) -> bytes:
    """The table's bytes, to the end of its space."""
    entries = b"".join(
        _ENTRY.pack(_MAGIC, p.type, p.subtype, p.offset, p.size, p.name, p.flags) for p in table
    )
    whole = (
        entries + _MD5 + hashlib.md5(entries, usedforsecurity=False).digest()
    )  # the bootloader's
    if len(whole) > _SPACE:
        raise ValueError(_("too many partitions"))
    return whole.ljust(_SPACE, b"\xff")


def split(image: bytes, flash_offset: int, flash_size: int, code_bytes: int) -> bytes:
    """The image with `vfs` cut to `code_bytes` and the rest of the flash given to `data`.

    Both lie where the stock table has `vfs`, so nothing else moves.

    Raises:
        ValueError: what is in the way, in a few words.
    """
    table = read(image, flash_offset)
    if table is None:
        raise ValueError(_("there is no table"))
    if any(p.name == DATA for p in table):
        return image
    vfs = next((p for p in table if p.name == CODE), None)
    if vfs is None:
        end = max(p.offset + p.size for p in table)
        vfs = Partition(_TYPE_DATA, 0x81, -(-end // _BLOCK) * _BLOCK, 0, CODE)
    end = min([p.offset for p in table if p.offset > vfs.offset], default=flash_size)
    data_at = vfs.offset + code_bytes
    if end - data_at < 16 * _BLOCK:
        raise ValueError(
            _("no room for data behind {code_bytes} bytes of code").format(code_bytes=code_bytes)
        )
    kept = [p for p in table if p.name != CODE]
    added = [
        replace(vfs, size=code_bytes),
        Partition(_TYPE_DATA, _LITTLEFS, data_at, end - data_at, DATA),
    ]
    packed = pack(sorted(kept + added, key=lambda p: p.offset))
    at = OFFSET - flash_offset
    return image[:at] + packed + image[at + _SPACE :]
