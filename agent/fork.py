"""How a journal begins a new stream and sets the old one aside: seldom needed, so loaded then."""

import os

from agent.stream import Stream


def begin(journal, stream):
    """Be the stream `stream` (bytes or None), which has nothing yet."""
    gaps = journal._gaps
    Stream.__init__(journal, journal.path, stream, journal._segment)
    journal._gaps = gaps
    journal._saved = journal._stored
    journal.last_hash8 = None  # of the newest report: what the next must carry as `prev`


def fork(journal):
    """Begin a stream that nobody has seen."""
    if journal.stream:
        shelve(journal)
    begin(journal, os.urandom(4))


def shelve(journal):
    """Set the present stream aside as the previous one."""
    while journal.previous and journal.previous._numbers:
        journal._give_up(journal.previous)  # it has waited in vain
    held = Stream(journal.path, journal.stream, journal._segment)
    for name in ("next_seq", "_numbers", "_bases", "_sizes", "_stored", "_gaps", "_floor"):
        setattr(held, name, getattr(journal, name))
    if held._numbers:
        journal.previous = held
