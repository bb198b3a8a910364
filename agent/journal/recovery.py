"""What the journal finds when it is opened, and how it finishes what a crash has cut off.

Needed once, at start: where RAM is short the module can be unloaded after `Journal.open`.
"""

import hashlib
import os
import struct

from agent.journal import segment
from agent.device.interpreter import const
from agent.journal.new_stream import begin, new_stream, shelve
from agent.journal.stream import to_reissue
from agent.wire import ids

# As in segment.py, where they are explained (a test holds them equal): here they cost nothing.
_HEADER = const(384)
_BOOT = const(1)
_CLOSED = const(3)
_REPORT = const(0x20)
_REISSUED = const(0x40)
_UNTOLD = const(1)
_TOLD = const(3)
_WHOLE = const(0)
_ROTTEN = const(2)
_FIXED_SIZE = const(38)
_GAP = ">IIB4s"
_GAP_SIZE = const(13)


def open_journal(journal):
    """See `Journal.open`."""
    journal.abandon()
    journal.boot = 0
    journal.clean = False  # the run before ended with `close`
    journal.previous = None  # the Stream before this one, while the province lacks some of it
    journal.number = 0  # the highest ever seen
    journal.junk = []  # files to delete once all that they held is remembered elsewhere
    journal.gaps = []
    begin(journal, None)
    try:
        try:
            os.mkdir(journal.path)
        except OSError as error:
            if error.errno != 17:  # EEXIST
                raise
        end = _open(journal)
    except OSError as error:
        raise journal.failure("can't be opened", error)
    journal.boot += 1
    journal.fresh = journal.fresh or journal.next_seq
    if end == _ROTTEN or not journal.stream:
        new_stream(journal)
    try:
        if end == _WHOLE and journal.numbers and journal.fits(4):
            path = segment.path_of(journal.path, journal.numbers[-1])
            journal.file = open(path, "ab", 0)
            journal.write_record(_BOOT, journal.boot.to_bytes(4, "big"))
            journal.sweep()
        else:
            journal.rotate()
        journal.release()
    except OSError:
        journal.abandon()  # the next append tries again, and raises


def _open(journal):
    """Take over what the directory holds; how the log ends: WHOLE, TORN or ROTTEN.

    Only headers are read, and the records of each stream's newest segment; what has rotted in
    older ones shows when they are read. Raises OSError."""
    end = _WHOLE
    bad = []  # files without a valid header
    for number in numbers_in(journal.path):
        size, header = _read(journal.path, number)
        if header is None and number >> 31:
            continue  # not ours, as no journal lives so long; nor would a number be left after it
        journal.number = number
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
                shelve(journal)
            begin(journal, stream)
        if journal.bases and journal.bases[-1] == base:
            journal.junk.append(journal.pop(-1))  # no report in it counts
        journal.push(number, base, size)
    if journal.stream:
        end = max(end, _replay(journal))
        for held in (journal, journal.previous):
            if held:
                _end(journal, held, bad)
        if journal.previous and not journal.previous.numbers:
            journal.previous = None
    journal.junk.extend(bad)
    return end


def numbers_in(directory):
    """The numbers of all segment files in a directory, ascending. Raises OSError."""
    found = []
    for name in os.listdir(directory):
        try:
            number = int(name[:8], 16)
        except ValueError:
            continue  # not ours
        if name == "%08x.seg" % number:  # as " 1" and "0x1" are numbers, too
            found.append(number)
    found.sort()
    return found


def _read(path, number):
    """Size and header of a file; the header is None if it is not valid."""
    try:
        with open(segment.path_of(path, number), "rb") as file:
            size = file.seek(0, 2)
            return size, segment.read_header(file, number, bytearray(_HEADER))
    except OSError:
        return _HEADER + 1, None


def _replay(journal):
    """Take over what the newest segment so far remembers; how it ends."""
    number = journal.numbers[-1]
    head = bytearray(_HEADER)
    newest = None
    journal.clean = False
    with open(segment.path_of(journal.path, number), "rb") as file:
        seed = segment.read_header(file, number, head)[2]
        journal.floor, before, boot, hash8, state = _unpack_header(head)
        stored, gaps, fresh = _unpack_state(state)
        walk = segment.records(file, journal.sizes[-1], seed, journal.bases[-1], True)
        for at, kind, seq, length in walk:
            if kind < 0:
                journal.next_seq = seq
                end = length
                break
            journal.clean = kind == _CLOSED
            if kind >= _REPORT:
                newest = at, seq
                gap = to_reissue(gaps)
                if kind < _REISSUED:
                    _note(gaps, kind - _REPORT)
                elif gap:
                    gap[1] += 1
                continue
            file.seek(at + 8)
            body = file.read(length)
            if kind == _BOOT:
                boot = int.from_bytes(body, "big")
                fresh = fresh or seq
            else:
                stored, gaps, fresh = _unpack_state(body)
        if newest:
            report = segment.read_record(file, seed, newest[0], newest[1])
            hash8 = hashlib.sha256(report).digest()[:8]
    if journal.previous:
        journal.previous.floor = max(journal.previous.floor, before)
    journal.boot = boot
    journal.last_hash8 = hash8
    journal.stored = journal.saved = stored
    journal.gaps[:] = gaps
    journal.fresh = fresh
    journal.settled = None
    journal.last_seed = seed
    return end


def _unpack_state(body):
    """(stored, gaps, fresh), as given to `segment.pack_state`; a gap is UNTOLD or TOLD."""
    fresh, *stored = struct.unpack_from(">%dI" % (body[0] + 1), body, 1)
    gaps = []
    for at in range(5 + 4 * body[0], len(body), _GAP_SIZE):
        first, last, reason, owner = struct.unpack_from(_GAP, body, at)
        gaps.append([first, last, reason & 127, _TOLD if reason & 128 else _UNTOLD, owner])
    return stored, gaps, fresh


def _unpack_header(head):
    """What a valid header remembers: (oldest, before, boot, hash8, state); see `pack_header`."""
    oldest, before, boot, hash8, size = struct.unpack_from(">III8sH", head, 16)
    state = head[_FIXED_SIZE : _FIXED_SIZE + size]
    return oldest, before, boot, None if hash8 == bytes(8) else hash8, state


def _note(gaps, count):
    """Mark the first `count` gaps that were not told as told."""
    for gap in gaps:
        if count and gap[3] != _TOLD:
            gap[3] = _TOLD
            count -= 1


def _end(journal, held, bad):
    """Finish the dropping of a stream's oldest segments wherever it was cut off."""
    while len(held.numbers) > (held is journal) and held.end_of_first() <= held.floor:
        journal.junk.append(held.pop(0))
    # The other way round, deleted before a header could say so: that happens on a full medium.
    lost = bad and held.numbers and bad[0] < held.numbers[0]
    held.lose(held.floor, held.oldest - 1, ids.DROPPED_CORRUPT if lost else ids.DROPPED_FULL)
