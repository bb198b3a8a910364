"""A flash partition in RAM, as MicroPython's file systems want it."""

_BLOCKS = 96


class Flash:
    """A partition in RAM, with faults: as many reads fail as `misreads` says."""

    def __init__(self, fill=0xFF):
        self._data = bytearray(bytes([fill]) * (4096 * _BLOCKS))
        self.misreads = 0
        self.written = 0

    def readblocks(self, block, buf, offset=0):
        if self.misreads:
            self.misreads -= 1
            raise OSError(5)
        at = block * 4096 + offset
        buf[:] = memoryview(self._data)[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        self.written += 1
        at = block * 4096 + offset
        self._data[at : at + len(buf)] = buf

    def ioctl(self, operation, argument):
        if operation in (4, 5):
            return _BLOCKS if operation == 4 else 4096
        if operation == 6:
            self._data[argument * 4096 : (argument + 1) * 4096] = b"\xff" * 4096
            return 0
