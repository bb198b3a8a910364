"""Outages, boots and intervals out of reports."""

import pytest

from agent.wire import ids
from host_tools.store import queries
from host_tools.wire.vocabulary import NO_DATA
from tests.world.devices import START, Device, ordinary, outage_began, outage_ended
from tests.world.filled import Filled


@pytest.fixture
def filled(tmp_path):
    with Filled(tmp_path / "province.db").db as db:
        db.close()
    return Filled(tmp_path / "province.db")


def states(*values: int) -> dict:
    return ordinary(len(values)) | {ids.STATE: list(values)}


def an_outage(device: Device) -> list[bytes]:
    """Up for 5 minutes; down from 90 s into the second report to 30 s into the third; up."""
    return [
        device.report(),
        device.report(states(1, 5, 5, 5, 5), [outage_began(90, 5)]),
        device.report(states(1, 1, 1, 1, 1), [outage_ended(30, 5, 240, 2)]),
    ]


def test_an_outage_has_cause_begin_end_flaps_and_evidence(filled):
    device = Device()
    filled.store(device, an_outage(device))
    filled.derive()
    assert filled.outages() == [(5, START + 390, START + 630, 0)]
    (outage,) = queries.outages(filled.db)
    assert (outage.flaps, outage.evidence) == (2, (("gateway", 0), ("provider", 1)))
    assert filled.intervals() == [
        (START, START + 390, "up"),
        (START + 390, START + 630, "provider"),
        (START + 630, START + 900, "up"),
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_beginning_and_end_may_come_one_by_one_in_any_order(filled, order):
    device = Device()
    messages = an_outage(device)
    for number in order:
        filled.store(device, [messages[number]])
        filled.derive()
    assert filled.outages() == [(5, START + 390, START + 630, 0)]
    assert [state for *_, state in filled.intervals()] == ["up", "provider", "up"]
    assert filled.facts() == filled.rebuilt()


def test_an_outage_explains_a_long_sample_that_began_in_the_hour_before(filled):
    device = Device(step=360, now=START - 540)
    assert START % 3600 == 0
    filled.store(device, [device.report(states(1, 5))])
    filled.derive()
    filled.store(device, [device.report(states(5), [outage_began(-60, 5)])])
    filled.derive()
    assert filled.intervals() == [
        (START - 540, START + 120, "up"),
        (START + 120, START + 540, "provider"),
    ]
    assert filled.facts() == filled.rebuilt()


def test_the_end_alone_tells_a_whole_outage(filled):
    device = Device()
    first, _, last = an_outage(device)
    filled.store(device, [first, last])
    filled.derive()
    assert filled.outages() == [(5, START + 390, START + 630, 0)]
    assert filled.intervals() == [
        (START, START + 300, "up"),
        (START + 300, START + 390, NO_DATA),
        (START + 390, START + 630, "provider"),
        (START + 630, START + 900, "up"),
    ]


def test_an_outage_lasts_while_nothing_says_otherwise_and_is_known_where_there_are_samples(filled):
    device = Device()
    filled.store(device, an_outage(device)[:2])
    filled.derive()
    assert filled.outages() == [(5, START + 390, None, 0)]
    filled.store(device, [device.report(states(5, 5, 5))])
    filled.derive()
    assert filled.outages() == [(5, START + 390, None, 0)]
    assert filled.intervals()[1:] == [
        (START + 390, START + 600, "provider"),
        (START + 600, START + 900, NO_DATA),
        (START + 900, START + 1080, "provider"),
    ]


def test_where_the_end_is_lost_a_sample_that_says_up_ends_it(filled):
    device = Device()
    first, began, _ = an_outage(device)
    filled.store(device, [first, began, device.report()])
    filled.derive()
    assert filled.outages() == [(5, START + 390, START + 900, 1)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (0, 1, 3, 2)])
def test_a_sample_that_says_up_and_comes_last_ends_an_outage_as_well(filled, order):
    device = Device()
    messages = [
        device.report(),
        device.report(states(1, 5, 5, 5, 5), [outage_began(90, 5)]),
        *device.reports(2),
    ]
    for number in order:
        filled.store(device, [messages[number]], received_at=START + 3600)
        filled.derive()
    assert filled.outages() == [(5, START + 390, START + 600, 1)]
    assert filled.facts() == filled.rebuilt()


def a_long_outage(device: Device) -> list[bytes]:
    """An outage of 60 reports that ends with the power; 20 reports in its middle do not come."""
    down = [
        device.report(states(5, 5, 5, 5, 5), [outage_began(0, 5)] * (not i)) for i in range(60)
    ]
    booted = device.reboot(600, alive=device.now + 90)
    return [*down[:20], *down[40:], device.report(events=[booted])]


@pytest.mark.parametrize("backwards", [False, True])
def test_of_an_outage_without_a_reported_end_only_what_samples_show_is_known(filled, backwards):
    device = Device()
    messages = a_long_outage(device)
    for message in reversed(messages) if backwards else messages:
        filled.store(device, [message], received_at=START + 10**5)
        filled.derive()
    end = START + 60 * 300
    assert filled.outages() == [(5, START, end, 1)]
    assert filled.intervals() == [
        (START, START + 20 * 300, "provider"),
        (START + 20 * 300, START + 40 * 300, NO_DATA),
        (START + 40 * 300, end, "provider"),
        (end, end + 90, NO_DATA),
        (end + 90, end + 600, "power"),
        (end + 600, end + 900, "up"),
    ]
    assert filled.facts() == filled.rebuilt()


@pytest.mark.parametrize("last", [0, 1, 20])
def test_an_outage_whose_end_was_lost_ends_with_the_last_sample_before_the_next(filled, last):
    device = Device()
    began = outage_began(-10, 5)
    device.report()
    first = [
        device.report({} if not i else states(5, 5, 5, 5, 5), [began] * (not i))
        for i in range(last + 1)
    ]
    end = device.now
    device.reports(40)  # do not come
    then = device.report(states(6, 6, 6, 6, 6), [outage_began(0, 6)])
    filled.store(device, [*first, then], received_at=START + 10**5)
    filled.derive()
    begin = START + 290
    assert filled.outages()[0] == (5, begin, end if last else begin, 1)
    assert filled.facts() == filled.rebuilt()


def test_samples_that_say_up_until_an_outage_is_confirmed_do_not_end_it(filled):
    device = Device(step=5)
    filled.store(device, [device.report(states(1, 1, 1, 1, 5, 5), [outage_began(5, 5)])])
    filled.derive()
    assert filled.outages() == [(5, START + 5, None, 0)]
    assert filled.intervals() == [(START, START + 5, "up"), (START + 5, START + 30, "provider")]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_outages_of_one_cause_some_seconds_apart_stay_two_in_any_order(filled, order):
    device = Device()
    messages = [
        device.report(events=[outage_ended(200, 5, 50), outage_began(202, 5)]),
        device.report(events=[outage_ended(-95, 5, 3)]),
    ]
    for number in order:
        filled.store(device, [messages[number]], received_at=START + 900)
        filled.derive()
    assert filled.outages() == [(5, START + 150, START + 200, 0), (5, START + 202, START + 205, 0)]
    assert filled.facts() == filled.rebuilt()


def test_a_change_of_cause_makes_two_outages(filled):
    device = Device()
    filled.store(
        device,
        [
            device.report(states(1, 5, 5, 6, 6), [outage_began(60, 5)]),
            device.report(states(6), [outage_ended(-120, 5, 120), outage_began(-120, 6)]),
        ],
    )
    filled.derive()
    assert filled.outages() == [
        (5, START + 60, START + 180, 0),
        (6, START + 180, None, 0),
    ]


def test_an_outage_that_the_power_cut_ends_with_the_last_sample(filled):
    device = Device()
    messages = an_outage(device)[:2]
    device.now = START + 600
    booted = device.reboot(3000, alive=START + 640)
    messages.append(device.report(events=[booted]))
    filled.store(device, messages)
    filled.derive()
    assert filled.outages() == [(5, START + 390, START + 600, 1)]
    assert filled.intervals() == [
        (START, START + 390, "up"),
        (START + 390, START + 600, "provider"),
        (START + 600, START + 640, NO_DATA),
        (START + 640, START + 3600, "power"),
        (START + 3600, START + 3900, "up"),
    ]


@pytest.mark.parametrize(
    ("cause", "clean", "state"),
    [
        (ids.RESET_POWER, True, "power"),
        (ids.RESET_BROWNOUT, False, "power"),
        (ids.RESET_UNKNOWN, False, "power"),
        (ids.RESET_UNKNOWN, True, "agent"),
        (ids.RESET_WATCHDOG, False, "agent"),
        (ids.RESET_AGENT, False, "agent"),
    ],
)
def test_why_it_started_says_what_the_time_before_was(filled, cause, clean, state):
    device = Device()
    messages = [device.report()]
    booted = device.reboot(100, cause=cause, clean=clean)
    filled.store(device, [*messages, device.report(events=[booted])])
    filled.derive()
    assert filled.intervals()[1] == (START + 300, START + 400, state)


def test_without_a_sign_of_life_the_power_went_with_the_last_sample(filled):
    device = Device()
    messages = [device.report()]
    kind, number, detail = device.reboot(1000)
    filled.store(device, [*messages, device.report(events=[[kind, number, {1: detail[1]}]])])
    filled.derive()
    assert filled.intervals()[1] == (START + 300, START + 1300, "power")


@pytest.mark.parametrize(
    "last, begin",
    [([1, 410], START + 350), ([1, None], START + 300), ([1, -1], START + 300), ([9, 410], None)],
)
def test_the_sign_of_life_is_placed_by_its_boot_where_its_clock_was_not_set(filled, last, begin):
    device = Device()
    messages = [device.report()]
    kind, number, detail = device.reboot(1000)
    del detail[3]
    detail[2] = last
    filled.store(device, [*messages, device.report(events=[[kind, number, detail]])])
    filled.derive()
    powerless = [b for b, e, state in filled.intervals() if (e, state) == (START + 1300, "power")]
    assert powerless == ([] if begin is None else [begin])


def test_a_silence_between_reports_is_no_data(filled):
    device = Device()
    messages = [device.report()]
    device.now += 7200
    filled.store(device, [*messages, device.report()])
    filled.derive()
    assert filled.intervals()[1] == (START + 300, START + 7500, NO_DATA)


def test_a_coarser_pace_covers_its_time(filled):
    device = Device()
    messages = [device.report()]
    device.step = 3600
    filled.store(device, [*messages, device.report(states(1, 5, 5))])
    filled.derive()
    assert filled.intervals() == [
        (START, START + 3900, "up"),
        (START + 3900, START + 11100, "provider"),
    ]


def test_events_that_tell_nonsense_are_kept_and_show_nothing(filled):
    device = Device()
    filled.store(
        device,
        [
            device.report(events=[[0, ids.OUTAGE_BEGAN, {}], [0, ids.OUTAGE_ENDED, {1: 5}]]),
            device.report(events=[[0, ids.OUTAGE_ENDED, {1: b"x", 3: -5}]]),
            device.report(events=[[0, ids.BOOTED, {1: "x", 2: [1], 3: b"", 4: 7}]]),
            device.report(events=[[0, ids.DROPPED, {2: [5, 1]}], [0, 77, {1: [1, None]}]]),
        ],
    )
    filled.derive()
    assert filled.outages() == []
    assert filled.intervals() == [(START, START + 1200, "up")]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1), (1, 2, 0)])
def test_samples_of_another_device_end_an_outage_in_whatever_order_they_come(filled, order):
    device, other = Device(), Device(seed=2, now=START - 600)
    earlier = other.report()
    other.now = START + 600
    reports = [
        (device, device.report(states(5, 5, 5, 5, 5), [outage_began(0, 5)])),
        (other, earlier),
        (other, other.report()),
    ]
    for number in order:
        filled.store(reports[number][0], [reports[number][1]])
        filled.derive()
    assert filled.outages() == [(5, START, START + 300, 1)]
    assert filled.facts() == filled.rebuilt()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1), (1, 2, 0)])
def test_samples_that_overlap_after_a_step_of_the_clock_are_shown_alike_in_any_order(
    filled, order
):
    device = Device(step=900)
    messages = [device.report(states(1)), device.report(states(2))]
    device.now, device.booted_at = device.now - 500, device.booted_at - 500
    messages.append(device.report(states(6, 1, 1, 1, 1, 1, 1)))
    for number in order:
        filled.store(device, [messages[number]], received_at=START + 86400)
        filled.derive()
    assert filled.intervals() == [
        (START, START + 900, "up"),
        (START + 900, START + 1300, "degraded"),
        (START + 1300, START + 2200, "dns"),
        (START + 2200, START + 7600, "up"),
    ]
    assert filled.facts() == filled.rebuilt()


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 1, 3), (3, 2, 1, 0), (2, 1, 0, 3)])
def test_a_report_without_a_place_hides_no_step_of_the_clock_in_any_order(filled, order):
    device = Device()
    messages = [device.report()]
    device.now, device.booted_at = device.now + 700, device.booted_at + 700
    messages.append(device.report())
    messages.append(device.report({}, [[0, 99, {}]], up=2**20, start=None))
    kind, number, detail = device.reboot(1000, alive=device.now + 20)
    del detail[3]
    messages.append(device.report(events=[[kind, number, detail]]))
    for at in order:
        filled.store(device, [messages[at]], received_at=START + 3000)
        filled.derive()
    assert filled.intervals() == [
        (START, START + 300, "up"),
        (START + 300, START + 1000, NO_DATA),
        (START + 1000, START + 1300, "up"),
        (START + 1300, START + 1320, NO_DATA),
        (START + 1320, START + 2300, "power"),
        (START + 2300, START + 2600, "up"),
    ]
    assert filled.facts() == filled.rebuilt()


HOUR = START - START % 3600 + 3600


def test_an_outage_explains_a_sample_that_reaches_into_the_next_hour(filled):
    device = Device(now=HOUR - 660, step=300)
    messages = [
        device.report({ids.STATE: [ids.UP] * 2}),
        device.report({ids.STATE: [ids.DOWN_PROVIDER]}),
        device.report({}, [outage_began(-300, 5), outage_ended(-295, 5, 5)]),
    ]
    for message in messages:
        filled.store(device, [message], received_at=HOUR + 1000)
        filled.derive()
    assert filled.intervals()[-1] == (HOUR - 55, HOUR + 240, "up")
    assert filled.facts() == filled.rebuilt()


def test_a_sample_before_a_full_hour_that_comes_late_says_what_was_before_the_next(filled):
    device = Device(now=HOUR - 300)
    before = device.report()
    events = [outage_began(-20, 5), outage_ended(-5, 5, 15)]
    after = device.report({ids.STATE: [ids.DOWN_PROVIDER]}, events)
    for message in (after, before):
        filled.store(device, [message], received_at=HOUR + 1000)
        filled.derive()
    assert filled.intervals()[-1] == (HOUR - 5, HOUR + 60, "up")
    assert filled.facts() == filled.rebuilt()
