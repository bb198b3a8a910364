"""The ESP32's storage: an area of its own for the journal, which may be formatted anew.

The firmware's start-up code mounts the file system with the code, and loops for ever if it can't.
So nothing is written there in operation: what is written all the time lies on a partition of its
own, `data`, mounted here on the journal's folder. If a power cut or worn flash leaves that one
unmountable, it alone is formatted, and key, certificates and configuration stay. A device that
was flashed without that partition has a plain folder instead.
"""

import os
import vfs

from agent.device import interpreter

DEVICE = "/device"
JOURNAL = DEVICE + "/journal"
_EVIDENCE = DEVICE + "/unreadable.bin"
# What LittleFS says of an area that it can't read, and of nothing else: others are no memory (12),
# a failed read (5), and a newer version, another size or other limits (22).
_CORRUPT = 84

formatted = None  # what this start found unreadable and formatted, in words


def partition():
    """The partition for data, a block device, or None."""
    import esp32

    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="data")
    return found[0] if found else None


def make_folder(path):
    """Make a folder with those above it; no error if it is there."""
    at = path.find("/", 1)
    while True:
        try:
            os.mkdir(path if at < 0 else path[:at])
        except OSError:
            pass
        if at < 0:
            return
        at = path.find("/", at + 1)


def mount_data(device=None, point=JOURNAL, evidence=_EVIDENCE):
    """Mount the data partition on `point`; a blank or corrupt one is formatted first.

    The first two blocks of a corrupt one, where LittleFS has its superblocks, are kept in the file
    `evidence`. Raises OSError if the area can't be formatted, or must not be."""
    global formatted
    make_folder(point)
    device = device or partition()
    if device is None:
        return
    error = None
    for _ in range(2):  # one misread of the flash must not cost a journal
        try:
            volume = _open(device)
            break
        except OSError as e:
            error = e
    else:
        if error.errno != _CORRUPT:
            raise error
        if not _blank(device):
            formatted = "the data area was unreadable (%s) and was formatted" % error
            interpreter.log("storage:", formatted)
            _keep(device, evidence)
        vfs.VfsLfs2.mkfs(device)
        volume = _open(device)
    try:
        vfs.mount(volume, point)
    except OSError as e:
        interpreter.log("storage: mounted already?", e)


def _open(device):
    # No times of change: they would cost a write of metadata for each file.
    return vfs.VfsLfs2(device, mtime=False)  # type: ignore[abstract]


def _blank(device):
    """Whether the area was never written: its first blocks are as an erase leaves them."""
    buf = bytearray(device.ioctl(5, 0))
    for block in (0, 1):
        device.readblocks(block, buf)
        for byte in buf:
            if byte != 0xFF:
                return False
    return True


def _keep(device, evidence):
    buf = bytearray(device.ioctl(5, 0))
    try:
        with open(evidence, "wb") as f:
            for block in (0, 1):
                device.readblocks(block, buf)
                f.write(buf)
    except OSError as e:
        interpreter.log("storage:", evidence, e)
