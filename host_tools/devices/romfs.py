"""A release as one ROMFS image, and its place in the flash of a board whose firmware has ROMFS.

The partition `romfs` has two halves, A and B. boards/_esp32/firmware/loader.py describes the
record in front of each image, and reads it on the device.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

from host_tools.common.i18n import _
from host_tools.devices import partitions
from host_tools.devices.release import Release, ReleaseError

PARTITION = b"romfs"
RECORD_SPACE = 0x1000
_MAGIC = b"DSL1"
_CONFIRMATION = 76  # its place, behind the marks of three tries


def romfs_image(release: Release) -> bytes:
    """The release as a read-only file system, the same for the same release.

    boot.py and main.py are not in it: MicroPython starts them from the firmware or the root.
    """
    from mpremote.romfs import VfsRomWriter  # type: ignore[import-untyped]

    tree: dict[str, dict[str, bytes]] = {}
    for path, data in release.files.items():
        folder, _slash, name = path[1:].rpartition("/")
        if folder:
            tree.setdefault(folder, {})[name] = data
    writer = VfsRomWriter()
    entered: list[str] = []
    for folder in sorted(tree, key=lambda f: f.split("/")):
        parts = folder.split("/")
        while entered != parts[: len(entered)]:
            writer.closedir()
            entered.pop()
        for part in parts[len(entered) :]:
            writer.opendir(part)
            entered.append(part)
        for name, data in sorted(tree[folder].items()):
            writer.mkfile(name, data)
    for _folder in entered:
        writer.closedir()
    return bytes(writer.finalise())


def half(image: bytes, sequence: int = 1) -> bytes:
    """A confirmed image behind its record, as it stands at the beginning of A or B."""
    record = struct.pack(">4sII", _MAGIC, sequence, len(image)) + hashlib.sha256(image).digest()
    record += struct.pack(">I", zlib.crc32(record))
    record = record.ljust(_CONFIRMATION, b"\xff") + bytes(4)
    return record.ljust(RECORD_SPACE, b"\xff") + image


def partition(firmware: bytes, flash_offset: int) -> partitions.Partition | None:
    """The firmware's partition `romfs`, None if it has none."""
    table = partitions.read(firmware, flash_offset) or []
    return next((p for p in table if p.name == PARTITION), None)


def with_release(firmware: bytes, flash_offset: int, release: Release) -> bytes:
    """The firmware with the release in half A, and no record in half B.

    Raises:
        ReleaseError: the release is larger than a half.
    """
    place = partition(firmware, flash_offset)
    assert place is not None
    room = place.size // 2
    content = half(romfs_image(release))
    if len(content) > room:
        raise ReleaseError(
            _(
                "The agent for {board} takes {count} bytes in the flash and the firmware has "
                "{room} for it; leave sources out."
            ).format(board=release.board, count=len(content), room=room)
        )
    content = content.ljust(room + RECORD_SPACE, b"\xff")
    return firmware.ljust(place.offset - flash_offset, b"\xff") + content
