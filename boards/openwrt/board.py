"""Port for OpenWrt routers, under MicroPython or Python, whichever the router has.

Sources: OpenWrt's files under /tmp/sysinfo, sysfs, pstore, and busybox's ntpd, whose word about
the clock the package's hotplug script writes down.
"""

import os

from agent.device import interpreter
from boards._linux.board import read
from agent.wire import ids

if interpreter.MICROPYTHON:
    from boards.unix import board
else:
    from boards._linux import board

# Where the LAN's own address is looked for first: it is the one on most routers' labels.
_LAN = ("br-lan", "lan", "lan1", "eth0")


class Board(board.Board):
    board = "openwrt"

    # Apart, so that a test can show another router's.
    sys_class_net = "/sys/class/net"
    pstore = "/sys/fs/pstore"
    # "synchronised" while ntpd says that the clock is: written by etc/hotplug.d/ntp/60-desalink.
    clock_file = "/var/run/desalink-clock"

    def unique_id(self):
        """Hardware address of the LAN bridge, else of the first interface that has one of its own:
        OpenWrt keeps no machine id, and few routers a serial number."""
        try:
            others = sorted(os.listdir(self.sys_class_net))
        except OSError:
            others = []
        made_up = None
        for name in list(_LAN) + others:
            address = read("%s/%s/address" % (self.sys_class_net, name))
            if not address or len(address) != 17 or address == "00:00:00:00:00:00":
                continue
            # The second bit of the first byte: made up by software, and maybe another after a
            # reset; a virtual machine has nothing better.
            if not int(address[:2], 16) & 3:
                return address.lower()
            made_up = made_up or address.lower()
        return made_up

    def reset_cause(self):
        """As on any Linux; and a panic whose last words the kernel has kept (ramoops)."""
        cause = super().reset_cause()
        if cause == ids.RESET_UNKNOWN and self._panicked():
            self._cause = cause = ids.RESET_PANIC
        return cause

    def _panicked(self):
        """Whether there are last words that were not there at the start before."""
        words = ""
        try:
            for name in sorted(os.listdir(self.pstore)):
                if name.startswith("dmesg-"):
                    status = os.stat(self.pstore + "/" + name)
                    words += "%s %d %d " % (name, status[6], status[8])
        except OSError:
            pass
        path = self.state_dir + "/panic"
        known = read(path) or ""
        words = words[:200].strip()
        if words == known:
            return False
        try:
            with open(path, "w") as f:
                f.write(words)
        except OSError as e:
            interpreter.log("panic:", e)
        return words != ""

    def clock_synchronised(self):
        """What busybox's ntpd said last; None: nothing (it is off, or another does its work)."""
        said = read(self.clock_file)
        return None if said is None else said == "synchronised"

    def temperature(self):
        """None for 0 as well, which drivers give where there is no sensor."""
        return super().temperature() or None
