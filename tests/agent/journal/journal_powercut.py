"""Power cuts at every program and erase of a flash chip under LittleFS; runs on MicroPython.

Arguments: block size, number of blocks, whether the write that is cut off is torn (0 or 1), and
after how many cuts a second one hits the recovery itself (0: never). Prints one line.
"""

import errno
import gc
import os  # has on MicroPython what its module vfs has, and CPython's checkers know it
import sys

from agent.journal.stream import JournalError
from tests.agent.journal.journal_story import Broken, Story

ROOT = "/flash"


class Flash:
    """NOR flash in RAM: an erase sets a block to 0xff, a program only clears bits. It dies at
    its `left`-th program or erase, which it leaves half done if `torn`, and answers EIO from then
    on (by its return value: what a block device raises MicroPython prints, too)."""

    def __init__(self, data, block_size, left=None, torn=False):
        self.data = data
        self.size = block_size
        self.left = left
        self.torn = torn
        self.count = self.programs = self.erases = self.programmed = 0
        self.dead = False

    def _allowed(self, length):
        """How many bytes of this operation reach the chip."""
        self.count += 1
        if self.count == self.left:
            self.dead = True
            return length // 2 if self.torn else 0
        return length

    def readblocks(self, number, buffer, offset=0):
        if self.dead:
            return -errno.EIO
        at = number * self.size + offset
        buffer[:] = memoryview(self.data)[at : at + len(buffer)]

    def writeblocks(self, number, buffer, offset=0):
        if self.dead:
            return -errno.EIO
        at = number * self.size + offset
        data = self.data
        length = self._allowed(len(buffer))
        for i in range(length):
            data[at + i] &= buffer[i]
        self.programs += 1
        self.programmed += length
        return -errno.EIO if self.dead else None

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // self.size
        if op == 5:
            return self.size
        if op == 6:
            if self.dead:
                return -errno.EIO
            at = arg * self.size
            length = self._allowed(self.size)
            self.data[at : at + length] = b"\xff" * length
            self.erases += 1
            return -errno.EIO if self.dead else 0
        return 0


def mount(flash):
    try:
        os.umount(ROOT)
    except OSError:
        pass
    os.mount(os.VfsLfs2(flash), ROOT)


def formatted(block_size, blocks):
    data = bytearray(b"\xff" * (block_size * blocks))
    flash = Flash(data, block_size)
    os.VfsLfs2.mkfs(flash)
    return data


def cut(empty, block_size, left, torn):
    """Play on a fresh chip until it dies; (story, what is left in the chip, whether it died)."""
    data = bytearray(empty)
    flash = Flash(data, block_size)
    mount(flash)
    flash.count = 0
    flash.left = left
    flash.torn = torn
    story = Story(ROOT + "/journal")
    try:
        story.play()
    except JournalError:
        pass
    return story, data, flash.dead


def main(block_size, blocks, torn, second_step):
    empty = formatted(block_size, blocks)
    cuts = seconds = failures = 0
    left = 0
    while True:
        left += 1
        story, data, died = cut(empty, block_size, left, torn)
        if not died:
            break
        cuts += 1
        try:
            if second_step and left % second_step == 0:
                again = 0
                while True:
                    # The recovery is cut off as well, once at each of its own writes.
                    again += 1
                    story, data, _ = cut(empty, block_size, left, torn)
                    flash = Flash(data, block_size)
                    mount(flash)
                    flash.count, flash.left, flash.torn = 0, again, torn
                    try:
                        story.open()
                    except JournalError:
                        pass
                    if not flash.dead:
                        break
                    seconds += 1
                    mount(Flash(data, block_size))
                    story.check()
            else:
                mount(Flash(data, block_size))
                story.check()
        except (Broken, OSError) as error:
            failures += 1
            if failures < 6:
                print("cut", left, "second", second_step and again, repr(error))
        gc.collect()
    print(f"cuts={cuts} second_cuts={seconds} failures={failures}")


if __name__ == "__main__":
    numbers = [int(arg) for arg in sys.argv[1:5]]
    main(numbers[0], numbers[1], bool(numbers[2]), numbers[3])
