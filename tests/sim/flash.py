"""A device's flash in RAM: LittleFS on 4 KiB blocks, as on an ESP32, with counters.

Installed by day.py, with the configuration's state folder as its argument: there it is mounted,
with the device's key on it.
"""

import os

from agent.journal import journal
from tests.sim import board

_BLOCK = 4096
_BLOCKS = 128


class Flash:
    """Block device (MicroPython's extended interface): programs, bytes programmed, erases."""

    def __init__(self):
        self._data = bytearray(_BLOCK * _BLOCKS)
        self.programs = self.bytes = self.erases = 0

    def readblocks(self, block, buf, offset=0):
        at = block * _BLOCK + offset
        buf[:] = memoryview(self._data)[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        at = block * _BLOCK + offset
        self._data[at : at + len(buf)] = buf
        self.programs += 1
        self.bytes += len(buf)

    def ioctl(self, operation, argument):
        if operation == 4:
            return _BLOCKS
        if operation == 5:
            return _BLOCK
        if operation == 6:
            self.erases += 1
            return 0


def install(state, commands):
    flash = Flash()
    with open(state + "/device.key", "rb") as file:
        key = file.read()
    os.VfsLfs2.mkfs(flash)
    os.mount(flash, state)
    with open(state + "/device.key", "wb") as file:
        file.write(key)

    alive = [0, 0, 0]  # what of it was the record of the last minute
    save = board.Board.alive_save

    def alive_save(self, data):
        before = flash.programs, flash.bytes, flash.erases
        save(self, data)
        for i, now in enumerate((flash.programs, flash.bytes, flash.erases)):
            alive[i] += now - before[i]

    board.Board.alive_save = alive_save

    journals = []
    opened = journal.Journal.open

    def open_journal(self):
        journals.append(self)
        opened(self)

    journal.Journal.open = open_journal

    def tell(what, value):
        commands[what + "\n"] = lambda: print(what, value())

    tell("programs", lambda: flash.programs)
    tell("programmed", lambda: flash.bytes)
    tell("erases", lambda: flash.erases)
    tell("alive_programs", lambda: alive[0])
    tell("alive_programmed", lambda: alive[1])
    tell("alive_erases", lambda: alive[2])
    tell("journal_bytes", lambda: journals[0].bytes_written)
    tell("journal_writes", lambda: journals[0].writes)
