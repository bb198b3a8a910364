"""A short life of a journal, told so that it may be cut off anywhere, and what must hold then.

Runs on CPython and on MicroPython; the files beside it that cut it off import it.
"""

from agent.journal.journal import Journal
from agent.journal.stream import pairs_of

# As in agent/journal/segment.py: the state of a gap, and the reason of one that is none.
_TOLD = 3
_REISSUE = 127


class Broken(Exception):
    """The journal broke a promise."""


def require(condition, promise):
    if not condition:
        raise Broken(promise)


class Story:
    """`kept`: {stream: {seq: report}} of each append that returned; the rest is what was under way
    when the story was cut off."""

    def __init__(self, path):
        self.path = path
        self.kept = {}
        self.order = []  # streams
        self.told = {}  # (stream, seq) of a report: of which others it tells that they are gone
        self.acked = {}  # stream: what the province has ever stored, as a set
        self.writing = None  # the report that was being appended
        self.telling = set()
        self.owed = set()  # (stream, seq) of what is to be issued again in the next stream
        self.made = set()  # and of what was
        self.making = None
        self.forking = False
        self.number = 0
        self.boot = 0

    def open(self):
        # Known before it returns, so that a medium's failure in it is seen like any other.
        self.journal = Journal(self.path, 4608, 1536, 400)
        self.journal.open()
        self.known()
        require(self.journal.boot >= self.boot, "the boot counter never goes back")
        self.boot = self.journal.boot

    def known(self):
        stream = self.journal.stream
        if stream not in self.kept:
            self.kept[stream] = {}
            self.acked[stream] = set()
            self.order.append(stream)

    def append(self, size):
        journal = self.journal
        self.telling = set()
        for first, last, _, stream in journal.take_drops():
            self.telling.update([(stream, seq) for seq in range(first, last + 1)])
        self.number += 1
        self.writing = (b"%d " % self.number) * (size // 3)
        seq = journal.append(self.writing)
        require(seq not in self.kept[journal.stream], "a seq is given once")
        self.appended(seq)

    def appended(self, seq):
        self.kept[self.journal.stream][seq] = self.writing
        if self.making:
            require(self.making not in self.made, "a report is issued again once")
            self.made.add(self.making)
        self.told[self.journal.stream, seq] = self.telling
        self.writing = self.making = None
        self.telling = set()

    def reissue(self):
        """Issue one report again; whether there was one."""
        journal = self.journal
        old = journal.reissue
        if old is None:
            return False
        report = journal.previous.read(old)
        if report:
            self.making = journal.previous.stream, old
            self.writing = report[:-1]
            seq = journal.append(self.writing, old)
            if seq:
                self.appended(seq)
            self.writing = self.making = None
        return True

    def ack(self, seq, *ranges):
        known = self.acked[self.journal.stream]
        known.update(range(1, seq + 1))
        for first, last in ranges:
            known.update(range(first, last + 1))
        for sent in known:
            self.journal.sending(sent)
        require(self.journal.knows(seq, ranges), "what was sent can be stored")
        require(self.journal.mark_stored(seq, ranges), "an ack of what was appended fits")

    def new_stream(self):
        self.forking = True
        journal = self.journal
        require(not journal.knows(journal.newest), "what was not sent can't be stored")
        self.acked[journal.stream].update(range(1, journal.newest + 9))
        for seq in range(journal.fresh, journal.newest + 1):
            self.owed.add((journal.stream, seq))
        journal.new_stream()
        self.known()
        self.forking = False

    def play(self):
        self.open()
        for size in (40, 300, 12, 90):
            self.append(size)
        self.ack(2)
        self.journal.persist()
        for size in (250, 10, 200, 399, 30, 333):
            self.append(size)
        self.ack(4, (7, 8))
        self.journal.close()
        self.open()
        for size in (100, 380, 350, 20, 399, 398, 60, 310, 120):
            self.append(size)  # wraps
        self.ack(3)
        self.journal.persist()
        self.open()
        self.append(55)
        self.ack(self.journal.newest)
        self.journal.close()
        self.open()
        for size in (390, 391, 392, 10):
            self.append(size)
        self.new_stream()
        self.append(200)
        self.reissue()
        self.reissue()
        self.append(390)
        self.reissue()
        for size in (30, 300, 390, 380, 370, 390, 391, 40):
            self.append(size)  # wraps again, over the stream before
        self.ack(5, (8, 9))
        self.journal.close()

    def check(self):
        """Open what is left, hold it to its promises, go on for a while, and once more."""
        before = [stream for stream in self.order if self.kept[stream]]
        self.open()
        journal = self.journal
        if before and journal.stream != before[-1]:
            forked = self.forking or self.order.index(before[-1]) < len(self.order) - 2
            require(
                forked or self.order[-2:] == [before[-1], journal.stream],
                "no new stream without need",
            )
            require(journal.next_seq <= 2, "a new stream is empty")
        self.look()
        self.append(30)
        while self.reissue():
            self.look()
        for size in (77, 398, 397, 5):
            self.append(size)
        self.look()
        self.open()
        self.look()
        self.append(9)  # tells what it has to, and nothing again

    def look(self):
        journal = self.journal
        kept = self.kept[journal.stream]
        newest = max(kept) if kept else 0
        if journal.newest == newest + 1:
            # Cut off between the write and the return.
            require(self.writing is not None, "nothing comes from nowhere")
            require(journal.read(newest + 1) == self.writing, "a report is whole or absent")
            self.appended(newest + 1)
        self.writing = self.making = None
        self.telling = set()
        require(journal.newest == max(newest, len(kept)), "what was appended is there")
        pending = set()
        waiting = set()
        for first, last, reason, state, stream in journal.gaps:
            if state != _TOLD:
                pending.update([(stream, seq) for seq in range(first, last + 1)])
            elif reason == _REISSUE and journal.previous and journal.previous.stream == stream:
                for seq in range(last + 1, journal.previous.newest + 1):
                    waiting.add((stream, seq))
        require(not waiting & self.made, "nothing waits to be issued again twice")
        for (stream, seq), marks in self.told.items():
            # What was told in a report that is gone as well, nobody has heard.
            if seq in self.acked[stream] or self.holds(stream, seq):
                pending |= marks
        for held in (journal, journal.previous):
            if not held:
                continue
            for seq, report in self.kept[held.stream].items():
                found = held.read(seq)
                mark = (held.stream, seq)
                require(found in (report, None), "a report never changes")
                if found is None:
                    accounted = mark in pending or seq in self.acked[held.stream]
                    require(accounted, "no loss in silence")
            for first, last in pairs_of(held.stored):
                claimed = set(range(first, last + 1))
                require(claimed <= self.acked[held.stream], "stored is what was acknowledged")
        here = (journal.stream, journal.previous.stream if journal.previous else None)
        for stream in self.order:
            if stream not in here:
                for seq in self.kept[stream]:
                    mark = (stream, seq)
                    accounted = mark in pending or seq in self.acked[stream]
                    require(accounted, "no stream goes in silence")
        for mark in self.owed:
            if mark[0] != journal.stream and mark not in self.made and mark not in pending:
                require(mark in waiting, "no report vanishes with its seq")
                require(self.holds(mark[0], mark[1]), "what is to be issued again is there")

    def holds(self, stream, seq):
        for held in (self.journal, self.journal.previous):
            if held and held.stream == stream:
                return held.read(seq) is not None
        return False
