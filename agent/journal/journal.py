"""The journal: each report is on the medium before it is sent, and stays while there is space.

A directory of segment files (`segment.py`), written only at the end of the newest. The header of
each remembers everything else there is to remember, so that any older file can be deleted:

- A new segment is written before the oldest is deleted; its header names what is thereby lost.
- A drop is told by the next report appended after `take_drops`, and that report's own record says
  that it was. Whatever is cut off in between, each drop is told, and once.
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
from agent.journal.stream import JournalError, Stream, count_of, covers, matters, merged, pairs_of
from agent.journal.stream import again as made_again
from agent.wire import ids

_LAZY = const(64)  # reports newly stored that are worth a write to remember it
_TRIES = const(2)  # segments given up for one append on a full medium
_ENOENT = const(2)
_ENOSPC = const(28)

# As in segment.py, where they are explained (a test holds them equal): here they cost nothing.
_HEADER = const(384)
_OVERHEAD = const(12)
_STATE = const(2)
_CLOSED = const(3)
_REPORT = const(0x20)
_MADE = const(0x40)
_NEW = const(0)
_UNTOLD = const(1)
_TAKEN = const(2)
_TOLD = const(3)
_AGAIN = const(127)
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
        self._file = None
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
            self._remember(_CLOSED)
            self._abandon()

    def new_stream(self):
        """Begin a new stream, as the province holds reports of this one that it never gave out.
        What it lacks of the old one is sent from `previous`, or made again (`again`); of one
        still older, it is dropped."""
        from agent.journal.new_stream import disown

        disown(self)

    @property
    def began(self):
        """What the first report of a stream has to tell: (reason, stream before, its last seq),
        None for what is not known; None in all others."""
        if self.next_seq > 1:
            return None
        old = self.previous
        if old:
            return ids.STREAM_LOST, old.stream, old.newest
        return ids.STREAM_LOST if self.before else ids.STREAM_NEW, self.before, None

    # ---- reports ---------------------------------------------------------------------------

    @property
    def again(self):
        """The seq of `previous` that is to be made again next (reissue.py), if any."""
        old = self.previous
        gap = made_again(self._gaps)
        if gap and old and gap[4] == old.stream and gap[1] < old.newest and self.next_seq > 1:
            return gap[1] + 1
        return None

    def append(self, report, again=None):
        """Write a report (bytes) durably; its seq. On a full medium the oldest segments give way.

        again: the seq of `previous` that it was made of; if that has to give way for it, nothing
        is written, and None returned. Raises JournalError if it can't be done; the seq is then
        still free, the journal usable."""
        if not 0 < len(report) <= self.max_record:
            raise ValueError("report of %d bytes" % len(report))
        failures = 0
        self.whole = False
        while True:
            try:
                if self._file is None or not self._fits(len(report)):
                    self._rotate()  # which may add a gap
                told = []
                if again is None:
                    for gap in self._gaps:
                        if gap[3] == _TAKEN:
                            told.append(gap)
                elif again != self.again:
                    self.whole = True
                    return None
                at = self._sizes[-1]
                self._record(_MADE if again else _REPORT + len(told), report)
                break
            except OSError as error:
                self._abandon()
                failures += 1
                full = error.errno == _ENOSPC and failures <= _TRIES
                if full and (self._junk or self._drop_oldest(self._in_vain)):
                    self._sweep()
                elif failures > 1:
                    self._in_vain = self.whole = True
                    raise self._failure("can't be written", error)
        self._in_vain = False
        if self._placed == self._numbers[-1]:
            self._places.append(at)
        for gap in told:
            gap[3] = _TOLD
        if again:
            made_again(self._gaps)[1] = again
            self._release()
        self.next_seq += 1
        self._settled = None
        self.last_hash8 = hashlib.sha256(report).digest()[:8]
        self.whole = True
        return self.next_seq - 1

    def sending(self, seq):
        """Note that a report is about to be sent. The first that no run before can have sent
        costs a write; should that fail, the next tries again."""
        if seq >= self._fresh:
            self._given = merged(pairs_of(self._given) + [(seq, seq)], self.newest)
            if len(self._given) > 2 * _RANGES:
                del self._given[1:-1]
            if not self._marked:
                self._remember(_STATE)

    def take_drops(self):
        """What the next report has to tell: [(first, last, reason, stream)], the reports that are
        gone though the province had not stored them. Returned again until that is appended."""
        for gap in self._gaps:
            if gap[3] == _NEW:
                self._remember(_STATE)
                break
        drops = []
        for gap in self._gaps:
            if gap[3] == _NEW:
                break  # could not be written down yet, so it waits
            if gap[3] != _TOLD:
                gap[3] = _TAKEN
                drops.append((gap[0], gap[1], gap[2], gap[4]))
        return drops

    def mark_stored(self, seq, ranges=(), stream=None, only_add=False):
        """Take over an ack: all up to seq is stored, and the ranges (first, last) beyond.

        stream: whose, the present one's if None; an ack of one that is not here says nothing.
        One that says less than the one before is believed (the province was put back from
        a backup) unless only_add; what it lacks and is no longer kept counts as dropped. Of more
        than 16 ranges the lowest are kept. Returns False if it covers a seq that the journal
        never gave out; `knows` sees more."""
        if stream is None or stream == self.stream:
            before = pairs_of(self._saved) + pairs_of(self._stored)
            known = self._believe(seq, ranges, only_add)
            worth = count_of(self._stored) - count_of(self._saved) >= _LAZY
            for first, last in before:
                # That the province lost something must not be forgotten: the ring relies on it.
                worth = worth or not covers(self._stored, first, last)
            if worth:
                self._remember(_STATE)
            return known
        if self.previous and stream == self.previous.stream:
            self.previous._believe(seq, ranges, only_add)
            self._release()
        return True

    def persist(self):
        """Write down what is stored if that has changed; worth a call every hour. Should it be
        lost, reports are sent again, nothing else."""
        if self._stored != self._saved:
            self._remember(_STATE)

    @property
    def fill(self):
        """How much of the capacity is taken by what the province has not stored, 0 to 1000."""
        count = self.unstored_bytes + (self.previous.unstored_bytes if self.previous else 0)
        return min(1000, count * 1000 // self.capacity)

    # ---- writing ---------------------------------------------------------------------------

    def _fits(self, length):
        size = self._sizes[-1]
        return size == _HEADER or size + _OVERHEAD + length <= self._segment

    def _record(self, kind, body):
        size = _OVERHEAD + len(body)
        self._sizes[-1] += size  # should it fail, this much may lie there
        try:
            segment.write_record(self._file, self._seed_of_last, kind, self.next_seq, body)
            interpreter.sync(self._file)
        except MemoryError:
            self._abandon()  # a part of it may lie there; who calls looks for an OSError only
            raise
        self._wrote(size)

    def _wrote(self, count):
        self.writes += 1
        self.bytes_written += count

    def _remember(self, kind):
        """Write down what is stored and what is gone. A failure costs reports that are sent
        again, and drops that wait until it succeeds."""
        self.whole = False
        try:
            body = self._state()
            if self._file is None or not self._fits(len(body)):
                self._rotate()  # which may add a gap
                body = self._state()
            self._record(kind, body)
            self._remembered()
        except OSError:
            self._abandon()
        self.whole = True

    def _state(self):
        return segment.pack_state(self._stored, self._gaps, 0 if self._given else self._fresh)

    def _remembered(self):
        self._saved = self._stored
        self._marked = bool(self._given)
        for gap in self._gaps:
            gap[3] = gap[3] or _UNTOLD

    def _rotate(self):
        """Begin a new segment, give up the oldest if there would be too many. Raises OSError."""
        self._abandon()
        old = self.previous
        while True:
            sizes = self._sizes + old._sizes if old else self._sizes
            # One that a failure cut short counts for half a segment: the index must stay small.
            taken = 0
            for size in sizes:
                taken += max(size, self._segment // 2)
            if taken <= self._full:
                break
            if not self._drop_oldest():
                break
        for gap in self._gaps[:]:
            if not matters(gap, self, self.previous):
                self._gaps.remove(gap)
        number = self._number + 1
        path = segment.path_of(self.path, number)
        head, seed = segment.pack_header(
            self.stream, number, self.next_seq, self.oldest, old.oldest if old else 1, self.boot,
            self.last_hash8, self._state(),
        )  # fmt: skip
        self._file = open(path, "wb", 0)
        try:
            segment.write(self._file, head)
            interpreter.sync(self._file)
            segment.sync_directory(self.path)
        except OSError:
            self._abandon()
            self._delete(number)
            raise
        self._wrote(len(head))
        self._number = number
        while number in self._junk:
            self._junk.remove(number)  # of a try that failed
        self._seed_of_last = seed
        self._remembered()
        if self._bases and self._bases[-1] == self.next_seq:
            self._junk.append(self._pop(-1))  # no report in it counts
        self._push(number, self.next_seq, len(head))
        self._sweep()

    def _drop_oldest(self, unless_wanted=False):
        """Give up the oldest segment, and note what the province lacks of it. False: none may go,
        as the last segment of a stream alone knows of it."""
        held = self.previous
        if not held or len(held._numbers) < 2:
            held = self
        if len(held._numbers) < 2 or unless_wanted and held._first_is_wanted():
            return False
        self._give_up(held)
        return True

    def _give_up(self, held):
        held._lose(held.oldest, held._end_of_first() - 1, ids.DROPPED_FULL)
        self._junk.append(held._pop(0))

    def _sweep(self):
        """Delete what is given up. Oldest first, so that even where no header could be written
        before, `open` sees what is missing."""
        junk, self._junk = self._junk, []
        for number in junk:
            self._delete(number)

    def _delete(self, number):
        try:
            os.remove(segment.path_of(self.path, number))
        except OSError as error:
            if error.errno != _ENOENT:
                self._junk.append(number)  # again later

    def _abandon(self):
        """Close the newest file; nothing is added to it any more."""
        if self._file:
            try:
                self._file.close()
            except OSError:
                pass
            self._file = None

    def _failure(self, what, error):
        return JournalError(
            error.errno,
            "journal %s %s (%s): free some space on it or replace the storage"
            % (self.path, what, error),
        )

    def _release(self):
        """Let go of the previous stream's oldest segments if nothing there is to be sent."""
        old = self.previous
        while old and old._numbers:
            if old._first_is_wanted():
                break
            if self.began and len(old._numbers) == 1:
                break  # it still has to be named
            self._delete(old._pop(0))
        if old and not old._numbers:
            self.previous = None
