"""Port for Linux devices (Raspberry Pi, routers, servers), under CPython or MicroPython.

Sources: proc(5), sysfs, systemd-timesyncd(8), adjtimex(2).
"""

import errno
import os
import socket
import struct

from agent.device import interpreter, board
from agent.wire import ids

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def read(path):
    """The first 256 characters of a file without blanks around them, None if there is none."""
    try:
        with open(path) as f:
            return f.read(256).strip("\0\n ")
    except (OSError, UnicodeError):
        return None


def exists(path):
    """Whether there is anything at `path`."""
    try:
        os.stat(path)
        return True
    except OSError:
        return False


class Board(board.Board):
    board = "linux"

    def __init__(self, state_dir, settings=None):
        super().__init__(state_dir, settings)
        self._cause = None

    def unique_id(self):
        """Serial number of the board, else the first hardware address, else the machine id."""
        serial = read("/proc/device-tree/serial-number")
        if serial:
            return serial
        try:
            names = sorted(os.listdir("/sys/class/net"))
        except OSError:
            names = []
        for name in names:
            address = read("/sys/class/net/%s/address" % name)
            if address and address != "00:00:00:00:00:00":
                return address
        return read("/etc/machine-id")

    def lock(self):
        """The lock is a name in the kernel's abstract namespace: nothing is left of it after a
        kill or a power cut, and both interpreters know it. False if another agent has it."""
        status = os.stat(self.state_dir)
        name = b"\0desalink-agent %d %d" % (status[2], status[1])  # device and inode
        self._lock = lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(struct.pack("H", 1) + name if interpreter.MICROPYTHON else name)
        except OSError as e:
            return e.errno != errno.EADDRINUSE  # other systems have no such names

    def reset_cause(self):
        """RESET_AGENT while the kernel is the same as at the last start; a watchdog where it
        says so itself; else unknown: whether the stop before was clean is in the boot event."""
        if self._cause is None:
            boot_id = read(_BOOT_ID)
            path = self.state_dir + "/boot_id"
            known = read(path)
            if boot_id and boot_id == known:
                self._cause = ids.RESET_AGENT
            elif read("/sys/class/watchdog/watchdog0/bootstatus") not in (None, "0"):
                self._cause = ids.RESET_WATCHDOG
            else:
                self._cause = ids.RESET_UNKNOWN
            if boot_id and boot_id != known:
                try:
                    with open(path, "w") as f:
                        f.write(boot_id)
                except OSError as e:
                    interpreter.log("boot_id:", e)
        return self._cause

    def clock_synchronised(self):
        if exists("/run/systemd/timesync"):
            return exists("/run/systemd/timesync/synchronized")
        if interpreter.MICROPYTHON:
            return None  # it can't ask the kernel
        from boards._linux import cpython

        return cpython.clock_synchronised()

    def temperature(self):
        value = read("/sys/class/thermal/thermal_zone0/temp")
        try:
            return int(value) // 1000
        except (TypeError, ValueError):
            return None

    def write_secret(self, path, data):
        from boards._linux import cpython

        cpython.write_secret(path, data)

    def on_terminate(self, callback):
        from boards._linux import cpython

        cpython.on_terminate(callback)
