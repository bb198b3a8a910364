"""`machine`, `network` and `esp32` of the chip, for the instrument (chip.py).

What survives a reset is kept in files of the folder CHIP; chip_power.py reads and writes them too.
Scanning and joining take a tenth of their time, as the laboratory runs ten times as fast.

A new name takes memory for ever, and at certain numbers of names MicroPython doubles a table. So
what the chip's firmware does not have is called by names that MicroPython has anyway.
"""

import os
import sys
import time

path = os.getenv("CHIP") + "/"


def stat(file):
    try:
        return os.stat(file)
    except OSError:
        return None


def read(file):
    try:
        with open(path + file, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def write(file, data):
    with open(path + file, "w") as stream:
        stream.write(data)


class machine:
    PWRON_RESET = 1
    HARD_RESET = 2
    WDT_RESET = 3
    DEEPSLEEP_RESET = 4
    SOFT_RESET = 5

    def reset():
        sys.exit(75)

    def reset_cause():
        return int(read("cause"))

    def unique_id():
        return b"\x24\x0a\xc4\x01\x02\xfe"

    class RTC:
        def memory(self, data=None):
            if data is None:
                return read("rtc")
            write("rtc", data)

        def datetime(self, value):
            """The instrument's clock is this machine's."""

    class WDT:
        def __init__(self, id=0, timeout=5000):
            write("watchdog", str(timeout))

        def feed(self):
            write("fed", "")


class WLAN:
    PM_NONE = 0

    def __init__(self, id):
        self.start = None  # of an attempt to join
        self.state = 1000  # otherwise

    def active(self, on):
        self.start = None

    def config(self, key=None, **values):
        return 6

    def scan(self):
        time.sleep_ms(250)
        return [] if stat(os.getenv("SIM_CABLE")) else [(b"desa", b"\2\0\0\0\0\1", 6, -67, 3, 0)]

    def connect(self, name, key=None, *, bssid=None):
        self.start = time.ticks_ms()

    def disconnect(self):
        self.start = None
        self.state = 8

    def isconnected(self):
        if self.start is not None and stat(os.getenv("SIM_CABLE")):
            self.start = None
            self.state = 201
        return self.start is not None and time.ticks_diff(time.ticks_ms(), self.start) > 180

    def status(self, key=None):
        done = self.isconnected()
        if key is None:
            return 1010 if done else 1001 if self.start is not None else self.state
        if not done:
            raise OSError("Wifi Not Connected")
        return -67

    def ifconfig(self):
        return tuple([os.getenv("SIM_" + key) for key in ("IP", "MASK", "GW", "DNS")])


class network:
    STA_IF = 0
    WLAN = WLAN

    def country(code):
        """Nothing depends on it."""


class esp32:
    HEAP_DATA = 4

    def idf_heap_info(flags):
        n = [int(n) for n in read("memory").split()] or [0, 0, 0, 0]
        return [(0, int(os.getenv("SIM_RAM")) - n[0] - n[3], 0, 0)]


class io:
    """The partition `data` of a board with 4 MB, in a file: a block device."""

    def __init__(self):
        if not stat(path + "flash"):
            with open(path + "flash", "wb") as file:
                for _ in range(336):
                    file.write(b"\xff" * 4096)
        self.file = open(path + "flash", "r+b")

    def readblocks(self, n, buf, step=0):
        self.file.seek(n * 4096 + step)
        self.file.readinto(buf)

    def writeblocks(self, n, buf, step=0):
        self.file.seek(n * 4096 + step)
        self.file.write(buf)

    def ioctl(self, code, arg=0):
        return {4: 336, 5: 4096}.get(code, 0)  # LittleFS needs nothing of an erase


for module in (machine, network, esp32):
    sys.modules[module.__name__] = module
