"""The partition `romfs` as the ESP32's port gives it: memory that can be read in place, and flash,
where a write without an erase only clears bits."""

BLOCK = 4096


class Rom(bytearray):
    def writeblocks(self, block, buf, offset):
        at = block * BLOCK + offset
        for i, byte in enumerate(buf):
            self[at + i] &= byte
