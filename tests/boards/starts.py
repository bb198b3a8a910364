"""Starts of a board with ROMFS: starts.py PARTITION ACTION...; prints JSON.

Each `start` is one start of the board, `confirm` sets the running image's confirmation. For each
start the output has the image's name, or the error's text.
"""

import json
import sys

import vfs

from boards._esp32.firmware import loader
from tests.boards.fakes.rom import BLOCK, Rom

CONFIRMATION = 76  # its place behind the record

with open(sys.argv[1], "rb") as f:
    rom = Rom(f.read())

seen = []
for action in sys.argv[2:]:
    if action == "confirm":
        rom.writeblocks(loader.running * (len(rom) // BLOCK // 2), bytes(4), CONFIRMATION)
        continue
    try:
        loader.mount(rom)
    except OSError as e:
        seen.append(str(e))
        continue
    with open("/rom/image/name") as f:
        seen.append([f.read(), "AB"[loader.running], sys.path.pop(0)])
    vfs.umount("/rom")
print(json.dumps(seen))
