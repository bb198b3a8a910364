"""What the journal finds when it is opened, and how it finishes what a crash has cut off.

Needed once, at start: where RAM is short the module can be unloaded after `Journal.open`.
"""

import hashlib

from agent import segment
from agent.compat import const

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_DROPPED_FULL = const(1)
_DROPPED_CORRUPT = const(2)

# As in segment.py, where they are explained (a test holds them equal): here they cost nothing.
_HEADER = const(384)
_BOOT = const(1)
_CLOSED = const(3)
_REPORT = const(0x20)
_TOLD = const(3)
_WHOLE = const(0)
_ROTTEN = const(2)


def recall(journal):
    """Take over what the directory holds; how the log ends: WHOLE, TORN or ROTTEN.

    Only headers are read, and the records of each stream's newest segment; what has rotted in
    older ones shows when they are read. Raises OSError."""
    end = _WHOLE
    bad = []  # files without a valid header
    for number in segment.numbers_in(journal.path):
        journal._number = number
        size, header = _look(journal.path, number)
        if header is None:
            # A header is synced alone: a file longer than that had records, perhaps reports.
            end = _ROTTEN if size > _HEADER else end
            bad.append(number)
            continue
        end = _WHOLE
        stream, base, _ = header
        if stream != journal.stream:
            if journal.stream:
                _replay(journal)
                journal._shelve()
            journal._begin(stream)
        if journal._bases and journal._bases[-1] == base:
            journal._junk.append(journal._pop(-1))  # no report in it counts
        journal._push(number, base, size)
    if journal.stream:
        end = max(end, _replay(journal))
        for held in (journal, journal.previous):
            if held:
                _settle(journal, held, bad)
        if journal.previous and not journal.previous._numbers:
            journal.previous = None
    journal._junk.extend(bad)
    return end


def _look(path, number):
    """Size and header of a file; the header is None if it is not valid."""
    try:
        with open(segment.path_of(path, number), "rb") as file:
            size = file.seek(0, 2)
            return size, segment.read_header(file, number, bytearray(_HEADER))
    except OSError:
        return _HEADER + 1, None


def _replay(journal):
    """Take over what the newest segment so far remembers; how it ends."""
    number = journal._numbers[-1]
    head = bytearray(_HEADER)
    newest = None
    journal.clean = False
    with open(segment.path_of(journal.path, number), "rb") as file:
        seed = segment.read_header(file, number, head)[2]
        journal._floor, before, boot, hash8, state = segment.unpack_header(head)
        stored, gaps = segment.unpack_state(state)
        walk = segment.records(file, journal._sizes[-1], seed, journal._bases[-1], True)
        for at, kind, seq, length in walk:
            if kind < 0:
                journal.next_seq = seq
                end = length
                break
            journal.clean = kind == _CLOSED
            if kind >= _REPORT:
                newest = at, seq
                _tell(gaps, kind - _REPORT)
                continue
            file.seek(at + 8)
            body = file.read(length)
            if kind == _BOOT:
                boot = int.from_bytes(body, "big")
            else:
                stored, gaps = segment.unpack_state(body)
        if newest:
            report = segment.read_record(file, seed, newest[0], newest[1])
            hash8 = hashlib.sha256(report).digest()[:8]
    if journal.previous:
        journal.previous._floor = max(journal.previous._floor, before)
    journal.boot = boot
    journal.last_hash8 = hash8
    journal._stored = journal._saved = stored
    journal._gaps[:] = gaps
    journal._settled = None
    journal._seed_of_last = seed
    return end


def _tell(gaps, count):
    """Mark the first `count` gaps that were not told as told."""
    for gap in gaps:
        if count and gap[3] != _TOLD:
            gap[3] = _TOLD
            count -= 1


def _settle(journal, held, bad):
    """Finish the dropping of a stream's oldest segments wherever it was cut off."""
    while len(held._numbers) > (held is journal) and held._end_of_first() <= held._floor:
        journal._junk.append(held._pop(0))
    # The other way round, deleted before a header could say so: that happens on a full medium.
    rotten = bad and held._numbers and bad[0] < held._numbers[0]
    held._lose(held._floor, held.oldest - 1, _DROPPED_CORRUPT if rotten else _DROPPED_FULL)
