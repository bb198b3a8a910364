"""Scenarios of the ESP32's port on a desktop's MicroPython: device.py NAME [FOLDER]; prints JSON.

What each is to show is judged in test_esp32.py.
"""

import asyncio
import json
import os
import sys

from tests.boards import fakes

fakes.install()

import binascii  # noqa: E402

from agent.link import linux  # noqa: E402
from agent.net import dns  # noqa: E402
from boards._esp32 import board, storage  # noqa: E402
from boards._esp32.ethernet import Ethernet  # noqa: E402
from boards._esp32.settings import networks  # noqa: E402
from boards._esp32.wifi import Wifi  # noqa: E402
from tests.boards.fakes import clock, esp32, machine, network  # noqa: E402
from tests.boards.fakes.flash import Flash  # noqa: E402

FOLDER = sys.argv[2] if len(sys.argv) > 2 else "/nowhere"
DESA = {"ssid": "desa", "password": "rahasia1"}
SEKOLAH = {"ssid": "sekolah", "password": "rahasia2"}
PHY = {"phy": "LAN8720", "address": 0, "mdc": 23, "mdio": 18, "power": 12, "clock": 17}


def access_point(network_, **more):
    point = network.AccessPoint(network_["ssid"], network_.get("password"))
    for name in more:
        setattr(point, name, more[name])
    network.air.append(point)
    return point


def join(*known, timeout_s=30, **more):
    wifi = Wifi(networks(list(known)), **more)
    missing = asyncio.run(wifi.join(timeout_s))
    return {
        "missing": missing,
        "connected": wifi.connected(),
        "attempts": [a.attempts for a in network.air],
        "said": network.said,
        "seconds": clock.now // 1000,
    }


def joins():
    access_point(DESA)
    return join(DESA, country="ID")


def nobody_there():
    access_point(SEKOLAH)
    return join(DESA)


def appears_later():
    point = access_point(DESA, there=False)

    async def both():
        wifi = Wifi(networks([DESA]))
        task = asyncio.create_task(wifi.join(60))
        while clock.now < 20000:
            await asyncio.sleep(0)
        point.there = True
        return await task

    return {"missing": asyncio.run(both())}


def wrong_password():
    access_point(DESA)
    return join({"ssid": "desa", "password": "salahsalah"})


def false_wrong_password():
    access_point(DESA, refusals=2)
    return join(DESA)


def no_address():
    access_point(DESA, dhcp=False)
    return join(DESA)


def address_later():
    point = access_point(DESA, dhcp=False)

    async def both():
        wifi = Wifi(networks([DESA]))
        task = asyncio.create_task(wifi.join(60))
        while point.attempts < 2:
            await asyncio.sleep(0)
        point.dhcp = True
        return await task

    return {"missing": asyncio.run(both()), "attempts": point.attempts}


def static_address():
    access_point(DESA, dhcp=False)
    return join(DESA, static=("10.1.1.2", "255.255.255.0", "10.1.1.1", "10.1.1.1"))


def strongest_first():
    access_point(DESA, rssi=-80)
    access_point(SEKOLAH, rssi=-50)
    return join(DESA, SEKOLAH)


def second_lets_in():
    access_point(DESA, rssi=-50, password="changed1")
    access_point(SEKOLAH, rssi=-80)
    return join(DESA, SEKOLAH)


def hidden():
    access_point(DESA, hidden=True)
    visible = join(DESA, timeout_s=5)["missing"]
    return [visible, join(dict(DESA, hidden=True))["missing"]]


def one_access_point_of_two():
    access_point(DESA, rssi=-40)
    access_point(DESA, rssi=-70, bssid=b"\x02\0\0\0\0\2")
    return join(dict(DESA, bssid="02:00:00:00:00:02"))


def open_network():
    access_point({"ssid": "desa"})
    return join({"ssid": "desa"})


def a_port(**settings):
    wanted = {"wifi": [DESA]}
    wanted.update(settings)
    return board.Board(FOLDER, wanted)


async def _until(ready, task):
    while not ready():
        await asyncio.sleep(0)
        assert not task.done()


def keeps():
    """The access point goes for a minute: what is seen before, meanwhile and after."""
    point = access_point(DESA, rssi=-67)
    it = a_port()
    seen = []

    async def look():
        row = {}
        await it.sources(None, None)[0].sample(row)
        seen.append(
            [
                it.net.connected(),
                row.get(12),
                linux.default_gateway("/proc/net/route"),
                dns.system_servers(),
                linux.interface("/sys/class/net", "wlan0"),
            ]
        )

    async def story():
        task = asyncio.create_task(it.keep_network())
        await _until(lambda: it.net.joins == 1, task)
        await look()
        point.there = False
        await _until(lambda: not it.net.connected(), task)
        await look()
        gone = clock.now
        await _until(lambda: clock.now - gone > 60000, task)
        point.there = True
        await _until(lambda: it.net.joins == 2, task)
        await look()
        task.cancel()

    asyncio.run(story())
    return {"seen": seen, "watchdogs": machine.watchdogs}


def restarts_the_radio():
    it = a_port()

    async def story():
        task = asyncio.create_task(it.keep_network())
        await _until(lambda: "radio off" in network.said, task)
        task.cancel()

    asyncio.run(story())
    return {"scanning for s": clock.now // 1000}


def watchdog():
    it = a_port(watchdog_s=90)
    board.hold()  # nothing was started: nothing to hold
    it.feed_watchdog()
    it.feed_watchdog()
    board.hold()
    quiet = machine.watchdogs[:]
    a_port(watchdog_s=0).feed_watchdog()
    return {"told": quiet}


def ethernet():
    settings = dict(PHY, clock_mode="out")
    net = Ethernet(settings)
    seen = [asyncio.run(net.join(5))]
    network.cable.plugged_at = clock.now
    seen.append(asyncio.run(net.join(5)))
    network.cable.dhcp_at = clock.now + 3000
    seen.append(asyncio.run(net.join(5)))
    net.restart()
    seen.append(net.connected())
    seen.append(asyncio.run(net.join(5)))
    pins = {name: str(value) for name, value in network.LAN.made[0].items()}
    return {"seen": seen, "pins": pins, "made": len(network.LAN.made)}


def reset_causes():
    found = {}
    for name, cause in (
        ("power", machine.PWRON_RESET),
        ("software or panic before the first record", machine.HARD_RESET),
        ("watchdog", machine.WDT_RESET),
        ("deep sleep", machine.DEEPSLEEP_RESET),
        ("soft", machine.SOFT_RESET),
        ("usb, jtag and others", 0),
    ):
        machine.cause = cause
        found[name] = a_port().reset_cause()
    os.mkdir(FOLDER + "/journal")
    it = a_port()
    it.alive_save(b"alive")
    machine.cause = machine.HARD_RESET
    found["panic"] = a_port(usb=True).reset_cause()
    board.ended()
    found["reset after the end"] = a_port().reset_cause()
    found["kept"] = str(a_port().alive_load(), "ascii")
    it.alive_save(b"alive")
    found["panic of the next run"] = a_port().reset_cause()
    machine.cause = machine.PWRON_RESET
    found["dip"] = a_port().reset_cause()
    machine.power_cut()
    found["cut"] = a_port().reset_cause()
    return found


def alive():
    """Seven minutes of records, then a bite of the watchdog, then a power cut."""
    os.mkdir(FOLDER + "/journal")
    it = a_port()
    nothing = it.alive_load()
    for minute in range(7):
        it.alive_save(b"minute %d" % minute)
    machine.cause = machine.WDT_RESET
    after_reset = a_port().alive_load()
    machine.power_cut()
    after_cut = a_port().alive_load()
    beside_code = os.listdir(FOLDER)
    return [nothing, after_reset.decode(), after_cut.decode(), beside_code]


class Time2000:
    """Python's time on a platform whose epoch is 2000: 2025-11-24 22:10:05 UTC."""

    @staticmethod
    def time():
        return 1764022205 - 946684800

    @staticmethod
    def gmtime(seconds):
        import time

        return time.gmtime(seconds + 946684800)


def epoch():
    it = a_port()
    import time

    here = abs(it.unix_time() - int(time.time())) < 60
    board.time = Time2000
    it.set_clock(1764022205)
    return {"here": here, "there": it.unix_time(), "rtc": machine.rtc_time}


def itself():
    esp32.application = bytes(range(256)) * 40
    machine.microvolts = 1650000
    it = a_port(name="esp32-generic", firmware_bytes=10000, voltage={"pin": 35, "ratio": 2000})
    before = it.temperature()
    esp32.mcu_temperature = lambda: 41
    return {
        "board": it.board,
        "id": it.unique_id(),
        "hash": binascii.hexlify(it.firmware_hash()).decode(),
        "no hash": a_port().firmware_hash(),
        "volts": it.voltage(),
        "no volts": a_port().voltage(),
        "temperature": [before, it.temperature()],
    }


def wrong_settings():
    sentences = []
    with open(FOLDER + "/wrong.json") as f:
        boards = json.load(f)
    for wrong in boards:
        try:
            board.Board(FOLDER, wrong)
            sentences.append(None)
        except ValueError as e:
            sentences.append(str(e))
    return sentences


def _mount(flash):
    point = FOLDER + "/journal"
    storage.formatted = None
    storage.mount_data(flash, point, FOLDER + "/unreadable.bin")
    return point


def _next_start(point):
    os.umount(point)


def volumes():
    """Blank, then used over starts, misread once, broken by noise, mounted twice."""
    with open(FOLDER + "/device.key", "w") as f:
        f.write("key")
    flash = Flash()
    point = _mount(flash)
    found = {"blank": [storage.formatted, os.listdir(point)]}
    with open(point + "/00000001.seg", "w") as f:
        f.write("measured")
    _next_start(point)
    flash.misreads = 1
    _mount(flash)
    found["misread"] = [storage.formatted, os.listdir(point)]
    _mount(flash)
    found["twice"] = [storage.formatted, os.listdir(point)]
    _next_start(point)
    for block in range(flash.ioctl(4, 0)):
        flash.writeblocks(block, os.urandom(4096))
    _mount(flash)
    found["noise"] = [bool(storage.formatted), os.listdir(point)]
    found["told"] = a_port().storage_lost()
    found["kept"] = os.stat(FOLDER + "/unreadable.bin")[6]
    with open(FOLDER + "/device.key") as f:
        found["key"] = f.read()
    _next_start(point)
    _mount(flash)
    found["after"] = [storage.formatted, a_port().storage_lost()]
    return found


def memory():
    found = []
    for esp32.free in (100_000, 28_672, 28_671):
        found.append(a_port().memory_short())
    return found


def without_partition():
    point = _mount(None)
    with open(point + "/x", "w") as f:
        f.write("x")
    return os.listdir(FOLDER)


def must_not_format():
    """No memory, a failed read, and LittleFS of a newer version: no corrupt area."""
    found = []
    for errno in (12, 5, 22):
        flash = Flash(0)

        def failing(device):
            raise OSError(errno)  # noqa: B023

        storage._open = failing
        try:
            _mount(flash)
        except OSError as e:
            found.append([e.errno, flash.written])
    return found


print(json.dumps(globals()[sys.argv[1]]()))
