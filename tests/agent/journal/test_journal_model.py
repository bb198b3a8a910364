"""The journal against a model of what it promises, under any sequence of use, crashes and rot."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.device import interpreter
from agent.journal import segment
from agent.journal.journal import Journal
from agent.journal.stream import JournalError

OPTIONS = {"capacity": 4096, "segment_size": 900, "max_record": 600}
SIZES = st.integers(1, 60) | st.integers(1, 600)


class Machine(RuleBasedStateMachine):
    """`kept`: every report whose append returned, by stream and seq. `told`: of each the drops
    that it tells. `acked`: what the province has ever claimed of the stream. `owed`: what was to
    be issued again in the next stream when that began; `made`: what was, and as which."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "journal"
        self.kept: dict[bytes, dict[int, bytes]] = {}
        self.told: dict[tuple[bytes, int], set[tuple[bytes, int]]] = {}
        self.owed: set[tuple[bytes, int]] = set()
        self.made: dict[tuple[bytes, int], tuple[bytes, int]] = {}
        self.acked: dict[bytes, set[int]] = {}
        self.heard: dict[bytes, set[int]] = {}  # acked at any time
        self.rotten = False
        self.counter = self.boot = 0
        self.failed: dict[bytes | None, list[tuple[int, int, int, bytes]]] = {}
        self.open()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def open(self) -> None:
        self.journal = Journal(str(self.path), **OPTIONS)
        self.journal.open()
        assert self.journal.boot >= self.boot or self.rotten
        self.boot = self.journal.boot
        self.known(self.journal.stream)
        # What could not be appended may be there all the same: it was written, not acknowledged.
        for held in (self.journal, self.journal.previous):
            report = held.read(held.newest) if held else None
            if held and report in self.failed:
                self.tell(held.stream, held.newest, self.failed[report])
                if held.newest > max(self.kept[held.stream], default=0):
                    self.kept[held.stream][held.newest] = report
                    # Of a stream that was given up meanwhile it is issued again like all others.
                    self.owed |= self.waiting() & {(held.stream, held.newest)}

    def known(self, stream: bytes) -> None:
        self.kept.setdefault(stream, {})
        self.acked.setdefault(stream, set())
        self.heard.setdefault(stream, set())

    def files(self) -> list[Path]:
        return sorted(self.path.glob("*.seg"))

    def make(self, size: int) -> bytes:
        self.counter += 1
        return (b"%d:" % self.counter * size)[: max(size, 8)]

    def take(self) -> list[tuple[int, int, int, bytes]]:
        drops = self.journal.take_drops()
        fresh = [(owner, seq) for first, last, _, owner in drops for seq in range(first, last + 1)]
        assert len(set(fresh)) == len(fresh) or self.rotten
        return drops

    def tell(self, stream: bytes, seq: int, drops: list[tuple[int, int, int, bytes]]) -> None:
        self.told[stream, seq] = {
            (owner, gone) for first, last, _, owner in drops for gone in range(first, last + 1)
        }

    def appended(self, seq: int, report: bytes) -> None:
        kept = self.kept[self.journal.stream]
        assert seq not in kept, "two reports with one seq"
        assert seq == max(kept, default=0) + 1 or self.rotten
        kept[seq] = report

    # ---- use

    @rule(sizes=st.lists(SIZES, min_size=1, max_size=12), tells=st.booleans())
    def append(self, sizes: list[int], tells: bool) -> None:
        for size in sizes:
            drops = self.take() if tells else []
            taken = [g for g in self.journal.gaps if g[3] == segment._TAKEN]
            report = self.make(size)
            seq = self.journal.append(report)
            self.appended(seq, report)
            self.tell(self.journal.stream, seq, drops or [(g[0], g[1], g[2], g[4]) for g in taken])

    @rule(part=st.floats(0, 1))
    def send(self, part: float) -> None:
        """From there on to the newest."""
        for seq in range(max(1, int(self.journal.newest * part)), self.journal.next_seq):
            self.journal.sending(seq)

    @rule(count=st.integers(1, 20))
    def reissue(self, count: int) -> None:
        journal = self.journal
        for _ in range(count):
            old = journal.reissue
            report = journal.previous.read(old) if old else None
            if report:
                mark = journal.previous.stream, old
                assert mark not in self.made and mark in self.owed or self.rotten
                message = self.make(len(report))
                seq = journal.append(message, old)
                if seq:
                    self.appended(seq, message)
                    self.made[mark] = journal.stream, seq

    @rule(part=st.floats(0, 1), holes=st.sets(st.integers(1, 300), max_size=12))
    def ack(self, part: float, holes: set[int]) -> None:
        newest = self.journal.newest
        seq = int(newest * part)
        ranges = [(s, min(s + 2, newest)) for s in sorted(holes) if s > seq and s <= newest]
        claimed = set(range(1, seq + 1))
        for first, last in ranges:
            claimed.update(range(first, last + 1))
        stream = self.journal.stream
        assert self.journal.mark_stored(seq, ranges)
        self.acked[stream] = claimed
        self.heard[stream] |= claimed
        stored = {s for s in range(1, newest + 1) if self.journal.is_stored(s)}
        assert stored <= claimed

    @rule(part=st.floats(0, 1))
    def ack_the_previous(self, part: float) -> None:
        old = self.journal.previous
        if old:
            seq = int(old.newest * part)
            self.acked[old.stream].update(range(1, seq + 1))
            self.heard[old.stream].update(range(1, seq + 1))
            self.journal.mark_stored(seq, stream=old.stream)

    @rule()
    def persist(self) -> None:
        self.journal.persist()

    @rule()
    def new_stream(self) -> None:
        old = self.journal
        first = max(old.fresh, old.oldest)
        self.owed |= {(old.stream, seq) for seq in range(first, old.next_seq)}
        self.journal.new_stream()
        self.known(self.journal.stream)

    # ---- interruptions

    @rule(clean=st.booleans())
    def reopen(self, clean: bool) -> None:
        if clean:
            self.journal.close()
        stream = self.journal.stream
        self.open()
        assert self.journal.stream == stream or self.rotten
        assert self.journal.clean == clean or self.rotten

    @rule(size=SIZES, cut=st.floats(0, 1), stage=st.integers(0, 2))
    def crash_in_append(self, size: int, cut: float, stage: int) -> None:
        """Put the directory into a state in which a power cut in this append may leave it."""
        before = {f: f.read_bytes() for f in self.files()}
        drops = self.take()
        before |= {f: f.read_bytes() for f in self.files()}
        report = self.make(size)
        seq = self.journal.append(report)
        last = self.files()[-1]
        after = last.read_bytes()
        start = len(before.get(last, b""))
        if last not in before and stage < 2:
            # Cut off in the header or behind it, before the oldest was deleted.
            for file, data in before.items():
                file.write_bytes(data)
            end = int(segment.HEADER * cut) if stage == 0 else segment.HEADER
        else:
            end = start + int((len(after) - start) * cut)
            end = max(end, segment.HEADER)
        last.write_bytes(after[:end])
        stream = self.journal.stream
        self.open()
        assert self.journal.stream == stream or self.rotten
        if end == len(after):
            self.appended(seq, report)
            self.tell(stream, seq, drops)
        if not self.rotten:
            assert self.journal.newest == max(self.kept[stream], default=0)

    @rule(
        count=st.integers(1, 12),
        code=st.sampled_from([errno.ENOSPC, errno.EIO]),
        size=SIZES,
        undeletable=st.booleans(),
    )
    def fail(self, count: int, code: int, size: int, undeletable: bool) -> None:
        sync, remove = interpreter.sync, os.remove
        left = [count]

        def failing(file: object) -> None:
            if left[0]:
                left[0] -= 1
                raise OSError(code, "")
            sync(file)

        report = self.make(size)

        def removing(path: str) -> None:
            if left[0] and undeletable:
                raise OSError(code, "")
            remove(path)

        interpreter.sync, os.remove = failing, removing
        try:
            drops = self.take()
            seq = self.journal.append(report)
            self.appended(seq, report)
            self.tell(self.journal.stream, seq, drops)
        except JournalError as error:
            assert error.errno == code
            self.failed[report] = drops
        finally:
            interpreter.sync, os.remove = sync, remove

    @precondition(lambda self: self.counter > 20)
    @rule(where=st.floats(0, 1), which=st.floats(0, 1), bit=st.integers(0, 7))
    def rot(self, where: float, which: float, bit: int) -> None:
        files = self.files()
        file = files[int(which * (len(files) - 1))]
        data = bytearray(file.read_bytes())
        data[int(where * (len(data) - 1))] ^= 1 << bit
        file.write_bytes(data)
        self.rotten = True
        self.journal.close()
        self.open()

    # ---- promises

    @invariant()
    def nothing_is_lost_in_silence(self) -> None:
        views = {view.stream: view for view in (self.journal, self.journal.previous) if view}
        told = {
            mark
            for (stream, seq), marks in self.told.items()
            # What was told in a report that is gone as well, nobody has heard; unless the province
            # had it, and was put back since: that, no device can remember for ever.
            if seq in self.heard[stream] or stream in views and views[stream].read(seq)
            for mark in marks
        }
        waiting = self.waiting()
        assert not waiting & self.made.keys() or self.rotten, "issued again twice"
        for stream, kept in self.kept.items():
            here: set[int] = set()
            if stream in views:
                read = {s: views[stream].read(s) for s in kept}
                here = {s for s in kept if read[s] == kept[s]}
                wrong = {s for s in kept if read[s] not in (kept[s], None)}
                if self.rotten:
                    # What could not be appended comes back if the next segment's header rots.
                    here |= {s for s in wrong if read[s] in self.failed}
                assert not wrong - here, "a report with other content"
            pending = {
                s
                for g in self.journal.gaps
                if g[4] == stream and g[2] != segment._REISSUE
                for s in range(g[0], g[1] + 1)
            }
            lost = set(kept) - here - pending - self.acked[stream]
            lost -= {s for owner, s in told if owner == stream}
            lost -= {s for owner, s in self.made if owner == stream}
            if stream != self.journal.stream:
                owed = {s for owner, s in self.owed if owner == stream} - pending
                owed -= {s for owner, s in told if owner == stream}
                owed -= {s for owner, s in waiting if owner == stream and s in here}
                owed -= {s for owner, s in self.made if owner == stream}
                assert not owed or self.rotten, "vanished with its seq"
            # What has rotted is told when its turn comes, a lost tail by where the stream ends.
            if self.rotten:
                lost -= {s for owner, s in waiting if owner == stream}
                lost = {s for s in lost if stream in views and s <= views[stream].newest}
            assert not lost, lost

    def waiting(self) -> set[tuple[bytes, int]]:
        """What is still to be issued again."""
        old = self.journal.previous
        entries = [g for g in self.journal.gaps if g[2] == segment._REISSUE]
        assert len(entries) <= 1 or self.rotten
        return {
            (old.stream, seq)
            for g in entries
            if old and g[4] == old.stream
            for seq in range(g[1] + 1, old.next_seq)
        }

    @invariant()
    def delivery_sees_all_that_is_kept_and_not_stored(self) -> None:
        journal = self.journal
        seen = []
        seq = journal.newest_unstored()
        while seq is not None:
            seen.append(seq)
            seq = journal.newest_unstored(below=seq)
        assert len(seen) == journal.unstored_count
        for seq in seen:
            assert journal.read(seq) is not None or self.rotten
        assert 0 <= journal.fill <= 1000

    @invariant()
    def the_directory_stays_within_its_capacity(self) -> None:
        # What could not be deleted is beyond the journal's power.
        files = [f for f in self.files() if int(f.stem, 16) not in self.journal.junk]
        assert len(files) <= 2 * (OPTIONS["capacity"] // OPTIONS["segment_size"]) + 1
        assert sum(f.stat().st_size for f in files) <= OPTIONS["capacity"]


TestJournal = Machine.TestCase
TestJournal.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_drop_told_in_a_stream_that_is_given_up_is_told_again() -> None:
    machine = Machine()
    try:
        machine.reopen(clean=False)
        machine.append(sizes=[8] * 7 + [109, 274, 474, 18, 452], tells=False)
        machine.append(sizes=[40, 196, 8, 283], tells=True)  # more than fits
        assert machine.journal.oldest > 1
        for _ in range(2):
            machine.new_stream()
            machine.nothing_is_lost_in_silence()
    finally:
        machine.teardown()


def test_what_was_sent_of_a_stream_that_is_given_up_is_told_once() -> None:
    machine = Machine()
    try:
        machine.reopen(clean=False)
        machine.append(sizes=[8, 8, 8, 8, 427, 8], tells=False)
        machine.send(part=1.0)
        machine.new_stream()
        machine.new_stream()
        machine.append(sizes=[8], tells=True)
    finally:
        machine.teardown()
