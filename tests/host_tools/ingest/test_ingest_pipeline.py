"""From messages to rows and acks, without a broker."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing

import cbor2
import pytest

from host_tools.ingest.acks import Acks
from host_tools.ingest.allowance import NO_LIMITS, Limits
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.store import StoreBusy, StoreFull, StoreReplaced, open_database
from host_tools.store.archiving import Archiver
from host_tools.store.quarantine import Bounds
from host_tools.store.streams import Streams
from host_tools.wire import Key
from tests.world.devices import START, Device

NOW = START + 1000


def delivered(device: Device, messages: Iterable[bytes], kind: str) -> list[Message]:
    return [Message(device.topic(kind), message) for message in messages]


class Bench:
    """A pipeline on a real database, with the acks that it would publish."""

    def __init__(
        self,
        path,
        *devices: Device,
        bounds: Bounds | None = None,
        limits: Limits = NO_LIMITS,
        cores: int = 1,
    ) -> None:
        self.db = open_database(path, create=True, patience_s=1)
        self.streams = Streams(self.db)
        self.acks = Acks(8, 1800)
        self.pipeline = Pipeline(
            *(self.db, self.streams, self.acks, keys(*devices), bounds, limits), cores=cores
        )

    def offer(self, device: Device, *messages: bytes, kind: str = "report", now: float = 0):
        """Send what the allowance admits; returns how much it holds back."""
        admitted, held = self.pipeline.admit(delivered(device, messages, kind), now)
        self.pipeline.process(admitted, NOW, now)
        return held

    def send(self, device: Device, *messages: bytes, kind: str = "report", now: float = 0):
        return self.pipeline.process(delivered(device, messages, kind), NOW, now)

    def acks_due(self, now: float = 0) -> list[dict]:
        return [cbor2.loads(payload) for _, payload in self.acks.take(now, lambda: NOW)]

    def quarantine(self) -> list[tuple]:
        return self.db.all("SELECT reason, seq, times FROM quarantine ORDER BY id")

    def stored(self) -> list[int]:
        return [seq for (seq,) in self.db.all("SELECT seq FROM reports ORDER BY stream_id, seq")]


def keys(*devices: Device, active: bool = True) -> dict[bytes, Key]:
    return {device.kid: Key(device.public_key, device.slot, active) for device in devices}


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def bench(tmp_path, device):
    bench = Bench(tmp_path / "province.db", device)
    yield bench
    bench.db.close()


def test_reports_are_stored_byte_for_byte_and_the_same_bytes_again_are_a_duplicate(bench, device):
    first, second = device.reports(2)
    outcome = bench.send(device, first, first, second)
    assert (outcome.reports, outcome.duplicates) == (2, 1)
    assert bench.send(device, second, first).duplicates == 2
    assert bench.db.all("SELECT message FROM reports ORDER BY seq") == [(first,), (second,)]
    assert bench.db.value("SELECT duplicates FROM streams") == 3


def test_threads_change_nothing_of_what_is_stored_and_in_which_order(tmp_path):
    devices = [Device(slot=f"640311200{number}-1", seed=number) for number in range(4)]
    sent = [(device, message) for device in devices for message in device.reports(40)]
    sent[7] = devices[0], sent[7][1][:-1] + b"\0"
    sent[90] = devices[2], devices[2].report(seq=300, step=0)
    sent[121] = sent[120]
    messages = [Message(device.topic("report"), message) for device, message in sent]
    stored = []
    for cores in (1, 3):
        bench = Bench(tmp_path / f"{cores}.db", *devices, cores=cores)
        with closing(bench.db), closing(bench.pipeline):
            tally = bench.pipeline.process(messages, NOW, 0)
            rows = bench.db.all("SELECT id, stream_id, seq, message FROM reports ORDER BY id")
            stored.append((tally, rows, bench.quarantine()))
    assert stored[0] == stored[1]
    assert (tally.reports, tally.duplicates) == (157, 1)
    assert [reason for reason, *_ in stored[0][2]] == ["bad_signature", "malformed"]


def test_other_bytes_under_the_same_number_are_a_conflict(bench, device):
    bench.send(device, device.report())
    device.seq, device.last = 0, None
    outcome = bench.send(device, device.report())
    assert outcome.refused == {(device.slot, "conflict"): 1}
    assert bench.stored() == [1] and bench.quarantine() == [("conflict", 1, 1)]
    bench.send(device, device.birth(), kind="birth")
    device.conn = 0
    bench.send(device, device.birth(next=77), kind="birth")
    assert bench.quarantine()[1:] == [("conflict", None, 1)]


def test_an_archived_report_is_known_and_is_never_stored_twice(bench, device, tmp_path):
    messages = device.reports(5)
    bench.send(device, *messages)
    with bench.db.transaction():
        bench.streams.save_ranges()
    Archiver(bench.db, lambda _: None).archive_older(0, NOW + 90 * 86_400)
    assert bench.stored() == [5]
    assert bench.send(device, *messages).duplicates == 5
    device.seq, device.last = 1, messages[0]
    outcome = bench.send(device, other := device.report(), device.report(seq=6))
    assert outcome.refused == {(device.slot, "conflict"): 1} and outcome.reports == 1
    # Without the file nobody knows what is a duplicate: the device keeps it, others go on.
    (archive,) = (tmp_path / "archive").glob("*.parquet")
    archive.unlink()
    again = Bench(tmp_path / "province.db", device)
    outcome = again.send(device, messages[1], other, device.report(seq=7))
    again.db.close()
    assert outcome.held == {device.slot: 2} and outcome.reports == 1


def test_a_well_signed_report_with_bad_content_is_kept_and_counts_as_stored(bench, device):
    good, bad, after = device.report(), device.report(step=0), device.report()
    bench.send(device, good, bad, after)
    assert bench.stored() == [1, 3] and bench.quarantine() == [("malformed", 2, 1)]
    assert bench.acks_due()[0][2] == 3
    assert bench.send(device, bad).duplicates == 1
    restarted = Streams(bench.db)
    assert restarted.find(device.kid, device.stream).ranges.contiguous == 3


def test_what_is_not_signed_for_the_ingest_is_kept_and_never_counts_as_stored(bench, device):
    stranger = Device(seed=9)
    forged = device.report()[:-1] + b"\0"
    bench.send(device, b"noise", forged)
    outcome = bench.send(stranger, stranger.report())
    assert outcome.refused == {(stranger.slot, "unknown_key"): 1}
    outcome = bench.send(device, device.sign({1: 1}, "reply"), kind="reply")
    assert outcome.refused == {(device.slot, "wrong_topic"): 1}
    # What comes again is only counted.
    bench.send(device, b"noise", b"noise")
    assert [(reason, times) for reason, _, times in bench.quarantine()] == [
        ("malformed", 3),
        ("bad_signature", 1),
        ("unknown_key", 1),
        ("wrong_topic", 1),
    ]
    assert bench.stored() == [] and bench.acks_due() == []


@pytest.mark.parametrize("regency", ["0000", "6403"])
def test_the_broker_check_leaves_nothing_in_quarantine(bench, regency):
    message = Message(f"desa/1/{regency}/0000000000-1/report", b"check")
    assert bench.pipeline.process([message], NOW, 0).ignored == 1
    assert bench.quarantine() == []


def test_a_hostile_device_can_t_fill_the_disk(tmp_path, device):
    bench = Bench(tmp_path / "a.db", device, bounds=Bounds(per_slot=3, kept_per_slot=2))
    assert bench.send(device, *(bytes([i]) for i in range(10))).beyond == 7
    assert len(bench.quarantine()) == 3
    bad = [device.report(step=0) for _ in range(5)]
    bench.send(device, *bad)
    assert len(bench.quarantine()) == 5
    overflow = bench.db.all("SELECT reason, count FROM quarantine_overflow")
    assert overflow == [("malformed", 10)]
    # What there was no room for was not stored, and no ack says that it was.
    assert (
        bench.acks_due()[0][2]
        == 2
        == Streams(bench.db).find(device.kid, device.stream).ranges.last
    )
    bench.db.close()
    # The bound on bytes holds for all together.
    bench = Bench(tmp_path / "b.db", device, bounds=Bounds(total_bytes=1000))
    bench.send(device, *(bytes([i]) * 300 for i in range(10)))
    assert len(bench.quarantine()) == 3
    bench.db.close()


def test_what_waits_for_an_enrolment_is_stored_after_it(bench, device):
    late = Device(slot="6403112002-1", seed=2)
    messages = late.reports(3)
    bench.send(late, late.birth(), kind="birth")
    bench.send(late, *messages, b"noise")
    bench.pipeline.verifier.keys = keys(device, late)
    assert bench.pipeline.unknown_kids() == {late.kid}
    outcome = bench.pipeline.retry(0, frozenset([late.kid]))
    assert (outcome.reports, outcome.births) == (3, 1)
    assert bench.quarantine() == [("malformed", None, 1)]
    assert bench.acks_due()[0] == {1: late.stream, 2: 3, 4: NOW, 5: [1, 1]}
    assert bench.send(late, *messages).duplicates == 3
    assert Streams(bench.db).find(late.kid, late.stream).ranges.contiguous == 3


def test_a_retry_keeps_the_new_reason(bench, device):
    late = Device(seed=2)
    bench.send(late, late.report())
    bench.pipeline.verifier.keys = keys(late, active=False)
    bench.pipeline.retry(0)
    assert bench.quarantine() == [("revoked_key", None, 1)]
    bench.pipeline.verifier.keys = {late.kid: Key(late.public_key, "6403112009-1", True)}
    bench.pipeline.retry(0)
    assert bench.quarantine() == [("wrong_slot", None, 1)]


def test_what_is_kept_for_its_content_stays_counted_over_a_retry(bench, device):
    bench.send(device, device.report(), device.report(step=0))
    assert bench.pipeline.retry(0).reports == 0
    assert bench.quarantine() == [("malformed", 2, 1)]
    assert Streams(bench.db).find(device.kid, device.stream).ranges.contiguous == 2


def test_an_ack_comes_after_eight_reports_and_in_time_for_fewer(bench, device):
    bench.send(device, *device.reports(7))
    assert bench.acks_due() == []
    bench.send(device, device.report())
    assert bench.acks_due() == [{1: device.stream, 2: 8, 4: NOW}]
    bench.send(device, device.report(), now=100)
    bench.send(device, device.report(), now=1000)
    assert bench.acks_due(1899) == []
    assert bench.acks_due(1901) == [{1: device.stream, 2: 10, 4: NOW}]


def test_a_birth_is_answered_at_once_also_when_the_broker_repeats_it(bench, device):
    birth = device.birth()
    for _ in range(2):
        bench.send(device, birth, kind="birth")
        assert bench.acks_due() == [{1: device.stream, 2: 0, 4: NOW, 5: [1, 1]}]
    assert bench.db.value("SELECT count(*) FROM births") == 1


def test_an_older_birth_is_a_replay_and_hides_no_answer(bench, device):
    old, new = device.birth(), device.birth()
    bench.send(device, new, old, kind="birth")
    assert bench.acks_due()[0][5] == [1, 2] and bench.quarantine() == [("replay", None, 1)]
    # Its device may have had its flash restored, and waits for what the province has of it.
    device.conn = 0
    bench.send(device, device.birth(next=77), kind="birth")
    assert bench.acks_due() == [{1: device.stream, 2: 0, 4: NOW, 5: [1, 1]}]


def test_an_older_birth_that_is_known_is_passed_over(bench, device):
    """A broker that was killed delivers what it had retained when it last wrote that down."""
    old, new = device.birth(), device.birth()
    bench.send(device, old, new, kind="birth")
    bench.acks_due()
    outcome = bench.send(device, old, kind="birth")
    assert (outcome.ignored, outcome.births) == (1, 0)
    assert bench.quarantine() == [] and bench.acks_due() == []
    # The newest stays the newest.
    device.conn = 0
    bench.send(device, device.birth(next=77), kind="birth")
    assert bench.quarantine() == [("replay", None, 1)]
    assert bench.db.value("SELECT count(*) FROM births") == 2


@pytest.mark.parametrize("order", [[0, 2], [2], [1, 0, 2], [0, 0]])
def test_holes_disorder_and_duplicates_are_acknowledged_at_once_and_once(bench, device, order):
    messages = device.reports(3)
    bench.send(device, *(messages[number] for number in order))
    assert len(bench.acks_due()) == 1


def test_an_ack_holds_the_oldest_sixteen_ranges_beyond_a_hole(bench, device):
    messages = device.reports(60)
    bench.send(device, *reversed(messages[1::2]))
    ack = bench.acks_due()[0]
    assert ack[2] == 0 and ack[3] == [[n, n] for n in range(2, 34, 2)]
    bench.send(device, messages[0])
    assert bench.acks_due()[0][2] == 2


def test_after_a_restart_it_knows_what_is_stored(bench, device):
    messages = device.reports(6)
    bench.send(device, *messages[:2])
    with bench.db.transaction():
        bench.streams.save_ranges()
    bench.send(device, messages[5], device.report(step=0))
    bench.send(device, device.birth(), device.birth(), kind="birth")
    stream = Streams(bench.db).find(device.kid, device.stream)
    assert stream.ranges.text() == "1-2,6-7"
    assert stream.ranges == bench.streams.find(device.kid, device.stream).ranges
    assert stream.birth == bench.streams.find(device.kid, device.stream).birth


def test_a_batch_that_fails_leaves_nothing_behind_and_can_be_stored_later(bench, device, tmp_path):
    bench.send(device, device.report())
    messages = device.reports(8)
    with closing(sqlite3.connect(tmp_path / "province.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy):
            bench.send(device, *messages)
    bench.pipeline.reload()
    # The ack that was due before the failure is due after it.
    assert bench.stored() == [1] and bench.acks_due()[0][2] == 1
    bench.send(device, *messages)
    assert bench.stored() == list(range(1, 10))
    assert bench.acks_due()[-1][2] == 9


def test_a_full_disk_takes_nothing_in_part(bench, device):
    bench.send(device, device.report())
    pages = bench.db.value("PRAGMA page_count")
    bench.db.execute(f"PRAGMA max_page_count={pages + 5}")
    messages = device.reports(200)
    with pytest.raises(StoreFull, match="make room"):
        bench.send(device, *messages)
    bench.pipeline.reload()
    assert bench.stored() == [1]
    bench.db.execute("PRAGMA max_page_count=100000")
    assert bench.send(device, *messages).reports == 200


def test_reports_that_change_under_it_are_not_built_upon(bench, device, tmp_path):
    bench.send(device, *device.reports(2))
    with closing(sqlite3.connect(tmp_path / "province.db")) as other, other:
        other.execute("DELETE FROM reports WHERE seq = 2")
    with pytest.raises(StoreReplaced):
        bench.send(device, device.report())


def test_a_database_from_a_backup_makes_acks_lower(tmp_path, device):
    bench = Bench(tmp_path / "a.db", device)
    messages = device.reports(6)
    bench.send(device, *messages[:3])
    bench.db.execute("VACUUM INTO ?", (str(tmp_path / "backup.db"),))
    bench.send(device, *messages[3:])
    bench.db.close()
    bench = Bench(tmp_path / "backup.db", device)
    bench.send(device, device.birth(), kind="birth")
    assert bench.acks_due()[0][2] == 3
    bench.send(device, *messages[3:])
    assert bench.stored() == [1, 2, 3, 4, 5, 6]
    bench.db.close()
