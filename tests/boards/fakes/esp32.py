"""MicroPython's `esp32`, as far as the boards use it."""

found = []  # the data partitions
application = b""


class Partition:
    TYPE_DATA = 1
    RUNNING = 1

    def __init__(self, which):
        assert which == self.RUNNING

    @staticmethod
    def find(kind, label=None):
        assert (kind, label) == (Partition.TYPE_DATA, "data")
        return found

    def readblocks(self, block, buf):
        piece = application[block * 4096 :][: len(buf)]
        buf[:] = piece + b"\xff" * (len(buf) - len(piece))
