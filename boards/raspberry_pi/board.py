"""Port for the Raspberry Pi under systemd and CPython.

Sources: the device tree that its firmware hands over, raspberrypi-hwmon, sd_notify(3).
"""

import os
import socket

from agent.device import interpreter
from agent.device.interpreter import const
from boards._linux import board
from boards._linux.board import exists, read
from agent.wire import ids

_POWER_ON = const(0x1000)  # PM_RSTS: the power came on; its other bits a plain reboot sets, too


class Board(board.Board):
    board = "raspberry-pi"

    # Apart, so that a test can show another board's.
    rsts = "/proc/device-tree/chosen/bootloader/rsts"
    hwmon = "/sys/class/hwmon"
    cpuinfo = "/proc/cpuinfo"

    def __init__(self, state_dir, settings=None):
        super().__init__(state_dir, settings)
        self._low = None  # rounds for which the mark of a low supply still stands
        self._alarm = None
        self._notify = None
        name = os.environ.get("NOTIFY_SOCKET")
        if name and os.environ.get("WATCHDOG_USEC"):
            self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._notify.setblocking(False)
            self._name = "\0" + name[1:] if name[0] == "@" else name

    def unique_id(self):
        """Serial number of the board."""
        try:
            with open(self.cpuinfo) as f:
                for line in f:
                    if line.startswith("Serial"):
                        return line.partition(":")[2].strip()
        except OSError:
            pass
        return super().unique_id()

    def reset_cause(self):
        """As on any Linux; power-on as the firmware tells it (Pi 4 and newer), and brownout if the
        supply was too low when it was last looked at before."""
        first = self._cause is None
        cause = super().reset_cause()
        if not first:
            return cause
        low = exists(self._mark())
        if low:
            self._clear()
        if cause == ids.RESET_UNKNOWN and self._powered_on():
            cause = ids.RESET_BROWNOUT if low else ids.RESET_POWER
        self._cause = cause
        return cause

    def _powered_on(self):
        try:
            with open(self.rsts, "rb") as f:
                return int.from_bytes(f.read(4), "big") & _POWER_ON != 0
        except OSError:
            return False

    def feed_watchdog(self):
        """Tell systemd that the agent works (WatchdogSec), and look at the supply."""
        if self._notify:
            try:
                self._notify.sendto(b"WATCHDOG=1", self._name)
            except OSError as e:
                interpreter.log("watchdog:", e)
        if self._alarm is None:
            self._alarm = self._find_alarm()
        if self._alarm:
            self._look_at_supply(read(self._alarm) == "1")

    def _find_alarm(self):
        """Path of the alarm for a supply below 4.63 V, "" where the board has none."""
        try:
            names = os.listdir(self.hwmon)
        except OSError:
            names = []
        for name in names:
            folder = self.hwmon + "/" + name
            if read(folder + "/name") == "rpi_volt":
                return folder + "/in0_lcrit_alarm"
        return ""

    def _look_at_supply(self, low):
        """Keep a mark in the state while the supply is low, and a minute longer: a supply that
        trembles must not write at every look."""
        if low:
            if not self._low:
                interpreter.log("power: the supply is below 4.63 V: use another adapter or cable")
                try:
                    with open(self._mark(), "w"):
                        pass
                except OSError as e:
                    interpreter.log("power:", e)
            self._low = 6
        elif self._low:
            self._low -= 1
            if not self._low:
                self._clear()

    def _mark(self):
        return self.state_dir + "/low_supply"

    def _clear(self):
        try:
            os.remove(self._mark())
        except OSError as e:
            interpreter.log("power:", e)
