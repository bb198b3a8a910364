"""Appends to a journal for ever and says on stdout what it was promised; killed by the test.

Arguments: the journal's directory, then the size of reports in bytes. Runs on both interpreters.
Lines: `open STREAM BOOT NEXT HELD`, then `SEQ` for each append, after it returned.
"""

import sys
from binascii import hexlify

from agent.journal.journal import Journal


def content(stream, seq, size):
    return (b"%s %d." % (hexlify(stream), seq)) * (size // 16)


def main(path, size):
    journal = Journal(path, 65536, 4096, 1024)
    journal.open()
    whole = journal.oldest
    while whole < journal.next_seq and journal.read(whole) == content(journal.stream, whole, size):
        whole += 1
    stream = hexlify(journal.stream).decode()
    print("open", stream, journal.boot, journal.next_seq, whole)
    while True:
        journal.take_drops()
        seq = journal.append(content(journal.stream, journal.next_seq, size))
        if seq % 7 == 0:
            journal.mark_stored(seq - 5, [(seq - 2, seq)])
        print(seq)


main(sys.argv[1], int(sys.argv[2]))
