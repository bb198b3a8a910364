"""How a journal begins a new stream and sets the old one aside: seldom needed, so loaded then."""

import os

from agent.device.interpreter import const
from agent.journal.stream import Stream, again

# As in segment.py, where they are explained (a test holds them equal): here they cost nothing.
_TOLD = const(3)
_AGAIN = const(127)


def begin(journal, stream):
    """Be the stream `stream` (bytes or None), which has nothing yet."""
    gaps = journal._gaps
    Stream.__init__(journal, journal.path, stream, journal._segment)
    journal._gaps = gaps
    journal._saved = journal._stored
    journal.last_hash8 = None  # of the newest report: what the next must carry as `prev`
    journal._marked = False  # that something was sent is written down


def fork(journal):
    """Begin a stream that nobody has seen."""
    if journal.stream:
        shelve(journal)
    begin(journal, os.urandom(4))


def disown(journal):
    """Begin a new stream, as the province holds other reports under this one's seqs than are here.

    What was made from `fresh` on is to be made again in the new stream (reissue.py), but for what
    this run has sent: that is stored as it is, or kept as a conflict."""
    old, fresh, given = journal.stream, journal._fresh, journal._given
    newest = journal.newest
    # What is gone already can't be: whether that was heard, what is stored of the old one tells.
    first = max(fresh, journal.oldest)
    fork(journal)
    gap = again(journal._gaps)
    if gap:
        journal._gaps.remove(gap)  # of a stream that was given up just now
    if journal.previous and fresh <= newest:
        journal.previous._given = given
        journal._gaps.append([first, first - 1, _AGAIN, _TOLD, old])
    try:
        journal._rotate()
        journal._release()
    except OSError:
        journal._abandon()


def shelve(journal):
    """Set the present stream aside as the previous one."""
    while journal.previous and journal.previous._numbers:
        journal._give_up(journal.previous)  # it has waited in vain
    held = Stream(journal.path, journal.stream, journal._segment)
    for name in ("next_seq", "_numbers", "_bases", "_sizes", "_stored", "_gaps", "_floor"):
        setattr(held, name, getattr(journal, name))
    if held._numbers:
        journal.previous = held
