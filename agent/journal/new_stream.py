"""How a journal begins a new stream and sets the old one aside: seldom needed, so loaded then."""

import os

from agent.device.interpreter import const
from agent.journal.stream import Stream, to_reissue

# As in segment.py, where they are explained (a test holds them equal): here they cost nothing.
_TOLD = const(3)
_REISSUE = const(127)


def begin(journal, stream):
    """Be the stream `stream` (bytes or None), which has nothing yet."""
    gaps = journal.gaps
    Stream.__init__(journal, journal.path, stream, journal.segment_size)
    journal.gaps = gaps
    journal.saved = journal.stored
    journal.last_hash8 = None  # of the newest report: what the next must carry as `prev`
    journal.marked = False  # that something was sent is written down


def new_stream(journal):
    """Begin a stream that nobody has seen."""
    if journal.stream:
        shelve(journal)
    begin(journal, os.urandom(4))


def disown(journal):
    """Begin a new stream, as the province holds other reports under this one's seqs than are here.

    What was made from `fresh` on is to be issued again in the new stream (reissue.py), except what
    this run has sent: that is stored as it is, or kept as a conflict."""
    old, fresh, given = journal.stream, journal.fresh, journal.given
    newest = journal.newest
    # What is gone already can't be reissued.
    first = max(fresh, journal.oldest)
    new_stream(journal)
    gap = to_reissue(journal.gaps)
    if gap:
        journal.gaps.remove(gap)  # of a stream that was given up just now
    if journal.previous and fresh <= newest:
        journal.previous.given = given
        journal.gaps.append([first, first - 1, _REISSUE, _TOLD, old])
    try:
        journal.rotate()
        journal.release()
    except OSError:
        journal.abandon()


def shelve(journal):
    """Set the present stream aside as the previous one."""
    while journal.previous and journal.previous.numbers:
        journal.give_up(journal.previous)  # it has waited in vain
    held = Stream(journal.path, journal.stream, journal.segment_size)
    held.next_seq = journal.next_seq
    held.numbers = journal.numbers
    held.bases = journal.bases
    held.sizes = journal.sizes
    held.stored = journal.stored
    held.gaps = journal.gaps
    held.floor = journal.floor
    if held.numbers:
        journal.previous = held
