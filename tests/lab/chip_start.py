"""What boot.py and main.py of the ESP32 do, on the instrument: chip_start.py [IMAGE CONFIG].

The agent comes from a ROMFS image. Without arguments it prints the bytes of heap that the
stand-ins for the chip's modules take: on a chip these are in the firmware.
"""

import gc
import os
import sys
import time

import vfs

gc.collect()
start = gc.mem_alloc()
from tests.lab import chip_modules  # noqa: E402

device = chip_modules.io()
if len(sys.argv) == 1:
    gc.collect()
    print(gc.mem_alloc() - start)
    sys.exit()

path = sys.argv[2]
with open(sys.argv[1], "rb") as file:
    data = bytearray(os.stat(sys.argv[1])[6])
    file.readinto(data)
vfs.mount(vfs.VfsRom(data), "/rom")
sys.path.insert(0, "/rom")

from boards._esp32 import storage  # noqa: E402

storage.mount_data(device, path.rpartition("/")[0] + "/state/journal")
try:
    sys.argv[:] = ["agent", path]
    from agent.__main__ import main

    main()
except BaseException as e:
    if not isinstance(e, SystemExit) or e.args != (0,):
        sys.print_exception(e)
        from boards._esp32 import board

        board.ended()
        time.sleep(3)
        sys.exit(75)
