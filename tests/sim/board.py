"""A board whose clock is the simulated one; for MicroPython and CPython."""

import sys

from tests.sim import clock

if sys.implementation.name == "micropython":
    from boards.unix import board as platform
else:
    from boards._linux import board as platform


class Board(platform.Board):
    def unix_time(self):
        return platform.Board.unix_time(self) + clock.jumped_ms // 1000

    def clock_synchronised(self):
        return None  # what this machine's clock does is nothing to the simulated one

    def on_terminate(self, callback):
        clock.started(callback)
