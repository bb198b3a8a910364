"""Port of an emulated board: MicroPython's unix port, with the chip's MAC and a network to join.

RIG_MAC: the MAC that the bootloader tells too. RIG_FIRMWARE: SHA-256 of the application in its
flash. RIG_NETWORK: what joining the network comes to. RIG_SLOW: it takes its time over its key.
"""

import binascii
import os
import time

from agent.device import board
from boards.unix import board as unix


class Board(unix.Board):
    def __init__(self, state_dir, settings=None):
        super().__init__(state_dir, settings)
        self.board = settings["name"]

    def unique_id(self):
        return os.getenv("RIG_MAC")

    def firmware_hash(self):
        digest = os.getenv("RIG_FIRMWARE")
        return binascii.unhexlify(digest) if digest else None

    async def join(self, timeout_s):
        return os.getenv("RIG_NETWORK") or None

    def write_secret(self, path, data):
        board.Board.write_secret(self, path, data)  # no shell reaches into the board's files
        if os.getenv("RIG_SLOW"):
            time.sleep(0.2)
