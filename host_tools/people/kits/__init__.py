"""Kits: all that a technician needs for one trip, in one encrypted file.

`create` packs a kit in the office, `seal` is the encrypted file, `pages` its content, `opened` the
kit on a technician's laptop, `check` its verification, `book` the kits in the registry.
"""

from host_tools.people.kits.model import Kit, KitDevice, KitError, KitSlot, same_id
from host_tools.people.kits.opened import KitDirectory, find_directory, open_kit

__all__ = [
    "Kit",
    "KitDevice",
    "KitDirectory",
    "KitError",
    "KitSlot",
    "find_directory",
    "open_kit",
    "same_id",
]
