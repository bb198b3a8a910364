"""The journal on a device's file systems and heap; runs on MicroPython.

Argument: which of the parts below. Each prints `name=value` pairs on one line.
"""

import gc
import os  # has on MicroPython what its module vfs has, and CPython's checkers know it
import sys

from agent.journal.journal import Journal
from tests.agent.journal.journal_powercut import ROOT, Flash, formatted, mount

_BLOCK = 4096  # an ESP32's erase block


def chip(blocks, size=_BLOCK):
    flash = Flash(formatted(size, blocks), size)
    mount(flash)
    return flash


def report(seq):
    return (b"%08d" % seq) * 40  # 320 bytes, about a day's mean


def show(**figures):
    print(" ".join([f"{name}={int(value)}" for name, value in figures.items()]))


def use(journal, count, ack):
    """Append, deliver and acknowledge (all but every 50th) `count` reports."""
    for _ in range(count):
        journal.take_drops()
        seq = journal.append(report(journal.next_seq))
        assert journal.read(journal.newest_unstored()) is not None
        if ack and seq % 50 == 0:
            journal.mark_stored(seq - 50, [(seq - 40, seq)])
    return journal


def heap():
    gc.collect()
    return gc.mem_alloc()


def memory():
    """Heap in use over 10,000 reports, in a heap in which little beside the chip has room."""
    chip(40, 512)
    journal = Journal(ROOT + "/journal", 10240, 2048, 512)
    journal.open()
    use(journal, 1000, True)
    early = heap()
    use(journal, 9000, True)
    show(dropped=journal.oldest - 1, grown=heap() - early)


def index():
    """A journal of 1 MB, full and nothing of it stored, on a chip in RAM."""
    chip(280)
    gc.collect()
    journal = Journal(ROOT + "/journal", 1 << 20, 16384)
    journal.open()
    early = heap()
    for _ in range(3200):
        journal.append(report(journal.next_seq))
    sent = 0
    seq = journal.newest_unstored()
    while seq is not None:
        assert journal.read(seq) == report(seq)
        sent += 1
        seq = journal.newest_unstored(below=seq)
    grown = heap() - early
    journal.close()
    journal.open()
    assert journal.unstored_count == sent or journal.oldest > 1
    show(segments=len(journal.numbers), sent=sent, grown=grown)


def full():
    """The file system is smaller than the journal's capacity: its own ENOSPC, again and again."""
    chip(24)
    journal = Journal(ROOT + "/journal", 1 << 20, 8192, 512)
    journal.open()
    dropped = 0
    for _ in range(2000):
        for first, last, _, _ in journal.take_drops():
            assert first == 1 and last > dropped  # all that was not stored, each time
            dropped = last
        journal.append(report(journal.next_seq))
    whole = all([journal.read(seq) == report(seq) for seq in range(journal.oldest, 2001)])
    show(kept=2001 - journal.oldest, whole=whole, gap=journal.oldest - 1 - dropped)


def fat():
    """The same calls on FAT, where writes need no erase and the names are upper case inside."""

    class Card(Flash):
        def readblocks(self, number, buffer, offset=0):
            at = number * 512
            buffer[:] = memoryview(self.data)[at : at + len(buffer)]

        def writeblocks(self, number, buffer, offset=0):
            at = number * 512
            self.data[at : at + len(buffer)] = buffer

    card = Card(bytearray(512 * 256), 512)
    os.VfsFat.mkfs(card)
    os.mount(os.VfsFat(card), "/card")
    for _ in range(3):
        journal = Journal("/card/journal", 49152, 8192, 512)
        journal.open()
        use(journal, 300, True)
    journal.close()
    journal.open()
    whole = all([journal.read(seq) == report(seq) for seq in range(journal.oldest, 901)])
    show(boot=journal.boot, next=journal.next_seq, clean=journal.clean, whole=whole)


def wear():
    """What 1,000 reports cost the chip, with acks for 8 at a time and a cursor every hour."""
    flash = chip(64)
    journal = Journal(ROOT + "/journal", 196608, 16384)
    journal.open()
    flash.programs = flash.programmed = flash.erases = 0
    writes = journal.writes
    for _ in range(1000):
        seq = journal.append(report(journal.next_seq))
        if seq % 8 == 0:
            journal.mark_stored(seq)
        if seq % 12 == 0:
            journal.persist()
    show(
        writes=journal.writes - writes,
        programs=flash.programs,
        programmed=flash.programmed,
        erases=flash.erases,
    )


if __name__ == "__main__":
    {"memory": memory, "index": index, "full": full, "fat": fat, "wear": wear}[sys.argv[1]]()
