"""What an enrolled device may say, whatever it says: the derivation goes on, and shows no time
that lies ahead and nothing twice."""

import random

import pytest

from agent.wire import ids
from host_tools.derive import Deriver
from host_tools.derive.reading import FUTURE_S
from host_tools.ingest.acks import Acks
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.store import open_database, queries
from host_tools.store.streams import Streams
from host_tools.wire import Key
from tests.world.devices import START, Device, ordinary, outage_began, outage_ended
from tests.world.filled import Filled

YEAR_S = 365 * 86400


@pytest.fixture
def filled(tmp_path):
    filled = Filled(tmp_path / "province.db")
    yield filled
    filled.db.close()


# ---- numbers of reports ------------------------------------------------------------------


@pytest.mark.parametrize(
    "seqs",
    [[2**32 - 1], [1, 2**32 - 1], [1, 2**31, 2**32 - 1, 2, 2**31 - 1], "random"],
    ids=["last", "both ends", "middle", "random"],
)
def test_gaps_of_billions_do_not_stop_the_ingest_nor_its_next_start(tmp_path, seqs):
    if seqs == "random":
        seqs = random.Random(1).sample(range(1, 2**32), 300)
    hostile, honest = Device(seed=1), Device(slot="6403112002-1", seed=2)
    keys = {d.kid: Key(d.public_key, d.slot, True) for d in (hostile, honest)}
    sent = [hostile.report(seq=seq, prev=None if seq == 1 else bytes(8)) for seq in seqs]
    for number in range(3):  # each time another process
        with open_database(tmp_path / "province.db", create=True) as db:
            streams, acks = Streams(db), Acks(8, 1800)
            pipeline, deriver = Pipeline(db, streams, acks, keys), Deriver(db, streams)
            batch = [Message(hostile.topic("report"), message) for message in sent[number::3]]
            batch.append(Message(honest.topic("report"), honest.report()))
            pipeline.process(batch, START + 10**6, 0.0)
            while deriver.step(50):
                pass
            acks.everything()
            assert acks.take(0.0, lambda: START)
            with db.transaction():
                streams.save_ranges()
            slots = {slot.slot: slot for slot in queries.status(db, START)}
    assert slots[honest.slot].gaps == slots[honest.slot].backlog == 0
    assert slots[hostile.slot].gaps == max(seqs) - len(seqs)


def test_a_birth_with_an_endless_journal_is_refused(tmp_path):
    device = Device()
    keys = {device.kid: Key(device.public_key, device.slot, True)}
    with open_database(tmp_path / "province.db", create=True) as db:
        pipeline = Pipeline(db, Streams(db), Acks(8, 1800), keys)
        births = [device.birth(next=2**32), device.birth(next=2**32 + 1)]
        outcome = pipeline.process([Message(device.topic("birth"), b) for b in births], START, 0)
        assert outcome.births == 1
        assert outcome.refused == {(device.slot, "malformed"): 1}


# ---- times ahead -------------------------------------------------------------------------


def latest_shown(filled: Filled) -> int:
    """The latest instant of all that people are shown."""
    db = filled.db
    times = [o.end or o.begin for o in queries.outages(db)]
    times += [end for _, end, _ in filled.intervals()]
    times += [u.begin for u in queries.usage(db, by="hour")]
    return max(times, default=0)


def test_samples_that_reach_into_the_future_are_not_believed(filled):
    device = Device()
    now = START + 300
    far = device.report(ordinary(60), start=START, step=86400)
    filled.store(device, [far], received_at=now)
    filled.derive()
    assert filled.findings() == [("future_clock", 1, 1, 0), ("unplaced", 1, 1, 0)]
    assert queries.usage(filled.db) == [] and filled.intervals() == []
    # Nor are they placed by a report that knows the time: it would not become truer.
    device.now = START
    filled.store(device, [device.report()], received_at=now)
    filled.derive()
    assert filled.findings() == [("future_clock", 1, 1, 0), ("unplaced", 1, 1, 0)]
    assert filled.intervals() == [(START, START + 300, "up")]
    assert filled.facts() == filled.rebuilt()


@pytest.mark.parametrize(("ahead", "believed"), [(300, True), (301, False)])
def test_the_end_of_the_last_sample_may_be_a_little_ahead(filled, ahead, believed):
    device = Device()
    filled.store(device, [device.report()], received_at=START + 300 - ahead)
    filled.derive()
    assert (filled.findings() == []) == believed


def test_a_clockless_report_of_a_far_uptime_is_not_placed_ahead(filled):
    device = Device()
    filled.store(device, [device.report(up=2**33, start=None)], received_at=START + 600)
    filled.store(device, [device.report()], received_at=START + 600)
    filled.derive()
    assert filled.findings() == [("unplaced", 1, 1, 0)]
    assert latest_shown(filled) <= START + 600
    assert filled.facts() == filled.rebuilt()


def test_a_boot_before_1970_is_no_place_in_time(filled):
    device = Device()
    filled.store(device, [device.report(up=2**33)], received_at=START + 300)
    filled.derive()
    assert filled.findings() == [("unplaced", 1, 1, 0)]


@pytest.mark.parametrize("offset", [315_576_000, 700, -315_576_000, -61 - 2])
@pytest.mark.parametrize("split", [False, True])
def test_events_long_after_their_report_or_before_their_boot_have_no_effect(filled, offset, split):
    device = Device()
    events = [
        [offset, ids.OUTAGE_BEGAN, {1: 5}],
        outage_ended(offset, 4, 0),
        [offset, ids.BOOTED, {1: 1, 2: [1, 5], 3: START - 500}],
        [offset, 99, {}],
    ]
    messages = [device.report(events=events, start=None), device.report()]
    for message in messages:
        filled.store(device, [message], received_at=START + 900)
        if split:
            filled.derive()
    filled.derive()
    assert filled.outages() == [] and filled.intervals() == [(START, START + 600, "up")]
    assert filled.facts() == filled.rebuilt()


def test_an_event_a_little_after_the_samples_counts(filled):
    device = Device()
    filled.store(device, [device.report(events=[outage_began(330, 5)])], received_at=START + 340)
    filled.derive()
    assert filled.outages() == [(5, START + 330, None, 0)]


def test_a_report_is_placed_late_only_where_its_events_fit_too(filled):
    device = Device()
    # Alone, its samples would fit; the event is 350 s after them, at the time of receipt + 350.
    first = device.report(events=[outage_began(650, 5)], start=None)
    filled.store(device, [first], received_at=START + 300)
    filled.derive()
    device.now = START
    filled.store(device, [device.report(up=60)], received_at=START + 300)
    filled.derive()
    assert queries.outages(filled.db) == []
    assert filled.findings() == [("unplaced", 1, 1, 0)]
    assert filled.facts() == filled.rebuilt()


def test_a_long_duration_and_a_far_sign_of_life_show_nothing_ahead(filled):
    device = Device()
    first = device.report(events=[outage_began(200, 5), outage_ended(250, 4, 2**53 - 1)])
    booted = device.reboot(60, alive=START)
    booted[2][3] = 2**40
    second = device.report(events=[booted, outage_ended(10, 6, 2**33)])
    filled.store(device, [first, second], received_at=device.now)
    filled.derive()
    assert [row[0] for row in filled.outages()] == [5]
    assert latest_shown(filled) <= device.now + FUTURE_S
    assert filled.facts() == filled.rebuilt()


@pytest.mark.parametrize("start", [None, START])
def test_an_outage_does_not_end_at_one_that_lies_far_ahead_in_its_boot(filled, start):
    device = Device()
    first = device.report(ordinary(5, ids.DOWN_PROVIDER), [outage_began(0, 5)])
    device.now = START
    far = device.report({}, [outage_began(0, 6)], up=START - 1, start=start)
    filled.store(device, [first, far], received_at=START + 300)
    filled.derive()
    assert latest_shown(filled) <= START + 300 + FUTURE_S
    assert all(end is None or begin <= end for _, begin, end, _ in filled.outages())
    assert filled.facts() == filled.rebuilt()


# ---- usage -------------------------------------------------------------------------------


def hours(filled: Filled) -> list[tuple]:
    return filled.db.all(
        "SELECT measured_s, bytes_down, bytes_up, clients_peak FROM usage_hours ORDER BY hour"
    )


def samples(*kib: int) -> dict:
    return {ids.STATE: [ids.UP] * len(kib), ids.BYTES_DOWN: [1024 * value for value in kib]}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_where_two_streams_report_the_same_time_the_first_by_its_bytes_counts(filled, order):
    device, again = Device(stream=b"1111"), Device(stream=b"2222")
    reports = [
        (device, device.report(samples(1, 2, 3, 4, 5))),
        (again, again.report(samples(10, 20, 30, 40, 50))),
    ]
    again.now = START + 180  # the last 2 of these minutes were not reported in the first
    reports.append((again, again.report(samples(7, 7, 7, 7))))
    for number in order:
        filled.store(reports[number][0], [reports[number][1]], received_at=START + 900)
        filled.derive()
    assert hours(filled) == [(420, (15 + 2 * 7) * 1024, None, None)]
    assert filled.facts() == filled.rebuilt()


def test_two_devices_in_one_slot_some_seconds_apart_do_not_double_its_bytes(filled):
    hour = START - START % 3600
    device, other = Device(now=hour), Device(seed=2, now=hour + 7)
    for its in (device, other):
        filled.store(its, [its.report(samples(*[60] * 60))])
        filled.derive()
    # 1 KiB a second, whichever of the two is shown.
    assert [row[:2] for row in hours(filled)] == [(3600, 3600 * 1024), (7, 7 * 1024)]
    assert filled.facts() == filled.rebuilt()


@pytest.mark.parametrize("back", [299, 300, 301])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_clock_that_is_set_back_loses_no_bytes(filled, back, order):
    device = Device()
    messages = [device.report(samples(1, 2, 3, 4, 5))]
    device.now, device.booted_at = device.now - back, device.booted_at - back
    messages.append(device.report(samples(10, 20, 30, 40, 50)))
    for number in order:
        filled.store(device, [messages[number]], received_at=START + 900)
        filled.derive()
    assert sum(row[1] for row in hours(filled)) == 165 * 1024
    assert sum(row[0] for row in hours(filled)) == 300 + abs(300 - back)
    assert filled.facts() == filled.rebuilt()


def test_a_long_sample_over_midnight_is_split_between_the_days(filled):
    midnight = START - (START + 8 * 3600) % 86400
    device = Device(now=midnight - 2 * 3600, step=6 * 3600)
    filled.store(device, [device.report(samples(600))])
    filled.derive()
    assert [(day.begin, day.measured_s, day.bytes_down) for day in queries.usage(filled.db)] == [
        (midnight - 86400, 2 * 3600, 200 * 1024),
        (midnight, 4 * 3600, 400 * 1024),
    ]
    assert len(queries.usage(filled.db, by="hour")) == 6


def test_a_clock_decades_behind_is_not_believed(filled):
    device = Device()
    filled.store(device, [device.report(samples(1), start=START - 46 * YEAR_S)])
    filled.derive()
    assert queries.usage(filled.db) == [] and filled.intervals() == []
    assert filled.findings() == [("unplaced", 1, 1, 0)]
    device.now = START + 60
    filled.store(device, [device.report(samples(2))])
    filled.derive()
    assert hours(filled) == [(120, 3 * 1024, None, None)]


def test_bytes_beyond_all_sums_stop_nothing(filled):
    device = Device(now=START - START % 3600, step=1)
    most = (2**53 - 1) // 1024
    messages = [device.report(samples(*[most] * 60)) for _ in range(60)]
    filled.store(device, messages, received_at=device.now)
    filled.derive()
    assert hours(filled) == [(3600, 2**53 - 1, None, None)]
    (day,) = queries.usage(filled.db)
    assert day.bytes_down == 2**53 - 1
