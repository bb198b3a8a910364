"""Kits: what a technician takes along on one trip, in one encrypted file.

`create` packs a kit on the province's side, `seal` is the encrypted file, `pages` what lies in it,
`opened` the kit on a technician's laptop, `check` what must be true of it, `book` what the
registry knows of kits.
"""

from host_tools.people.kits.model import Kit, KitCertificate, KitDevice, KitError, KitSlot, same_id
from host_tools.people.kits.opened import KitDirectory, find_directory, open_kit

__all__ = [
    "Kit",
    "KitCertificate",
    "KitDevice",
    "KitDirectory",
    "KitError",
    "KitSlot",
    "find_directory",
    "open_kit",
    "same_id",
]
