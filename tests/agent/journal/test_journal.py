"""The journal's behaviour on an ordinary file system, case by case."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from agent.journal import journal as journal_module
from agent.journal import new_stream, recovery, reissue, segment
from agent.journal import stream as stream_module
from agent.journal.journal import Journal
from agent.journal.stream import JournalError
from agent.wire.ids import DROPPED_CORRUPT as CORRUPT
from agent.wire.ids import DROPPED_FULL as FULL
from agent.wire.ids import STREAM_LOST, STREAM_NEW


def small(path: Path, **options: int) -> Journal:
    """A journal in which some 15 reports fill a segment, and 4 segments the capacity."""
    options = {"capacity": 4 * 1024, "segment_size": 1024, "max_record": 256, **options}
    return Journal(str(path), **options)


def opened(path: Path, **options: int) -> Journal:
    journal = small(path, **options)
    journal.open()
    return journal


def report(seq: int, salt: int = 0) -> bytes:
    return b"%d/%d:" % (seq, salt) + bytes([seq % 251]) * 30


def fill(journal: Journal, count: int) -> None:
    for _ in range(count):
        seq = journal.next_seq
        assert journal.append(report(seq)) == seq


def sent_before(journal: Journal) -> Journal:
    """Started once more, after a run that has sent all that there is."""
    journal.sending(journal.newest)
    journal.open()
    return journal


def files(path: Path) -> list[Path]:
    return sorted(path.glob("*.seg"))


def stored_to(journal: Journal) -> int:
    seq = 0
    while journal.is_stored(seq + 1):
        seq += 1
    return seq


def flip(file: Path, at: int, bit: int = 1) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= bit
    file.write_bytes(data)


def place_of(file: Path, text: bytes) -> int:
    return file.read_bytes().index(text)


def held(journal: Journal) -> list[int]:
    return [s for s in range(1, journal.next_seq) if journal.read(s) == report(s)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_an_empty_directory_makes_a_new_stream(path: Path) -> None:
    journal = opened(path)
    assert len(journal.stream) == 4
    assert (journal.boot, journal.next_seq, journal.last_hash8) == (1, 1, None)
    assert journal.began == (STREAM_NEW, None, None)
    assert journal.stream != opened(path / "other").stream


def test_what_was_appended_is_there_after_a_restart_without_close(path: Path) -> None:
    journal = opened(path)
    fill(journal, 3)
    reissue = opened(path)
    assert (reissue.stream, reissue.next_seq, reissue.boot) == (journal.stream, 4, 2)
    assert held(reissue) == [1, 2, 3]
    assert reissue.last_hash8 == journal.last_hash8 == hashlib.sha256(report(3)).digest()[:8]
    assert reissue.began is None
    assert not reissue.clean


def test_a_clean_close_is_recognised_once(path: Path) -> None:
    journal = opened(path)
    fill(journal, 2)
    journal.mark_stored(1)
    journal.close()
    reissue = opened(path)
    assert reissue.clean
    assert stored_to(reissue) == 1
    assert not opened(path).clean


def test_a_restart_on_a_full_segment_keeps_the_chain(path: Path) -> None:
    journal = opened(path)
    while len(files(path)) < 2:
        fill(journal, 1)
    hash8 = journal.last_hash8
    files(path)[1].unlink()  # as if the power had gone before the new one was created
    before = journal.next_seq - 1
    reissue = opened(path)
    assert reissue.next_seq == before
    fill(reissue, 1)
    assert reissue.last_hash8 == hash8


def test_a_torn_tail_is_dropped_at_open_and_its_seq_used_again(path: Path) -> None:
    journal = opened(path)
    fill(journal, 3)
    journal.close()
    last = files(path)[-1]
    whole = last.read_bytes()
    place = place_of(last, report(3)) - 8
    for cut in range(place + 1, place + segment._OVERHEAD + len(report(3))):
        last.write_bytes(whole[:cut])
        reissue = opened(path)
        assert reissue.next_seq == 3
        assert reissue.append(report(3)) == 3
        assert held(reissue) == [1, 2, 3]
        assert reissue.stream == journal.stream
        assert held(opened(path)) == [1, 2, 3]
        files(path)[-1].unlink()


def test_a_tail_of_unwritten_blocks_counts_as_torn(path: Path) -> None:
    journal = opened(path)
    fill(journal, 2)
    for filler in (b"\0", b"\xff"):
        last = files(path)[-1]
        last.write_bytes(last.read_bytes() + filler * 100)
        reissue = opened(path)
        assert reissue.stream == journal.stream
        assert reissue.next_seq == 3


def test_crashing_in_a_loop_leaves_no_heap_of_files(path: Path) -> None:
    fill(opened(path), 2)
    for _ in range(40):
        last = files(path)[-1]
        last.write_bytes(last.read_bytes() + b"\x20\0")  # a torn write
        opened(path)
        assert len(files(path)) <= 3
    for _ in range(400):  # more boots than fit into a segment
        opened(path)
    assert len(files(path)) <= 3
    reissue = opened(path)
    assert reissue.boot == 442
    assert held(reissue) == [1, 2]


def test_a_segment_without_a_complete_header_is_removed(path: Path) -> None:
    journal = opened(path)
    fill(journal, 2)
    for size in (0, 1, segment.HEADER - 1):
        (path / "00000077.seg").write_bytes(b"D" * size)
        reissue = opened(path)
        assert reissue.stream == journal.stream
        assert not (path / "00000077.seg").exists()
        assert held(reissue) == [1, 2]


def test_foreign_files_are_left_alone(path: Path) -> None:
    journal = opened(path)
    (path / "lost+found").mkdir()
    (path / "notes.txt").write_text("x")
    (path / "xxxxxxxx.seg").write_text("x")
    fill(journal, 100)
    assert opened(path).next_seq == 101
    assert (path / "xxxxxxxx.seg").exists()


@pytest.mark.parametrize(
    "name", ["+0000001.seg", " 0000001.seg", "0x000001.seg", "0_0_0_01.seg", "ffffffff.seg"]
)
def test_a_file_that_only_looks_like_a_segment_is_left_alone(path: Path, name: str) -> None:
    """Its name reads as the number of one that is there, or leaves no number after it."""
    journal = opened(path, capacity=1 << 16)
    fill(journal, 40)
    stream = journal.stream
    (path / name).write_bytes(files(path)[0].read_bytes())
    for _ in range(2):
        journal = opened(path, capacity=1 << 16)
        assert (journal.stream, held(journal)) == (stream, list(range(1, journal.next_seq)))
        fill(journal, 20)
    assert (path / name).exists()


def test_a_record_of_another_segment_is_not_taken_for_one_of_this(path: Path) -> None:
    journal = opened(path)
    while len(files(path)) < 3:
        fill(journal, 1)
    journal.close()
    first, last = files(path)[0], files(path)[-1]
    stale = first.read_bytes()[segment.HEADER :]
    last.write_bytes(last.read_bytes() + stale + b"\0\0\0\0")
    reissue = opened(path)
    assert reissue.stream == journal.stream
    assert reissue.next_seq == journal.next_seq


# ---- what is stored ------------------------------------------------------------------------


def test_delivery_is_newest_first_over_what_is_not_stored(path: Path) -> None:
    journal = opened(path, capacity=1 << 16)
    fill(journal, 30)
    assert journal.mark_stored(10, [(15, 20), (25, 25)])
    order = []
    seq = journal.newest_unstored()
    while seq is not None:
        order.append(seq)
        seq = journal.newest_unstored(below=seq)
    assert order == [30, 29, 28, 27, 26, 24, 23, 22, 21, 14, 13, 12, 11]
    assert journal.unstored_count == 13
    assert journal.newest_unstored(skip={30, 29, 27}) == 28
    assert journal.newest_unstored(below=25, skip={24}) == 23
    assert [s for s in range(1, 31) if not journal.is_stored(s)] == order[::-1]
    assert journal.mark_stored(30)
    assert journal.newest_unstored() is None
    assert (journal.unstored_count, journal.unstored_bytes, journal.fill) == (0, 0, 0)


def test_an_ack_that_says_less_moves_back_but_an_old_one_only_adds(path: Path) -> None:
    journal = opened(path)
    fill(journal, 9)
    journal.mark_stored(8)
    journal.mark_stored(3, [(9, 9)], only_add=True)
    assert journal.newest_unstored() is None
    journal.mark_stored(3)
    assert journal.newest_unstored() == 9
    assert journal.unstored_count == 6
    assert stored_to(journal) == 3


def test_an_ack_beyond_the_journal_says_that_its_tail_is_lost(path: Path) -> None:
    journal = opened(path)
    fill(journal, 3)
    assert not journal.mark_stored(2, [(4, 5)])
    assert stored_to(journal) == 2
    assert not journal.is_stored(4)
    assert not journal.mark_stored(4)


def test_of_too_many_ranges_fewer_count_as_stored(path: Path) -> None:
    journal = opened(path, capacity=1 << 16)
    fill(journal, 100)
    ranges = [(s, s + (s % 4 == 0)) for s in range(4, 100, 3)]
    journal.mark_stored(1, ranges)
    claimed = {s for first, last in ranges for s in range(first, last + 1)} | {1}
    stored = {s for s in range(1, 101) if journal.is_stored(s)}
    assert stored < claimed
    assert len(stored) >= 17
    assert journal.unstored_count == 100 - len(stored)
    journal.close()
    reissue = opened(path, capacity=1 << 16)
    assert {s for s in range(1, 101) if reissue.is_stored(s)} == stored


def test_what_is_stored_is_written_down_rarely_and_never_ahead(path: Path) -> None:
    journal = opened(path, capacity=1 << 20, segment_size=1 << 16)
    fill(journal, 200)
    before = journal.writes
    for seq in range(1, 64):
        journal.mark_stored(seq)
    assert journal.writes == before
    assert stored_to(opened(path, capacity=1 << 20, segment_size=1 << 16)) == 0
    journal.persist()
    journal.persist()
    assert journal.writes == before + 1
    journal.mark_stored(190)
    assert journal.writes == before + 2
    assert stored_to(opened(path, capacity=1 << 20, segment_size=1 << 16)) == 190


# ---- the ring ------------------------------------------------------------------------------


def test_stored_reports_give_way_silently(path: Path) -> None:
    journal = opened(path)
    for _ in range(200):
        fill(journal, 1)
        journal.mark_stored(journal.newest)
    assert journal.oldest > 100
    assert journal.take_drops() == []
    assert sum(f.stat().st_size for f in files(path)) <= 4 * 1024


def test_reports_dropped_by_the_ring_are_told_once(path: Path) -> None:
    journal = opened(path)
    journal.mark_stored(0)
    fill(journal, 60)
    journal.mark_stored(3)
    dropped = journal.take_drops()
    assert dropped == [(1, journal.oldest - 1, FULL, journal.stream)]
    assert journal.take_drops() == dropped  # not told yet
    reissue = opened(path)
    assert reissue.take_drops() == dropped  # nor after a crash
    fill(reissue, 1)
    assert reissue.take_drops() == []
    assert opened(path).take_drops() == []
    assert reissue.oldest == held(reissue)[0] == dropped[0][1] + 1


def test_what_is_dropped_between_taking_and_appending_is_told_by_a_later_report(
    path: Path,
) -> None:
    journal = opened(path)
    told = []
    for _ in range(200):
        told += journal.take_drops()
        fill(journal, 1)  # may drop a segment itself
        if journal.next_seq % 7 == 0:
            journal = opened(path)
    told += journal.take_drops()
    assert len(told) > 5
    # With the report that told of a drop goes what it told. So each tells of all before.
    assert {drop[0] for drop in told} == {1}
    ends = [drop[1] for drop in told]
    assert ends == sorted(set(ends)) and ends[-1] == journal.oldest - 1


def test_fill_grows_with_what_is_not_stored(path: Path) -> None:
    journal = opened(path)
    assert journal.fill == 0
    fill(journal, 40)
    full = journal.fill
    assert 500 < full <= 1000
    journal.mark_stored(20)
    assert 0 < journal.fill < full


def test_a_report_larger_than_a_segment_is_kept(path: Path) -> None:
    journal = opened(path, max_record=4000, capacity=1 << 14)
    fill(journal, 3)
    big = os.urandom(4000)
    assert journal.append(big) == 4
    fill(journal, 1)
    assert journal.read(4) == big
    assert opened(path, max_record=4000, capacity=1 << 14).read(4) == big
    with pytest.raises(ValueError):
        journal.append(bytes(4001))


def test_that_the_province_went_back_is_remembered_at_once(path: Path) -> None:
    journal = opened(path, capacity=1 << 20, segment_size=1 << 16)
    fill(journal, 100)
    journal.mark_stored(90)
    journal.mark_stored(80)
    assert stored_to(opened(path, capacity=1 << 20, segment_size=1 << 16)) == 80


def test_going_back_behind_what_is_kept_is_told(path: Path) -> None:
    journal = opened(path)
    for _ in range(100):
        fill(journal, 1)
        journal.mark_stored(journal.newest)
    oldest = journal.oldest
    journal.mark_stored(5)
    assert journal.take_drops() == [(6, oldest - 1, FULL, journal.stream)]
    assert opened(path).take_drops() == [(6, oldest - 1, FULL, journal.stream)]
    assert journal.newest_unstored(below=oldest) is None
    assert journal.unstored_count == 101 - oldest


# ---- rot -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["body", "length", "seq", "crc"])
def test_a_rotten_record_costs_itself_only_and_is_told(path: Path, part: str) -> None:
    journal = opened(path, capacity=1 << 14)
    fill(journal, 40)
    flip(files(path)[1], place_of(files(path)[1], report(16)) + {
        "body": 5, "length": -6, "seq": -3, "crc": len(report(16)) + 2,
    }[part])  # fmt: skip
    reissue = opened(path, capacity=1 << 14)
    assert reissue.stream == journal.stream
    assert held(reissue) == [s for s in range(1, 41) if s != 16]
    assert reissue.newest_unstored(below=17) == 15
    assert reissue.take_drops() == [(16, 16, CORRUPT, journal.stream)]
    fill(reissue, 1)
    third = opened(path, capacity=1 << 14)
    assert third.read(16) is None
    assert third.take_drops() == []
    assert third.newest_unstored(below=17) == 15


def test_a_rotten_record_in_the_newest_segment_is_known_at_open(path: Path) -> None:
    journal = opened(path)
    fill(journal, 6)
    flip(files(path)[0], place_of(files(path)[0], report(3)))
    reissue = opened(path)
    assert (reissue.next_seq, reissue.stream) == (7, journal.stream)
    assert held(reissue) == [1, 2, 4, 5, 6]
    assert reissue.take_drops() == [(3, 3, CORRUPT, journal.stream)]


def test_rot_in_what_is_stored_is_no_loss(path: Path) -> None:
    journal = opened(path)
    fill(journal, 6)
    journal.mark_stored(4)
    journal.close()
    flip(files(path)[0], place_of(files(path)[0], report(3)))
    reissue = opened(path)
    assert reissue.read(3) is None
    assert reissue.take_drops() == []


def test_a_segment_with_a_rotten_header_is_told_as_corrupt(path: Path) -> None:
    journal = opened(path, capacity=1 << 14)
    fill(journal, 60)
    bases = [*journal.bases, journal.next_seq]
    flip(files(path)[1], 20)
    reissue = opened(path, capacity=1 << 14)
    lost = list(range(bases[1], bases[2]))
    assert held(reissue) == [s for s in range(1, 61) if s not in lost]
    assert reissue.take_drops() == [(lost[0], lost[-1], CORRUPT, journal.stream)]


def test_the_first_segment_rotten_is_told_as_corrupt(path: Path) -> None:
    journal = opened(path, capacity=1 << 14)
    fill(journal, 40)
    second = journal.bases[1]
    flip(files(path)[0], 20)
    assert opened(path, capacity=1 << 14).take_drops() == [
        (1, second - 1, CORRUPT, journal.stream)
    ]


def test_a_missing_segment_is_told(path: Path) -> None:
    journal = opened(path, capacity=1 << 14)
    fill(journal, 60)
    bases = journal.bases
    files(path)[1].unlink()
    reissue = opened(path, capacity=1 << 14)
    assert reissue.read(bases[1]) is None
    assert reissue.take_drops() == [(bases[1], bases[2] - 1, CORRUPT, journal.stream)]
    assert held(reissue)[-1] == 60


def test_endless_rot_stays_within_bounds_and_is_told(path: Path) -> None:
    journal = opened(path, capacity=1 << 16)
    fill(journal, 400)
    for file in files(path):
        data = file.read_bytes()
        for seq in range(1, 400, 3):
            if report(seq) in data:
                flip(file, data.index(report(seq)))
    reissue = opened(path, capacity=1 << 16)
    sent, seq = set(), reissue.newest_unstored()
    while seq is not None:
        if reissue.read(seq) is not None:
            sent.add(seq)
        seq = reissue.newest_unstored(below=seq)
    drops = reissue.take_drops()
    assert len(drops) <= segment._GAPS
    told = {s for first, last, _, _ in drops for s in range(first, last + 1)}
    assert sent | told == set(range(1, 401))
    fill(reissue, 1)
    third = opened(path, capacity=1 << 16)
    assert third.take_drops() == []


# ---- streams -------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["record", "header"])
def test_a_rotten_end_begins_a_new_stream_and_keeps_the_old(path: Path, where: str) -> None:
    journal = opened(path)
    fill(journal, 20)
    last = files(path)[-1]
    base = journal.bases[-1]
    flip(last, 5 if where == "header" else place_of(last, report(20)))
    reissue = opened(path)
    end = 19 if where == "record" else base - 1
    assert reissue.stream != journal.stream
    assert (reissue.next_seq, reissue.last_hash8, reissue.boot) == (1, None, 2)
    assert reissue.began == (STREAM_LOST, journal.stream, end)
    assert reissue.previous.newest_unstored() == end
    assert reissue.previous.read(end) == report(end)
    fill(reissue, 1)
    third = opened(path)
    assert (third.stream, third.boot, third.began) == (reissue.stream, 3, None)
    assert [s for s in range(1, 21) if third.previous.read(s) == report(s)] == list(
        range(1, end + 1)
    )
    assert third.mark_stored(end, stream=journal.stream)
    assert third.previous is None
    assert len(files(path)) == 1
    assert opened(path).previous is None


def test_a_new_stream_on_demand_sends_the_old_one_too(path: Path) -> None:
    journal = opened(path)
    fill(journal, 20)
    old = journal.stream
    sent_before(journal)
    assert not journal.mark_stored(5, [(21, 25)])
    journal.new_stream()
    assert journal.began == (STREAM_LOST, old, 20)
    assert journal.boot == 2
    fill(journal, 2)
    assert journal.newest_unstored(below=1) is None
    assert journal.previous.unstored_count == 15
    assert journal.fill > 0
    reissue = opened(path)
    assert reissue.previous.stream == old
    assert reissue.mark_stored(20, stream=b"none")  # nobody's
    assert reissue.previous.newest_unstored() == 20
    reissue.mark_stored(19, stream=old)
    assert reissue.previous.newest_unstored() == 20
    reissue.mark_stored(20, stream=old)
    assert reissue.previous is None
    assert reissue.newest_unstored() == 2


def test_the_ring_takes_the_previous_stream_first_and_tells(path: Path) -> None:
    journal = opened(path)
    fill(journal, 40)
    old = journal.stream
    sent_before(journal).new_stream()
    fill(journal, 60)
    drops = opened(path).take_drops()
    assert drops[0] == (1, journal.previous.oldest - 1, FULL, old)
    assert journal.previous.newest_unstored() == 40  # its last segment stays: the last trace
    assert drops[1] == (1, journal.oldest - 1, FULL, journal.stream)
    assert sum(f.stat().st_size for f in files(path)) <= 4 * 1024


def test_a_third_stream_drops_the_first_and_tells(path: Path) -> None:
    journal = opened(path, capacity=1 << 16)
    first = journal.stream
    fill(journal, 20)
    journal.mark_stored(4)
    sent_before(journal).new_stream()
    second = journal.stream
    fill(journal, 5)
    sent_before(journal).new_stream()
    assert journal.previous.stream == second
    reissue = opened(path, capacity=1 << 16)
    assert reissue.take_drops() == [(5, 20, FULL, first)]
    assert reissue.previous.newest_unstored() == 5
    fill(reissue, 1)
    assert opened(path, capacity=1 << 16).take_drops() == []


def test_a_stream_without_a_report_can_be_replaced(path: Path) -> None:
    journal = opened(path)
    for _ in range(5):
        journal.new_stream()
    fill(journal, 3)
    assert len(files(path)) <= 2
    assert held(opened(path)) == [1, 2, 3]


# ---- a medium that fails -------------------------------------------------------------------


class Fails:
    """Lets `compat.sync` fail with an errno for some calls, after the bytes were written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        self.code = errno.ENOSPC
        from agent.device import interpreter

        self._sync = interpreter.sync
        monkeypatch.setattr(interpreter, "sync", self)

    def __call__(self, file: object) -> None:
        if self.left:
            self.left -= 1
            raise OSError(self.code, os.strerror(self.code))
        self._sync(file)


def test_on_a_full_medium_the_oldest_give_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = Fails(monkeypatch)
    journal = opened(path, capacity=1 << 14)
    fill(journal, 60)
    fails.left = 2
    fill(journal, 1)
    assert journal.oldest > 1
    dropped = journal.take_drops()
    assert dropped == [(1, journal.oldest - 1, FULL, journal.stream)]
    reissue = opened(path, capacity=1 << 14)
    assert held(reissue) == list(range(journal.oldest, 62))
    assert reissue.take_drops() == dropped


def test_a_failed_append_leaves_the_seq_free(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = Fails(monkeypatch)
    journal = opened(path)
    fill(journal, 2)
    fails.left, fails.code = 100, errno.EIO
    with pytest.raises(JournalError, match="journal .* can't be written") as caught:
        journal.append(report(3, salt=1))
    assert caught.value.errno == errno.EIO
    assert journal.next_seq == 3
    fails.left = 0
    assert journal.append(report(3, salt=2)) == 3
    assert journal.read(3) == report(3, salt=2)
    reissue = opened(path)  # though the bytes of the failed one were written, too
    assert reissue.read(3) == report(3, salt=2)
    assert reissue.next_seq == 4
    assert reissue.stream == journal.stream


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_write_that_finds_no_memory_costs_no_report(
    path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    journal = opened(path)
    fill(journal, 2)
    assert journal.read(2) == report(2)
    write = segment.write
    parts: list[object] = []

    def fail(file: object, data: bytes) -> None:
        parts.append(data)
        if len(parts) == part:
            raise MemoryError
        write(file, data)

    with monkeypatch.context() as full:
        full.setattr(segment, "write", fail)
        with pytest.raises(MemoryError):
            journal.append(report(3))
    fill(journal, 3)
    for held in (journal, opened(path)):
        assert [held.read(seq) for seq in range(1, 6)] == [report(seq) for seq in range(1, 6)]
        assert held.take_drops() == []


def test_a_full_medium_that_stays_full_is_one_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = Fails(monkeypatch)
    journal = opened(path)
    fill(journal, 20)
    fails.left = 1000
    with pytest.raises(JournalError) as caught:
        journal.append(report(21))
    assert caught.value.errno == errno.ENOSPC
    assert str(path) in str(caught.value)
    journal.mark_stored(10)
    journal.persist()  # not worth an exception
    assert journal.newest_unstored() == 20
    assert journal.read(20) == report(20)
    journal.close()
    opened(path)  # reads and delivers, though it can't write
    fails.left = 0
    fill(journal, 2)
    assert held(opened(path))[-1] == 22


def test_a_file_that_cannot_be_deleted_now_does_no_harm_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = Fails(monkeypatch)
    journal = opened(path)
    fill(journal, 2)
    with monkeypatch.context() as undeletable:
        undeletable.setattr(os, "remove", lambda path: os.open("/", os.O_WRONLY))  # EISDIR
        fails.left = 4
        with pytest.raises(JournalError):
            journal.append(report(3))
    fails.left = 0
    fill(journal, 60)
    journal.mark_stored(50)
    fill(journal, 60)
    assert journal.newest == 122
    assert opened(path).newest == 122
    assert held(journal) == list(range(journal.oldest, 123))


def test_on_a_full_medium_the_last_trace_of_a_stream_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = Fails(monkeypatch)
    journal = opened(path, capacity=1 << 14)
    fill(journal, 20)
    old = journal.stream
    sent_before(journal).new_stream()
    fill(journal, 60)
    for _ in range(3):
        fails.left = 2
        fill(journal, 1)
    reissue = opened(path, capacity=1 << 14)
    assert reissue.previous.stream == old
    assert reissue.previous.newest_unstored() == 20
    told = {(d[3], s) for d in reissue.take_drops() for s in range(d[0], d[1] + 1)}
    assert {s for owner, s in told if owner == old} == set(range(1, reissue.previous.oldest))
    assert {s for owner, s in told if owner != old} == set(range(1, reissue.oldest))


def test_a_new_stream_where_nothing_can_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = Fails(monkeypatch)
    fails.left = 100
    journal = opened(path)
    for _ in range(3):
        journal.new_stream()
    with pytest.raises(JournalError):
        journal.append(report(1))
    fails.left = 0
    fill(journal, 1)
    assert held(opened(path)) == [1]


def test_what_is_wanted_is_not_given_up_again_and_again_in_vain(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = Fails(monkeypatch)
    journal = opened(path, capacity=1 << 14)
    fill(journal, 160)
    oldest = journal.oldest
    fails.left = 1000
    for _ in range(20):
        with pytest.raises(JournalError):
            journal.append(report(161))
    assert journal.bases.index(journal.oldest) == 0
    assert oldest < journal.oldest < 60
    kept = journal.oldest
    journal.mark_stored(100)  # these may go
    with pytest.raises(JournalError):
        journal.append(report(161))
    assert kept < journal.oldest <= 101
    fails.left = 0
    fill(journal, 1)
    assert journal.read(161) == report(161)


def test_a_read_that_fails_is_tried_again_before_it_counts_as_lost(path: Path) -> None:
    journal = opened(path)
    fill(journal, 3)
    file = files(path)[0]
    file.rename(path / "away")
    file.mkdir()  # opening it fails
    with pytest.raises(JournalError, match="report 2 can't be read"):
        journal.read(2)
    assert journal.newest_unstored(below=3) == 2
    assert journal.read(2) is None
    assert journal.newest_unstored(below=3) == 1


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="can't be opened"):
        opened(tmp_path / "file" / "journal")


def test_numbers_that_files_repeat_are_equal() -> None:
    explained = {"_" + name.lstrip("_"): value for name, value in vars(segment).items()}
    for module in (journal_module, stream_module, recovery, new_stream, reissue):
        own = {name for name in vars(module) if name.isupper() and name in explained}
        assert own
        for name in own:
            assert getattr(module, name) == explained[name], name
