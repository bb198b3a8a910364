"""A board with ROMFS from its start to a Ctrl-C: from_romfs.py FOLDER; prints JSON.

FOLDER is the root of its files, romfs in it the partition with the images. boot.py, main.py and
the loader come from here, as from the firmware; all else comes from an image. The Ctrl-C comes
once the watchdog was fed some times. The journal's segments are then copied to /device/seen.
"""

import json
import os
import sys
import time

import vfs

from tests.boards import fakes

fakes.install(real_time=True)

from boards._esp32.firmware import loader  # noqa: E402
from tests.boards.fakes import clock, esp32, machine, network  # noqa: E402
from tests.boards.fakes.flash import Flash  # noqa: E402
from tests.boards.fakes.rom import Rom  # noqa: E402

FOLDER = sys.argv[1]
FEEDS = 15
BEGAN = time.ticks_ms()

network.air.append(network.AccessPoint("desa", "rahasia1", -67))
machine.microvolts = 1650000
esp32.found.append(Flash())
with open(FOLDER + "/romfs", "rb") as f:
    rom = Rom(f.read())
loader._partition = lambda: rom
sys.modules["loader"] = loader
feed = machine.WDT.feed


def feed_or_interrupt(watchdog):
    feed(watchdog)
    clock.now = time.ticks_diff(time.ticks_ms(), BEGAN)
    if machine.watchdogs.count("feed") == FEEDS:
        raise KeyboardInterrupt


machine.WDT.feed = feed_or_interrupt

sources = {}
for name in ("boot.py", "main.py"):
    with open("boards/_esp32/" + name) as f:
        sources[name] = f.read()
vfs.umount("/")
vfs.mount(vfs.VfsPosix(FOLDER), "/")
sys.path[:] = [".frozen"]
for name in list(sys.modules):
    if name.startswith(("agent", "boards")):  # which the stand-ins have loaded
        del sys.modules[name]
for name in ("boot.py", "main.py"):
    exec(sources[name], {"__name__": "__main__"})

os.mkdir("/device/seen")
for name in os.listdir("/device/journal"):
    with open("/device/journal/" + name, "rb") as f:
        data = f.read()
    with open("/device/seen/" + name, "wb") as f:
        f.write(data)
print(json.dumps({name: getattr(sys.modules[name], "__file__", None) for name in sys.modules}))
