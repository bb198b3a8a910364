"""A board whose clock is the simulated one; for MicroPython and CPython."""

import sys

from tests.sim import clock

if sys.implementation.name == "micropython":
    from boards.unix import port as platform
else:
    from boards.linux import port as platform


class Port(platform.Port):
    def unix_time(self):
        return platform.Port.unix_time(self) + clock.jumped_ms // 1000

    def clock_synchronised(self):
        return None  # what this machine's clock does is nothing to the simulated one

    def on_terminate(self, callback):
        clock.started(callback)
