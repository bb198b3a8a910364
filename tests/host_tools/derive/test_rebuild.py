"""Deriving everything again, from evidence that is verified once more."""

import random
from pathlib import Path

import pytest

from host_tools.derive import Deriver, rebuild
from host_tools.ingest.acks import Acks
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.store import open_database, queries
from host_tools.store.streams import Streams
from host_tools.wire import Key
from tests.world.devices import START, Device
from tests.world.filled import Filled


@pytest.fixture
def filled(tmp_path: Path):
    filled = Filled(tmp_path / "province.db")
    yield filled
    filled.db.close()


def keys_of(*devices: Device) -> dict[bytes, Key]:
    return {d.kid: Key(d.public_key, d.slot, True) for d in devices}


def found(filled: Filled, kind: str) -> list[int]:
    return [f.first_seq for f in queries.findings(filled.db, kinds=[kind])]


def test_every_changed_byte_of_a_report_is_found_and_named(filled):
    device, rng = Device(), random.Random(1)
    filled.store(device, device.reports(60))
    filled.derive()
    whole = filled.facts()
    changed = sorted(rng.sample(range(2, 60), 40))
    for seq in changed:
        message = bytearray(filled.db.value("SELECT message FROM reports WHERE seq = ?", (seq,)))
        message[rng.randrange(len(message))] ^= 1 << rng.randrange(8)
        filled.db.execute("UPDATE reports SET message = ? WHERE seq = ?", (bytes(message), seq))
    rebuild(filled.db, keys_of(device))
    assert found(filled, "corrupt") == changed
    gaps = [(f.first_seq, f.last_seq) for f in queries.findings(filled.db, kinds=["gap"])]
    assert [seq for first, last in gaps for seq in range(first, last + 1)] == changed
    (day,) = queries.usage(filled.db)
    assert day.measured_s == (60 - 40) * 300
    # The device sends them again.
    streams = Streams(filled.db)
    pipeline = Pipeline(filled.db, streams, Acks(8, 1800), keys_of(device))
    again = Device().reports(60)
    pipeline.process([Message(device.topic("report"), m) for m in again], START + 60 * 300, 0)
    deriver = Deriver(filled.db, streams)
    while deriver.step():
        pass
    facts = filled.facts()
    for table in ("intervals", "usage_hours", "usage_days", "outages"):
        assert facts[table] == whole[table]
    assert found(filled, "corrupt") == found(filled, "gap") == []


def test_a_row_that_is_gone_is_a_gap_also_where_the_ranges_say_that_it_is_stored(filled):
    device = Device()
    filled.store(device, device.reports(20))
    filled.derive()
    for stream in filled.streams.all():
        stream.dirty = True
    with filled.db.transaction():
        filled.streams.save_ranges()
    filled.db.execute("DELETE FROM reports WHERE seq IN (7, 8, 13)")
    rebuild(filled.db, keys_of(device))
    assert found(filled, "gap") == [7, 13] and found(filled, "corrupt") == [7, 8, 13]
    stream = Streams(filled.db).find(device.kid, device.stream)
    assert stream is not None and stream.ranges.text() == "1-6,9-12,14-20"


def test_a_row_copied_under_another_number_or_stream_is_not_believed(filled):
    device, other = Device(), Device(seed=2, slot="6403112002-1")
    filled.store(device, device.reports(5))
    filled.store(other, other.reports(5))
    filled.derive()
    filled.db.execute(
        "UPDATE reports SET message = (SELECT message FROM reports WHERE stream_id = 1 "
        "AND seq = 2) WHERE seq = 4"
    )
    rebuild(filled.db, keys_of(device, other))
    assert found(filled, "corrupt") == [4, 4]


def test_a_step_that_comes_too_late_does_not_say_that_nothing_is_left(filled):
    device = Device()
    filled.store(device, device.reports(3))
    assert filled.deriver.step(seconds=-1) == 3
    assert filled.deriver.step(seconds=-1) == 0


def test_an_interrupted_rebuild_hides_nothing_and_goes_on(filled, monkeypatch):
    device = Device()
    filled.store(device, device.reports(100))
    filled.derive()
    facts = filled.facts()
    steps = Deriver.step
    monkeypatch.setattr(
        Deriver, "step", lambda self, limit=200: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        rebuild(filled.db, keys_of(device))
    assert filled.facts() == facts
    monkeypatch.setattr(Deriver, "step", steps)
    assert rebuild(filled.db, keys_of(device)) == 100
    assert filled.facts() == facts


def test_a_rebuild_works_beside_a_running_ingest(filled, tmp_path, monkeypatch):
    device = Device()
    filled.store(device, device.reports(40))
    filled.derive()
    steps = Deriver.step
    later = [device.reports(3), device.reports(2)]

    def busy(self, limit=200):
        if later:  # the ingest stores and derives in between
            filled.store(device, later.pop(0))
            while steps(filled.deriver):
                pass
        return steps(self, 1)

    monkeypatch.setattr(Deriver, "step", busy)
    with open_database(tmp_path / "province.db") as db:
        rebuild(db, keys_of(device))
    monkeypatch.setattr(Deriver, "step", steps)
    filled.derive()
    assert filled.intervals() == [(START, START + 45 * 300, "up")]
    assert filled.facts() == filled.rebuilt()
