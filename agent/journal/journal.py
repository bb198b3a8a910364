"""The journal: each report is on the medium before it is sent, and stays while there is space.

A directory of segment files (`segment.py`), written only at the end of the newest. The header of
each remembers everything else there is to remember, so that any older file can be deleted:

- A new segment is written before the oldest is deleted; its header names what is thereby lost.
- The next report appended after `take_drops` reports the drops, and that report's own record says
  that it does. Whatever is cut off in between, each drop is reported, and once.
- After a write that failed or was cut off nothing is added to that file: the next record opens a
  new one. From the seq on at which a later segment begins, an older one does not count.

Whoever has lost the end of the log can't know which seqs it gave out, and the province must never
see two reports with one seq. So if the log ends in rotten bytes, not in a write that was cut
short, a new stream begins; the old one stays readable as `previous` until the province has it.
"""

import hashlib
import os

from agent.device import interpreter
from agent.journal import segment
from agent.device.interpreter import const
from agent.journal.stream import (
    JournalError, Stream, count_of, covers, matters, merged, pairs_of, to_reissue,
)  # fmt: skip
from agent.wire import ids


# As in segment.py, where they are explained (a test holds them equal): here they cost nothing.
_HEADER = const(384)
_OVERHEAD = const(12)
_STATE = const(2)
_CLOSED = const(3)
_REPORT = const(0x20)
_REISSUED = const(0x40)
_NEW = const(0)
_UNTOLD = const(1)
_TAKEN = const(2)
_TOLD = const(3)
_RANGES = const(17)


class Journal(Stream):
    """The stream that grows. Nothing but `open` may be called before `open`.

    path: a directory of its own, made if missing. capacity: bytes that its files may take.
    segment_size: bytes of one file, the step in which space is freed. max_record: the largest
    report. Counts `writes` (headers and records, each of them synced) and `bytes_written`."""

    def __init__(self, path, capacity=1 << 20, segment_size=16384, max_record=8192):
        Stream.__init__(self, path, None, segment_size)
        self.capacity = capacity
        self.max_record = max_record
        # What files may take when a new one begins; a report may be larger than a segment.
        self._full = capacity - max(segment_size, _HEADER + _OVERHEAD + max_record)
        self._full = max(self._full, segment_size)
        self.writes = self.bytes_written = 0
        self.file = None
        self.boot = 0  # `open` counts it
        self.before = None  # the stream that is known to have been here, if nothing of it is left
        # The last append failed though space was freed: don't give up what is wanted again.
        self._in_vain = False
        # False while something changes: what an interrupt leaves then, the next `open` repairs.
        self.whole = True

    # ---- opening and closing ---------------------------------------------------------------

    def open(self):
        """Find what is there, repair what a crash left, count the boot. Raises JournalError if
        the directory can't be read; that it can't be written shows at the first append."""
        from agent.journal.recovery import open_journal

        open_journal(self)

    def close(self):
        """Write down what is stored, and that the run ended in order."""
        if self.stream:
            self.remember(_CLOSED)
            self.abandon()

    def new_stream(self):
        """Begin a new stream, as the province holds reports of this one that it never gave out.
        What it lacks of the old one is sent from `previous`, or issued again (`reissue`); of one
        still older, it is dropped."""
        from agent.journal import new_stream

        new_stream.disown(self)

    @property
    def began(self):
        """What the first report of a stream says of it: (reason, stream before, its last seq),
        None for what is not known; None in all others."""
        if self.next_seq > 1:
            return None
        old = self.previous
        if old:
            return ids.STREAM_LOST, old.stream, old.newest
        return ids.STREAM_LOST if self.before else ids.STREAM_NEW, self.before, None

    # ---- reports ---------------------------------------------------------------------------

    @property
    def reissue(self):
        """The seq of `previous` that is to be issued again next (reissue.py), if any."""
        old = self.previous
        gap = to_reissue(self.gaps)
        if gap and old and gap[4] == old.stream and gap[1] < old.newest and self.next_seq > 1:
            return gap[1] + 1
        return None

    def append(self, report, again=None):
        """Write a report (bytes) durably; its seq. On a full medium the oldest segments give way.

        reissued: the seq of `previous` that it was made of; if that has to give way for it,
        nothing is written, and None returned. Raises JournalError if it can't be done; the seq is
        then still free, the journal usable."""
        if not 0 < len(report) <= self.max_record:
            raise ValueError("report of %d bytes" % len(report))
        failures = 0
        self.whole = False
        while True:
            try:
                if self.file is None or not self.fits(len(report)):
                    self.rotate()  # which may add a gap
                told = []
                if again is None:
                    for gap in self.gaps:
                        if gap[3] == _TAKEN:
                            told.append(gap)
                elif again != self.reissue:
                    self.whole = True
                    return None
                at = self.sizes[-1]
                self.write_record(_REISSUED if again else _REPORT + len(told), report)
                break
            except OSError as error:
                self.abandon()
                failures += 1
                full = error.errno == 28 and failures <= 2  # ENOSPC; two segments at most
                if full and (self.junk or self._drop_oldest(self._in_vain)):
                    self.sweep()
                elif failures > 1:
                    self._in_vain = self.whole = True
                    raise self.failure("can't be written", error)
        self._in_vain = False
        if self._placed == self.numbers[-1]:
            self._places.append(at)
        for gap in told:
            gap[3] = _TOLD
        if again:
            to_reissue(self.gaps)[1] = again
            self.release()
        self.next_seq += 1
        self.settled = None
        self.last_hash8 = hashlib.sha256(report).digest()[:8]
        self.whole = True
        return self.next_seq - 1

    def sending(self, seq):
        """Note that a report is about to be sent. The first that no run before can have sent
        costs a write; should that fail, the next tries again."""
        if seq >= self.fresh:
            self.given = merged(pairs_of(self.given) + [(seq, seq)], self.newest)
            if len(self.given) > 2 * _RANGES:
                del self.given[1:-1]
            if not self.marked:
                self.remember(_STATE)

    def take_drops(self):
        """What the next report must name: [(first, last, reason, stream)], the reports that are
        gone though the province had not stored them. Returned again until that is appended."""
        for gap in self.gaps:
            if gap[3] == _NEW:
                self.remember(_STATE)
                break
        found = []
        for gap in self.gaps:
            if gap[3] == _NEW:
                break  # could not be written down yet, so it waits
            if gap[3] != _TOLD:
                gap[3] = _TAKEN
                found.append((gap[0], gap[1], gap[2], gap[4]))
        return found

    def mark_stored(self, seq, ranges=(), stream=None, only_add=False):
        """Take over an ack: all up to seq is stored, and the ranges (first, last) beyond.

        stream: whose, the present one's if None; an ack of one that is not here says nothing.
        One that says less than the one before is believed (the province was put back from
        a backup) unless only_add; what it lacks and is no longer kept counts as dropped. Of more
        than 16 ranges the lowest are kept. Returns False if it covers a seq that the journal
        never gave out; `knows` sees more."""
        if stream is None or stream == self.stream:
            before = pairs_of(self.saved) + pairs_of(self.stored)
            known = self.believe(seq, ranges, only_add)
            # Whether to write it down.
            more = count_of(self.stored) - count_of(self.saved) >= 64
            for first, last in before:
                # That the province lost something must not be forgotten: the ring relies on it.
                more = more or not covers(self.stored, first, last)
            if more:
                self.remember(_STATE)
            return known
        if self.previous and stream == self.previous.stream:
            self.previous.believe(seq, ranges, only_add)
            self.release()
        return True

    def persist(self):
        """Write down what is stored if that has changed; worth a call every hour. Should it be
        lost, reports are sent again, nothing else."""
        if self.stored != self.saved:
            self.remember(_STATE)

    @property
    def fill(self):
        """How much of the capacity is taken by what the province has not stored, 0 to 1000."""
        count = self.unstored_bytes + (self.previous.unstored_bytes if self.previous else 0)
        return min(1000, count * 1000 // self.capacity)

    # ---- writing ---------------------------------------------------------------------------

    def fits(self, length):
        size = self.sizes[-1]
        return size == _HEADER or size + _OVERHEAD + length <= self.segment_size

    def write_record(self, kind, body):
        size = _OVERHEAD + len(body)
        self.sizes[-1] += size  # should it fail, this much may lie there
        try:
            segment.write_record(self.file, self.last_seed, kind, self.next_seq, body)
            interpreter.sync(self.file)
        except MemoryError:
            self.abandon()  # a part of it may lie there; who calls looks for an OSError only
            raise
        self._wrote(size)

    def _wrote(self, count):
        self.writes += 1
        self.bytes_written += count

    def remember(self, kind):
        """Write down what is stored and what is gone. A failure costs reports that are sent
        again, and drops that wait until it succeeds."""
        self.whole = False
        try:
            body = self._state()
            if self.file is None or not self.fits(len(body)):
                self.rotate()  # which may add a gap
                body = self._state()
            self.write_record(kind, body)
            self._remembered()
        except OSError:
            self.abandon()
        self.whole = True

    def _state(self):
        return segment.pack_state(self.stored, self.gaps, 0 if self.given else self.fresh)

    def _remembered(self):
        self.saved = self.stored
        self.marked = bool(self.given)
        for gap in self.gaps:
            gap[3] = gap[3] or _UNTOLD

    def rotate(self):
        """Begin a new segment, give up the oldest if there would be too many. Raises OSError."""
        self.abandon()
        old = self.previous
        while True:
            sizes = self.sizes + old.sizes if old else self.sizes
            # One that a failure cut short counts for half a segment: the index must stay small.
            total = 0
            for size in sizes:
                total += max(size, self.segment_size // 2)
            if total <= self._full:
                break
            if not self._drop_oldest():
                break
        for gap in self.gaps[:]:
            if not matters(gap, self, self.previous):
                self.gaps.remove(gap)
        number = self.number + 1
        path = segment.path_of(self.path, number)
        head, seed = segment.pack_header(
            self.stream, number, self.next_seq, self.oldest, old.oldest if old else 1, self.boot,
            self.last_hash8, self._state(),
        )  # fmt: skip
        self.file = open(path, "wb", 0)
        try:
            segment.write(self.file, head)
            interpreter.sync(self.file)
            if not interpreter.MICROPYTHON:
                # LittleFS, ext4 and FAT commit a file's name with it.
                from agent.device import cpython

                cpython.sync_directory(self.path)
        except OSError:
            self.abandon()
            self._remove(number)
            raise
        self._wrote(len(head))
        self.number = number
        while number in self.junk:
            self.junk.remove(number)  # of a try that failed
        self.last_seed = seed
        self._remembered()
        if self.bases and self.bases[-1] == self.next_seq:
            self.junk.append(self.pop(-1))  # no report in it counts
        self.push(number, self.next_seq, len(head))
        self.sweep()

    def _drop_oldest(self, unless_wanted=False):
        """Give up the oldest segment, and note what the province lacks of it. False: none may go,
        as the last segment of a stream alone knows of it."""
        held = self.previous
        if not held or len(held.numbers) < 2:
            held = self
        if len(held.numbers) < 2 or unless_wanted and held.first_is_wanted():
            return False
        self.give_up(held)
        return True

    def give_up(self, held):
        held.lose(held.oldest, held.end_of_first() - 1, ids.DROPPED_FULL)
        self.junk.append(held.pop(0))

    def sweep(self):
        """Delete what is given up. Oldest first, so that even where no header could be written
        before, `open` sees what is missing."""
        junk, self.junk = self.junk, []
        for number in junk:
            self._remove(number)

    def _remove(self, number):
        try:
            os.remove(segment.path_of(self.path, number))
        except OSError as error:
            if error.errno != 2:  # ENOENT
                self.junk.append(number)  # again later

    def abandon(self):
        """Close the newest file; nothing is added to it any more."""
        if self.file:
            try:
                self.file.close()
            except OSError:
                pass
            self.file = None

    def failure(self, what, error):
        return JournalError(
            error.errno,
            "journal %s %s (%s): free some space" % (self.path, what, error),
        )

    def release(self):
        """Delete the previous stream's oldest segments if nothing there is to be sent."""
        old = self.previous
        while old and old.numbers:
            if old.first_is_wanted():
                break
            if self.began and len(old.numbers) == 1:
                break  # it still has to be named
            self._remove(old.pop(0))
        if old and not old.numbers:
            self.previous = None
