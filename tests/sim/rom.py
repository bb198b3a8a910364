"""Runs day.py with the agent from a ROMFS image, where its code takes no heap: as in a firmware
that it is compiled into.

    micropython -X heapsize=... tests/sim/rom.py IMAGE CONFIG [MODULE ARGUMENT]...

The image lies on the heap here: its size is to be added to what the agent may have.
"""

import sys

import vfs

with open(sys.argv.pop(1), "rb") as image:
    vfs.mount(vfs.VfsRom(image.read()), "/rom")
sys.path.insert(1, "/rom")  # day.py takes away the first one, this folder

__import__("tests.sim.day")
