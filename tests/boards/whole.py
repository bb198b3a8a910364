"""The whole agent on the ESP32's port, in real time: whole.py CONFIG [noise]; prints JSON.

The journal lies on LittleFS in RAM, which `noise` makes unreadable at first; what it held at the
end is copied beside it for the host. The access point appears once its absence was reported;
with `noise` that first report is the end.
"""

import asyncio
import json
import os
import sys
import time

from tests.boards import fakes
from tests.boards.fakes import clock

fakes.install(real_time=True)


from agent import start  # noqa: E402
from agent.wire.ids import DOWN_BROKER, DOWN_INTERFACE  # noqa: E402
from boards._esp32 import storage  # noqa: E402
from tests.boards.fakes import machine, network  # noqa: E402
from tests.boards.fakes.flash import Flash  # noqa: E402

BEGAN = time.ticks_ms()
CONFIG = sys.argv[1]
NOISE = "noise" in sys.argv
FOLDER = CONFIG.rpartition("/")[0]

ACCESS_POINT = network.AccessPoint("desa", "rahasia1", -67)
ACCESS_POINT.there = False
network.air.append(ACCESS_POINT)
machine.microvolts = 1650000
flash = Flash()
if NOISE:
    for block in range(flash.ioctl(4, 0)):
        flash.writeblocks(block, os.urandom(4096))
storage.mount_data(flash, FOLDER + "/journal", FOLDER + "/unreadable.bin")
start.enrol(CONFIG)


async def until(ready):
    while not ready():
        clock.now = time.ticks_diff(time.ticks_ms(), BEGAN)
        assert clock.now < 100_000
        await asyncio.sleep_ms(20)


async def run():
    app = start.build(CONFIG)
    task = asyncio.create_task(app.run())
    link, journal = app.link.outages, app.journal
    # A report without the network, then the network, then another two.
    await until(lambda: link.state == DOWN_INTERFACE and journal.next_seq > 1)
    if not NOISE:
        ACCESS_POINT.there = True
        await until(lambda: link.state == DOWN_BROKER)
        seq = journal.next_seq
        await until(lambda: journal.next_seq > seq + 1)
    app.stop()
    await task


asyncio.run(run())
os.mkdir(FOLDER + "/seen")
for name in os.listdir(FOLDER + "/journal"):
    with open(FOLDER + "/journal/" + name, "rb") as f:
        data = f.read()
    with open(FOLDER + "/seen/" + name, "wb") as f:
        f.write(data)
print(
    json.dumps(
        {
            "watchdogs": machine.watchdogs,
            "beside": sorted(os.listdir(FOLDER)),
            "on the volume": [n for n in os.listdir(FOLDER + "/journal") if n[-4:] != ".seg"],
        }
    )
)
