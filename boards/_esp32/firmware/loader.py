"""Mounts the agent's image on /rom. It is frozen into firmware with ROMFS (docs/boards.md).

It imports nothing of the agent, so it works whatever the images hold. MicroPython maps only one
partition into memory, `romfs`. Its first half is A, its second half is B. Each half begins with a
block for its record; the image follows. The record: "DSL1", sequence number, length of the image
(big-endian, 4 bytes each), the image's SHA-256, and the CRC-32 of all this. From byte 64 on there
are four marks of 4 bytes: three tries, and the confirmation. A mark is FF until it is set, and to
set one needs no erase. The loader counts the tries; the agent will set the confirmation.
"""

import binascii
import hashlib
import struct
import sys

import vfs

_BLOCK = 4096
_RECORD = ">4sII32s"
_RECORD_BYTES = 44
_MAGIC = b"DSL1"
_MARKS = 64
_TRIES = 3

running = None  # the mounted half: 0 for A, 1 for B


def _partition():
    rom = vfs.rom_ioctl(2, 0)  # the first segment
    if isinstance(rom, int):
        raise OSError(-rom)
    return rom


def _read(view, half):
    """(usable, sequence, half, image, digest, tries) of a half, None if it has no record.

    tries: None if the image is confirmed. An image without confirmation is usable three times."""
    size = len(view) // 2
    at = half * size
    magic, sequence, length, digest = struct.unpack_from(_RECORD, view, at)
    (crc,) = struct.unpack_from(">I", view, at + _RECORD_BYTES)
    if magic != _MAGIC or length > size - _BLOCK:
        return None
    if binascii.crc32(view[at : at + _RECORD_BYTES]) != crc:
        return None
    marks = struct.unpack_from("<4I", view, at + _MARKS)
    tries = None
    if marks[_TRIES] == 0xFFFFFFFF:
        tries = sum([mark != 0xFFFFFFFF for mark in marks])
    image = view[at + _BLOCK : at + _BLOCK + length]
    return (tries is None or tries < _TRIES, sequence, half, image, digest, tries)


def mount(rom=None, point="/rom"):
    """Mount the newest usable image, and import from it first.

    An image that was never confirmed, and that was tried three times, comes last. Raises OSError
    if no half has a whole image."""
    global running
    if rom is None:
        rom = _partition()
    view = memoryview(rom)
    found = [record for record in (_read(view, 0), _read(view, 1)) if record]
    found.sort(reverse=True)
    for usable, _, half, image, digest, tries in found:
        if hashlib.sha256(image).digest() != digest:
            print("loader: image %s is damaged" % "AB"[half])
            continue
        if usable and tries is not None:
            rom.writeblocks(half * (len(view) // _BLOCK // 2), bytes(4), _MARKS + 4 * tries)
        vfs.mount(vfs.VfsRom(image), point)  # type: ignore[attr-defined]
        sys.path.insert(0, point)
        running = half
        return
    raise OSError("the flash has no whole image of the agent; provision the board again")
