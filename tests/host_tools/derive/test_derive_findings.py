"""Places in time, gaps, chains, and that the order of arrival does not matter."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.wire import ids
from host_tools.derive.samples import samples
from host_tools.ingest.acks import Acks
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.store import queries
from host_tools.store.evidence import mark_corrupt, mark_dirty
from host_tools.wire import Key
from tests.world.devices import (
    START,
    Device,
    dropped,
    ordinary,
    outage_began,
    outage_ended,
)
from tests.world.filled import Filled


@pytest.fixture
def filled(tmp_path):
    filled = Filled(tmp_path / "province.db")
    yield filled
    filled.db.close()


def clockless(device: Device, count: int) -> list[bytes]:
    device.clock = False
    messages = device.reports(count)
    device.clock = True
    return messages


# ---- time --------------------------------------------------------------------------------


def test_a_report_without_a_clock_waits_for_one_that_knows_the_time(filled):
    device = Device(step=120)
    filled.store(device, clockless(device, 2), received_at=START + 1200)
    filled.derive()
    assert filled.findings() == [("unplaced", 1, 2, 0)]
    assert filled.intervals() == []
    assert [slot.interval_s for slot in queries.status(filled.db, START + 1200)] == [600]
    filled.store(device, [device.report()])
    filled.derive()
    assert filled.findings() == []
    assert filled.findings(resolved=True) == [("unplaced", 1, 2, 0)]
    assert filled.intervals() == [(START, START + 1800, "up")]
    assert len(list(samples(filled.db, device.slot))) == 15


def test_the_nearest_report_that_knows_the_time_places_it(filled):
    device = Device()
    messages = [device.report(), *clockless(device, 4)]
    # The device's clock was 100 s slow, and is set right before its last report.
    last = device.report(start=device.now + 100)
    filled.store(device, [last, *messages])
    filled.derive()
    places = {s.seq: s.t for s in reversed(list(samples(filled.db, device.slot)))}
    offsets = {seq: t - (START + 300 * (seq - 1)) for seq, t in places.items()}
    assert offsets == {1: 0, 2: 0, 3: 0, 4: 100, 5: 100, 6: 100}
    assert filled.facts() == filled.rebuilt()


def test_another_boot_s_clock_places_nothing(filled):
    device = Device()
    messages = clockless(device, 1)
    device.reboot(60)
    filled.store(device, [*messages, device.report()])
    filled.derive()
    assert filled.findings() == [("unplaced", 1, 1, 0)]


def test_a_clock_from_the_future_is_not_believed(filled):
    device = Device()
    future = device.report(start=START + 10_000)
    filled.store(device, [future], received_at=START + 300)
    filled.derive()
    assert filled.findings() == [("future_clock", 1, 1, 0), ("unplaced", 1, 1, 0)]
    filled.store(device, [device.report(start=START + 300)])
    filled.derive()
    assert filled.findings() == [("future_clock", 1, 1, 0)]
    assert filled.intervals() == [(START, START + 600, "up")]


# ---- gaps and chains ---------------------------------------------------------------------


def test_a_gap_is_found_shrinks_and_is_resolved(filled):
    device = Device()
    messages = device.reports(10)
    filled.store(device, [messages[0], messages[9]])
    filled.derive()
    assert filled.findings() == [("gap", 2, 9, 8)]
    filled.store(device, reversed(messages[5:9]))
    filled.derive()
    assert filled.findings() == [("gap", 2, 5, 4)]
    filled.store(device, reversed(messages[1:5]))
    filled.derive()
    assert filled.findings() == []
    assert filled.findings(resolved=True) == [("gap", 2, 5, 0)]


def test_a_hole_at_the_beginning_is_a_gap(filled):
    device = Device()
    filled.store(device, device.reports(3)[2:])
    filled.derive()
    assert filled.findings() == [("gap", 1, 2, 2)]


def test_what_the_device_says_it_dropped_is_declared_and_no_gap(filled):
    device = Device()
    messages = device.reports(6)
    filled.store(device, [messages[0], messages[5]])
    filled.derive()
    filled.store(device, [device.report(events=[dropped(0, 2, 4)])])
    filled.derive()
    assert filled.findings() == [("dropped", 2, 4, 0), ("gap", 5, 5, 1)]
    filled.store(device, [messages[4]])
    filled.derive()
    assert filled.findings() == [("dropped", 2, 4, 0)]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_a_drop_that_is_told_again_with_more_is_one_with_what_was_told(filled, order):
    device = Device()
    messages = {
        0: device.report(),
        1: device.report(seq=20, events=[dropped(0, 2, 5)]),
        2: device.report(seq=21, events=[dropped(0, 8, 9)]),
        3: device.report(seq=22, events=[dropped(0, 2, 8), dropped(0, 11, 19)]),
    }
    filled.store(device, [messages[0]])
    for number in order:
        filled.store(device, [messages[number]])
        filled.derive()
    drops = sorted(row for row in filled.findings() if row[0] == "dropped")
    assert drops == [("dropped", 2, 9, 0), ("dropped", 11, 19, 0)]
    assert filled.facts() == filled.rebuilt()


def test_a_drop_for_another_reason_is_another_one(filled):
    device = Device()
    messages = device.reports(6)
    rotten = [0, ids.DROPPED, {1: ids.DROPPED_CORRUPT, 2: [2, 2]}]
    filled.store(device, [messages[0], device.report(events=[rotten, dropped(0, 2, 6)])])
    filled.derive()
    assert sorted(filled.findings()) == [("dropped", 2, 2, 0), ("dropped", 2, 6, 0)]


def test_drops_of_the_stream_before_are_told_in_the_next(filled):
    device = Device()
    messages = device.reports(5)
    filled.store(device, [messages[0], messages[4]])
    before = device.stream
    device.stream, device.seq, device.last = b"next", 0, None
    lost = [0, ids.STREAM_BEGAN, {1: ids.STREAM_LOST, 2: before, 3: 5}]
    gone = [0, ids.DROPPED, {1: ids.DROPPED_CORRUPT, 2: [2, 4], 3: before}]
    filled.store(device, [device.report(events=[lost, gone])])
    filled.derive()
    assert filled.findings() == [("dropped", 2, 4, 0), ("stream_lost", 1, 1, 0)]


def test_a_link_that_does_not_match_is_a_broken_chain_in_either_order(filled):
    device = Device()
    messages = [device.report(), device.report(prev=b"whatever"), device.report()]
    other = Device(seed=2)
    wrong = [other.report(), other.report(prev=b"whatever")]
    filled.store(device, messages)
    filled.derive()
    filled.store(other, wrong[1:])
    filled.derive()
    filled.store(other, wrong[:1])
    filled.derive()
    assert filled.findings() == [("chain_break", 2, 2, 0)] * 2


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1)])
@pytest.mark.parametrize("prev", [None, b"whatever"])
def test_a_malformed_report_that_comes_late_is_a_link_of_the_chain(filled, order, prev):
    device = Device()
    messages = [device.report(), device.report(step=0)]
    messages.append(device.report(**({"prev": prev} if prev else {})))
    keys = {device.kid: Key(device.public_key, device.slot, True)}
    pipeline = Pipeline(filled.db, filled.streams, Acks(8, 1800), keys)
    for number in order:
        message = Message(device.topic("report"), messages[number])
        pipeline.process([message], START + 10**5, 0.0)
        filled.derive()
    assert filled.findings() == ([("chain_break", 3, 3, 0)] if prev else [])
    assert filled.facts() == filled.rebuilt()


@pytest.mark.parametrize("changes", [{"prev": b"12345678"}, {"seq": 2, "prev": None}])
def test_a_first_report_with_a_link_and_a_later_one_without_break_the_chain(filled, changes):
    device = Device()
    filled.store(device, [device.report(**changes)])
    filled.derive()
    assert filled.findings()[0][0] == "chain_break"


def test_a_hostile_number_of_holes_is_one_gap(filled):
    device = Device()
    filled.store(device, device.reports(500)[::2])
    filled.derive()
    assert filled.findings() == [("gap", 2, 498, 249)]


# ---- any order ---------------------------------------------------------------------------

STATES = st.sampled_from([ids.UP, ids.UP, ids.DEGRADED, ids.DOWN_PROVIDER, ids.UNKNOWN])
STEP = st.one_of(
    st.tuples(st.just("report"), st.lists(STATES, min_size=1, max_size=6)),
    st.tuples(st.just("began"), st.tuples(st.integers(-40, 0), st.booleans())),
    st.tuples(st.just("ended"), st.tuples(st.integers(-1, 1), st.booleans())),
    st.tuples(st.just("events"), st.integers(0, 2)),
    st.tuples(st.just("reboot"), st.sampled_from([5, 90, 4000])),
    st.tuples(st.just("clock"), st.booleans()),
    st.tuples(st.just("silence"), st.integers(1, 5000)),
    st.tuples(st.just("pace"), st.sampled_from([60, 300])),
    st.tuples(st.just("set"), st.sampled_from([-500, -60, -7, 7, 300])),
    st.tuples(st.just("lost"), st.integers(1, 2)),
)


def history(device: Device, steps) -> list[bytes]:
    """The reports of a device whose life the steps tell, but for those lost on the way."""
    messages: list[bytes] = []
    events: list = []
    began, free = None, device.now  # the outage that lasts; before when none can have begun

    def tell(values, more=(), lost=False):
        message = device.report(values, [*events, *more])
        events.clear()
        if not lost:
            messages.append(message)

    for kind, value in steps:
        if kind == "report":
            tell(ordinary(len(value)) | {ids.STATE: value})
        elif kind == "began" and began is None:
            began = max(device.now + value[0], free)
            tell({}, [outage_began(began - device.now, 5)], value[1])
        elif kind == "ended" and began is not None and device.now > began + 5:
            duration = device.now - began + value[0]
            tell({}, [outage_ended(0, 5, duration)], value[1])
            began, free = None, device.now + 5
        elif kind == "events":
            events.append([value, 99, {}])
        elif kind == "reboot":
            events[:] = [device.reboot(value, cause=value % 7)]
            if value == 90:  # its clock was not set when it was last alive
                del events[0][2][3]
            began, free = None, device.now
        elif kind == "clock":
            device.clock = value
        elif kind == "silence":
            device.now += value
        elif kind == "set" and device.now + value >= free:
            device.now, device.booted_at = device.now + value, device.booted_at + value
            began, free = began and began + value, free + value
        elif kind == "pace":
            device.step = value
        elif kind == "lost":
            device.reports(value)
    return messages


@settings(max_examples=60)
@given(st.lists(STEP, min_size=1, max_size=24), st.randoms(), st.integers(1, 9))
def test_what_is_derived_does_not_depend_on_the_order_of_arrival(steps, random, slice_size):
    messages = history(Device(), steps)
    shuffled = messages[:]
    random.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for name, order, limit in (("a", messages, 1000), ("b", shuffled, slice_size)):
            filled = Filled(Path(folder) / name)
            at = 0
            while at < len(order):
                filled.store(Device(), order[at : at + slice_size], received_at=START + 10**6)
                at += slice_size
                if limit != 1000:
                    filled.derive(limit)
            filled.derive(limit)
            results.append(filled.facts())
            filled.db.close()
        assert results[0] == results[1]


@settings(max_examples=40)
@given(
    st.lists(st.lists(STEP, min_size=1, max_size=10), min_size=2, max_size=3),
    st.randoms(),
    st.integers(1, 9),
    st.booleans(),
)
def test_nor_on_how_devices_streams_and_boots_of_a_slot_interleave(lives, random, many, odd):
    devices = [
        Device(seed=1 + number % 2, now=START + 7 * number, stream=bytes([9 - number] * 4))
        for number in range(len(lives))
    ]
    arrivals = []
    for device, steps in zip(devices, lives, strict=True):
        messages = history(device, steps)
        if (
            odd and len(messages) > 3
        ):  # boots that interleave in one stream, as no agent makes them
            device.boot, device.booted_at = 1, START - 60
            messages.append(device.report(events=[outage_ended(-10, 5, 100)]))
        arrivals += [(device, message) for message in messages]
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for name in ("a", "b", "c"):
            filled = Filled(Path(folder) / name)
            for at in range(0, len(arrivals), many):
                for device, message in arrivals[at : at + many]:
                    filled.store(device, [message], received_at=START + 10**6)
                if name != "a":
                    filled.deriver.step(many)
            filled.derive(many)
            results.append(filled.facts())
            if name == "c":
                results.append(filled.rebuilt())
            filled.db.close()
            random.shuffle(arrivals)
        assert all(facts == results[0] for facts in results)


@settings(max_examples=30)
@given(st.lists(STEP, min_size=1, max_size=24))
def test_time_adds_up_without_holes_and_up_needs_a_sample(steps):
    with tempfile.TemporaryDirectory() as folder:
        filled = Filled(Path(folder) / "a")
        filled.store(Device(), history(Device(), steps), received_at=START + 10**6)
        filled.derive(3)
        painted = filled.intervals()
        assert all(
            a[1] == b[0] and a[2] != b[2] for a, b in zip(painted, painted[1:], strict=False)
        )
        measured = list(samples(filled.db, Device().slot))
        sampled = sum(sample.step + 10 for sample in measured)
        assert sum(end - begin for begin, end, state in painted if state == "up") <= sampled
        hours = filled.db.value("SELECT sum(bytes_down) FROM usage_hours")
        boots = filled.db.value("SELECT count(*) FROM boots")
        told = [s.values["bytes_down"] for s in measured if "bytes_down" in s.values]
        assert hours == (sum(told) if told else None) or (boots > 1 and hours < sum(told))
        filled.db.close()


def test_more_than_a_hundred_declared_losses_of_a_stream_are_one_finding(filled):
    device = Device()
    events = [dropped(0, 1000 + 2 * number, 1000 + 2 * number) for number in range(101)]
    filled.store(device, [device.report(events=events[:100])])
    filled.derive()
    assert len(filled.findings()) == 100
    filled.store(device, [device.report(events=events[100:])])
    filled.derive()
    assert filled.findings() == [("dropped", 1000, 1200, 0)]
    assert filled.facts() == filled.rebuilt()


def test_findings_of_a_slot_are_bounded_and_counted(filled):
    """More than a hundred of a kind: those of each stream are one, whatever came first."""
    one, two = Device(), Device(stream=b"two2")
    for device in (one, two):
        messages = [device.report(prev=bytes(8) if seq else None) for seq in range(61)]
        for message in reversed(messages):
            filled.store(device, [message], received_at=device.now)
        filled.derive()
        if device is one:
            assert filled.findings() == [("chain_break", seq, seq, 0) for seq in range(2, 62)]
    assert filled.findings() == [("chain_break", 2, 61, 0)] * 2
    assert [found.count for found in queries.findings(filled.db)] == [60, 60]
    assert filled.facts() == filled.rebuilt()
    # One of them is corrupt: its stream, and with it the slot, has fewer than it had.
    with filled.db.transaction():
        for seq in range(2, 52):
            mark_corrupt(filled.db, 1, seq, two.now, "?")
        mark_dirty(filled.db, filled.streams.leave_out_corrupt())
    filled.deriver.load()
    filled.derive()
    breaks = [found for found in queries.findings(filled.db) if found.kind == "chain_break"]
    assert len(breaks) == 9 + 60 and {found.count for found in breaks} == {1}


def test_resolved_findings_do_not_pile_up(filled):
    device = Device()
    messages = device.reports(321)
    for number in range(0, 320, 2):
        filled.store(device, [messages[number + 1]])
        filled.derive()
        filled.store(device, [messages[number]])
        filled.derive()
    assert filled.findings() == []
    assert len(filled.findings(resolved=True)) == 100


def test_more_than_a_hundred_boots_without_a_clock_are_one_finding(filled):
    device = Device()
    made = []
    for _ in range(101):
        device.reboot(60, clock=False)
        made.append(device.report())
    filled.store(device, made[:100], received_at=device.now)
    filled.derive()
    assert len(filled.findings()) == 100
    filled.store(device, made[100:], received_at=device.now)
    filled.derive()
    assert filled.findings() == [("unplaced", 1, 101, 0)]
    # The last boot comes to know the time.
    device.clock = True
    filled.store(device, [device.report()], received_at=device.now)
    filled.derive()
    assert len(filled.findings()) == 100
    assert filled.facts() == filled.rebuilt()
