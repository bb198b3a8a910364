"""What the device holds of one stream of reports, and what of it the province still lacks.

The journal is the stream that grows; one that it had to leave behind stays readable here until the
province has it. In RAM are three numbers for each segment, two short lists of ranges, and the
places of the reports of the one segment that was read last.
"""

from array import array

from agent.journal import segment
from agent.device.interpreter import const
from agent.wire import ids

# As in segment.py, where they are explained (a test holds them equal): here they cost nothing.
_HEADER = const(384)
_OVERHEAD = const(12)
_RANGES = const(17)
_GAPS = const(15)
_REPORT = const(0x20)
_NEW = const(0)
_TAKEN = const(2)
_TOLD = const(3)
_REISSUE = const(127)


class JournalError(OSError):
    """The storage under the journal failed; args are the errno and a sentence for people."""

    def __str__(self):
        return self.args[1]


def merged(pairs, last):
    """Ranges (first, last), in any order, as a flat list: ascending, disjoint, within 1..last."""
    flat = []
    for begin, end in sorted(pairs):
        begin = max(begin, 1)
        end = min(end, last)
        if begin > end:
            continue
        if flat and begin <= flat[-1] + 1:
            flat[-1] = max(flat[-1], end)
        else:
            flat.append(begin)
            flat.append(end)
    return flat


def pairs_of(flat):
    """The ranges of a flat list as (first, last)."""
    return [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]


def count_of(flat):
    """How many seqs the ranges of a flat list cover."""
    count = 0
    for first, last in pairs_of(flat):
        count += last - first + 1
    return count


def without(flat, first, last):
    """Yield the parts (first, last) of a range that no range of a flat list covers."""
    for i in range(0, len(flat), 2):
        if flat[i + 1] < first:
            continue
        if flat[i] > last:
            break
        if flat[i] > first:
            yield first, flat[i] - 1
        first = flat[i + 1] + 1
    if first <= last:
        yield first, last


def covers(flat, first, last):
    """Whether the ranges of a flat list cover all of first..last."""
    for _ in without(flat, first, last):
        return False
    return True


def to_reissue(gaps):
    """The entry of reports that are to be issued again, None if there is none."""
    for gap in gaps:
        if gap[2] == _REISSUE:
            return gap


def matters(gap, present, previous):
    """Whether a gap must still be reported, perhaps once more, or lies among what is kept of the
    present Stream or the previous one (or None)."""
    for held in (present, previous):
        if held and gap[4] == held.stream and (gap[1] >= held.oldest or gap[2] == _REISSUE):
            return True
    if gap[3] != _TOLD:
        return True
    # The report that names it may be lost. What is stored of this stream shows that.
    if gap[4] == present.stream or gap[2] == _REISSUE:
        return False
    return previous is not None or not covers(present.stored, 1, present.newest)


class Stream:
    """One stream, as far as it is held: `stream` (4 bytes), seqs `oldest` to `newest`.

    The attributes are the state that the modules of this room share; others only call methods."""

    def __init__(self, path, stream, segment_size):
        self.path = path
        self.stream = stream
        self.next_seq = 1
        self.segment_size = segment_size
        # Of each segment, oldest first. It holds the seqs from its base to before the next's.
        self.numbers = []
        self.bases = []
        self.sizes = []
        self.stored = []  # flat ranges, as the last ack says
        self.gaps = []  # [first, last, reason, state, stream]; shared with the journal
        self.fresh = 1  # from this seq on, no run before has sent anything
        self.given = []  # flat ranges: what of that this run has sent
        self.settled = None  # flat ranges: stored or gone; None: to be computed
        self.floor = 1  # the lowest seq that was still kept when this was last written down
        self._places = None  # offsets of the reports in segment number _placed, 0: none
        self._placed = self._seed = self._failures = 0

    @property
    def oldest(self):
        """The lowest seq that is kept (next_seq if none is)."""
        return self.bases[0] if self.bases else self.next_seq

    @property
    def newest(self):
        """The highest seq that was ever appended, 0 if none was."""
        return self.next_seq - 1

    @property
    def unstored_count(self):
        """How many reports are kept that the province has not stored."""
        count = 0
        for first, last in without(self._done(), self.oldest, self.newest):
            count += last - first + 1
        return count

    @property
    def unstored_bytes(self):
        """About how many bytes those take."""
        count = self.next_seq - self.oldest
        return sum(self.sizes) // count * self.unstored_count if count else 0

    def is_stored(self, seq):
        """Whether the province has said that it stored this report."""
        return covers(self.stored, seq, seq)

    def newest_unstored(self, below=None, skip=()):
        """The highest seq to be sent, under `below` if given and not in `skip`; None: all is sent.

        skip: whatever answers `seq in skip`, such as what is on its way just now."""
        seq = self.next_seq - 1
        if below is not None and below <= seq:
            seq = below - 1
        done = self._done()
        i = len(done) - 2
        while seq >= self.oldest:
            while i >= 0 and done[i] > seq:
                i -= 2
            if i >= 0 and seq <= done[i + 1]:
                seq = done[i] - 1
            elif seq in skip:
                seq -= 1
            else:
                return seq
        return None

    def knows(self, seq, ranges=()):
        """Whether an ack (see `Journal.mark_stored`) can be of this stream as it is here: it
        covers nothing that was never given out, or never sent. Else the tail was lost."""
        first = 1
        last = seq
        i = 0
        while True:
            if last > self.newest or not covers(self.given, max(first, self.fresh), last):
                return False
            if i == len(ranges):
                return True
            first, last = ranges[i]
            i += 1

    def read(self, seq):
        """The bytes of a report, or None if it is not kept or no longer what was written (then it
        counts as dropped from now on). Raises JournalError if the storage does not answer, once;
        the next failure for the same report makes it count as dropped as well."""
        if not self.oldest <= seq < self.next_seq:
            return None
        i = len(self.bases) - 1
        while self.bases[i] > seq:
            i -= 1
        k = seq - self.bases[i]
        try:
            with open(segment.path_of(self.path, self.numbers[i]), "rb") as file:
                if self._placed != self.numbers[i]:
                    self._place(file, i)
                at = self._places[k] if k < len(self._places) else 0
                report = segment.read_record(file, self._seed, at, seq) if at else None
        except OSError as error:
            if error.errno != 2 and self._failures != seq:  # ENOENT: somebody removed it
                self._failures = seq
                raise JournalError(
                    error.errno,
                    "journal %s: report %d can't be read (%s)" % (self.path, seq, error),
                )
            report = None
        if report is None:
            self.lose(seq, seq, ids.DROPPED_CORRUPT)
        return report

    def believe(self, seq, ranges, only_add):
        """See `Journal.mark_stored`."""
        before = pairs_of(self.stored)
        pairs = before[:] if only_add else []
        pairs.append((1, seq))
        for first, last in ranges:
            seq = max(seq, last)
            pairs.append((first, last))
        now = merged(pairs, self.newest)
        lost = []
        for first, last in before:
            lost.extend(without(now, first, min(last, self.oldest - 1)))
        del now[2 * _RANGES :]  # less is claimed, never more
        self.stored = now
        self.settled = None
        for first, last in lost:
            self.lose(first, last, ids.DROPPED_FULL)
        return seq < self.next_seq

    def _place(self, file, i):
        """Find the reports of segment i, whose file is open."""
        base = self.bases[i]
        end = self.bases[i + 1] if i + 1 < len(self.bases) else self.next_seq
        count = min(end - base, self.sizes[i] // _OVERHEAD)  # no more can be in it
        self._placed = 0
        self._places = places = array("H" if self.segment_size <= 65536 else "I", [0] * count)
        head = segment.read_header(file, self.numbers[i], bytearray(_HEADER))
        if head:
            self._seed = head[2]
            walk = segment.records(file, self.sizes[i], self._seed, base, False)
            for at, kind, seq, _ in walk:
                if kind >= _REPORT and seq - base < count:
                    places[seq - base] = at
        self._placed = self.numbers[i]
        # What is known to be missing is noted at once, as ranges, not found one by one.
        first = base
        for seq in range(base, base + count):
            if places[seq - base]:
                self.lose(first, seq - 1, ids.DROPPED_CORRUPT)
                first = seq + 1
        self.lose(first, end - 1, ids.DROPPED_CORRUPT)

    def push(self, number, base, size):
        self.numbers.append(number)
        self.bases.append(base)
        self.sizes.append(size)

    def pop(self, i):
        self.bases.pop(i)
        self.sizes.pop(i)
        return self.numbers.pop(i)

    def end_of_first(self):
        """The seq after the last in the oldest segment."""
        return self.bases[1] if len(self.bases) > 1 else self.next_seq

    def first_is_wanted(self):
        """Whether something in the oldest segment is still to be sent or reissued."""
        last = self.end_of_first() - 1
        gap = to_reissue(self.gaps)
        if gap and gap[4] == self.stream and gap[1] < last and gap[0] <= last:
            return True
        return not covers(self._done(), self.oldest, last)

    def _done(self):
        """Flat ranges of what need not be sent: it is stored, or gone."""
        if self.settled is None:
            pairs = pairs_of(self.stored)
            for gap in self.gaps:
                if gap[4] != self.stream:
                    continue
                if gap[2] == _REISSUE:
                    pairs.extend(without(self.given, gap[0], self.newest))
                else:
                    pairs.append((gap[0], gap[1]))
            self.settled = merged(pairs, self.newest)
        return self.settled

    def lose(self, first, last, reason):
        """Note that reports are gone, as far as the province lacks them."""
        if first > last:
            return
        lost = list(without(self._done(), first, last))
        gap = to_reissue(self.gaps)
        if gap and gap[4] == self.stream and first <= gap[1] + 1 <= last:
            lost.append((gap[1] + 1, last))
            gap[1] = last
        if not lost:
            return
        # A lost report may have carried drop events. So the drops that a report named which the
        # province lacks are reported once more.
        for gap in self.gaps[:]:
            if gap[3] == _TOLD and gap[2] != _REISSUE:
                self.gaps.remove(gap)
                gap[3] = _NEW
                self.gaps.append(gap)  # behind those that are being reported
        for begin, end in pairs_of(merged(lost, last)):
            self._note(begin, end, reason)
        self.settled = None
        for begin, end in without(self._done(), 1, self.oldest - 1):
            self._note(begin, end, ids.DROPPED_FULL)
            self.settled = None

    def _note(self, first, last, reason):
        gaps = self.gaps
        found = None
        least = 0
        for gap in gaps:
            if gap[4] != self.stream or gap[2] == _REISSUE:
                continue
            left = max(gap[0] - last, first - gap[1])
            if left <= 1 and gap[2] == reason and gap[3] < _TAKEN:
                break
            if found is None or left < least:
                found = gap
                least = left
        else:
            if not found or len(gaps) < _GAPS - 2:
                # The last two are kept free for other streams.
                gap = [first, last, reason, _NEW, self.stream]
            else:
                # Too many to remember: give up what lies between this and the nearest, and say so.
                gap = found
                gaps.remove(gap)
            gaps.append(gap)  # behind those that are being reported
            if len(gaps) > _GAPS:
                gaps.pop(gaps[0][2] == _REISSUE)  # needs four streams that lost something
        gap[0] = min(gap[0], first)
        gap[1] = max(gap[1], last)
        gap[3] = _NEW
