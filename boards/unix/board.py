"""Port for MicroPython's unix port: Linux, without the calls that MicroPython's os lacks."""

import os

from boards._linux import board


class Board(board.Board):
    board = "unix"

    def write_secret(self, path, data):
        # No open(2) with a mode here: make it empty, close it to others, then fill it.
        with open(path, "wb"):
            pass
        if os.system("chmod 600 '%s'" % path.replace("'", "'\\''")):
            raise OSError(1, "can't set the mode of " + path)
        with open(path, "r+b") as f:
            f.write(data)

    def on_terminate(self, callback):
        """MicroPython has no signal handlers: Ctrl-C arrives as KeyboardInterrupt."""
