"""Alerts when several things go wrong at once: the fewest messages that say all of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from host_tools.alerts.view import BROKER, INGEST
from host_tools.store import StoreFull
from host_tools.store.queries import Change
from tests.host_tools.alerts.plant import DAY, HOUR, MINUTE, NOON, Plant

STEPS = """
[teams.two]
steps = [["operator"], ["head"]]
[channels]
head.url = "json://localhost/head"
[rules]
no_data.to = ["two"]
"""


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def of_provider(plant: Plant, name: str = "Orbit 4G") -> list[str]:
    return [slot for slot in plant.slots if plant.places[slot].provider == name]


def falls(plant: Plant, slots: list[str], over: int, then: int = 0) -> None:
    """They fall one after the other, evenly, and what follows."""
    for number in range(0, over, 5 * MINUTE):
        part = slots[number * len(slots) // over : (number + 300) * len(slots) // over]
        plant.set("no_data", *part)
        plant.run(5 * MINUTE, step=5 * MINUTE)
    plant.run(then, step=5 * MINUTE)


def heard(plant: Plant) -> list[str]:
    return [f"{m.what} {m.channel}: {m.subject.partition('] ')[2]}" for m in plant.sent]


# ---- cuts ----------------------------------------------------------------------------------


def test_a_cut_that_grows_for_an_hour_and_ends_village_by_village_is_two_messages(tmp_path):
    plant = Plant(tmp_path, count=420)
    cut = of_provider(plant)
    random.Random(1).shuffle(cut)
    plant.run(10 * MINUTE)
    falls(plant, cut, HOUR, then=HOUR)
    for number in range(0, 210, 21):
        plant.set("up", *cut[number : number + 21])
        plant.run(10 * MINUTE, step=5 * MINUTE)
    plant.run(30 * MINUTE, step=5 * MINUTE)
    assert plant.records.open_alerts() == []
    assert [what for what, _ in plant.said] == ["opened", "recovered"], heard(plant)


def test_who_is_up_for_a_moment_while_a_cut_ends_is_still_a_part_of_it(tmp_path):
    plant = Plant(tmp_path, count=60)
    cut = of_provider(plant)
    plant.run(10 * MINUTE)
    plant.set("no_data", *cut)
    plant.run(2 * HOUR)
    for number, slot in enumerate(cut):
        plant.set("up", slot)
        plant.run(4 * MINUTE)
        if number % 5 == 4:
            plant.set("no_data", cut[number - 4])
    plant.run(2 * HOUR)
    assert plant.said == [("opened", "operator")]
    plant.set("up", *cut)
    plant.run(HOUR)
    assert plant.said == [("opened", "operator"), ("recovered", "operator")]
    # Much later it is another outage.
    plant.set("no_data", cut[0])
    plant.run(HOUR)
    assert plant.said[2:] == [("opened", "operator")]


def test_two_cuts_that_overlap_are_two_alerts(tmp_path):
    plant = Plant(tmp_path, count=240)
    cut, district = of_provider(plant), plant.slots[24:36]
    plant.run(10 * MINUTE)
    plant.set("no_data", *cut)
    plant.run(6 * MINUTE)
    # A power cut in a district, half of which is of the other provider.
    plant.set("no_data", *[slot for slot in district if slot not in cut])
    plant.run(3 * HOUR)
    plant.set("up", *cut)
    plant.run(HOUR)
    plant.set("up", *district)
    plant.run(HOUR)
    assert [text.partition(" since")[0] for text in heard(plant)] == [
        "opened operator: 120 villages of Orbit 4G: no data",
        "opened operator: 6 villages in D13: no data",
        "recovered operator: 120 villages of Orbit 4G: up again",
        "recovered operator: 6 villages in D13: up again",
    ]


def test_a_cut_of_a_provider_half_of_which_was_down_before_is_one_alert(tmp_path):
    plant = Plant(tmp_path, count=240)
    cut = of_provider(plant)
    plant.set("no_data", *cut[::2], since=plant.now - DAY)  # late: nothing is sent
    plant.run(HOUR, step=5 * MINUTE)
    plant.set("no_data", *cut[1::2])
    plant.run(HOUR, step=5 * MINUTE)
    assert [text.partition(" since")[0] for text in heard(plant)] == [
        "opened operator: 60 villages of Orbit 4G: no data"
    ]


def test_a_cut_at_night_in_which_a_district_is_silenced(tmp_path):
    plant = Plant(tmp_path, count=120)
    plant.now = NOON + 14 * HOUR  # 02:00
    cut = of_provider(plant)
    plant.silenced = set(plant.slots[:12])
    plant.run(10 * MINUTE)
    plant.set("no_data", *cut)
    plant.run(HOUR)
    assert len(plant.sent) == 1
    members = {m.member for m in plant.records.members(plant.records.open_alerts()[0].id)}
    assert members == set(cut) - plant.silenced
    plant.silenced = set()
    plant.run(HOUR)  # what is still down is a part of what was said
    assert len(plant.sent) == 1
    plant.set("up", *cut)
    plant.run(HOUR)
    assert [what for what, _ in plant.said] == ["opened", "recovered"]


def test_a_cut_of_a_silenced_provider_is_alerted_after_the_silence_over_a_restart(tmp_path):
    plant = Plant(tmp_path, count=60)
    cut = of_provider(plant)
    plant.silenced = set(cut)
    plant.run(HOUR)
    plant.set("no_data", *cut)
    plant.run(7 * HOUR, step=5 * MINUTE)
    plant.start()  # what began seven hours ago was known in time
    plant.run(HOUR, step=5 * MINUTE)
    assert plant.sent == []
    plant.silenced = set()
    plant.run(HOUR)
    assert [text.partition(" since")[0] for text in heard(plant)] == [
        "opened operator: 30 villages of Orbit 4G: no data"
    ]


def test_a_restart_in_the_middle_of_a_storm_changes_nothing(tmp_path):
    plant = Plant(tmp_path, count=48)
    hit = plant.slots[12:20]
    plant.run(HOUR)
    for slot in hit:
        plant.set("no_data", slot)
        plant.run(2 * MINUTE)
        plant.start()
    for _ in range(20):
        plant.run(3 * MINUTE)
        plant.start()
    plant.set("up", *hit)
    plant.run(5 * MINUTE)
    plant.start()
    plant.run(HOUR)
    assert [what for what, _ in plant.said] == ["opened", "recovered"]
    assert {m.member for m in plant.records.members(1)} == set(hit)


# ---- the own side --------------------------------------------------------------------------


@pytest.mark.parametrize("at", [10 * MINUTE, 50 * MINUTE])
def test_a_cut_during_which_the_own_broker_restarts(tmp_path, at):
    plant = Plant(tmp_path, count=60)
    cut = of_provider(plant)
    plant.run(HOUR)
    plant.set("no_data", *cut)
    plant.run(at)
    plant.run(8 * MINUTE, own={BROKER: plant.now - 180})
    plant.run(2 * HOUR)
    plant.set("up", *cut)
    plant.run(HOUR)
    assert sorted(plant.said) == [
        *(("opened", "operator"), ("opened", "staff")),
        *(("recovered", "operator"), ("recovered", "staff")),
    ]


def test_while_the_own_side_does_not_work_nothing_is_escalated(tmp_path):
    plant = Plant(tmp_path, more=STEPS)
    plant.set("no_data", plant.slots[0])
    plant.run(HOUR)
    plant.run(3 * HOUR, own={INGEST: plant.now - 180})
    assert plant.said == [("opened", "operator"), ("opened", "staff")]


def test_services_that_start_with_the_machine_are_not_missed_at_once(plant):
    plant.run(HOUR)
    off, plant.now = plant.now, plant.now + 5 * HOUR  # the whole machine was off
    plant.start()
    plant.run(2 * MINUTE, own={INGEST: off})
    plant.run(HOUR)
    assert plant.sent == []
    plant.now += 5 * HOUR
    plant.start()
    plant.run(10 * MINUTE, own={INGEST: off})
    assert plant.said == [("opened", "staff")]


def test_a_clock_that_is_set_back_loses_nothing_and_repeats_nothing(plant):
    first, second = plant.slots[:2]
    plant.set("no_data", first)
    plant.run(HOUR)
    plant.set("up", first)
    plant.set("no_data", second)
    plant.run(5 * MINUTE)
    plant.now -= 2 * HOUR
    plant.run(45 * MINUTE)
    assert plant.said == [
        ("opened", "operator"),
        ("recovered", "operator"),
        ("opened", "operator"),
    ]
    assert len(plant.records.due(plant.now)) == 3
    # Also if it was wrong for so long that it counted as a stop of the alerts.
    plant.now += DAY
    plant.run(MINUTE)
    plant.now -= DAY
    plant.set("up", second)
    plant.run(30 * MINUTE)
    assert [what for what, _ in plant.said] == ["opened", "recovered"] * 2


# ---- people --------------------------------------------------------------------------------


def test_a_backlog_of_a_day_that_arrives_at_once_sends_nothing(plant):
    plant.run(HOUR)
    slot = plant.slots[0]
    old = [
        change
        for n in range(2, 25)
        for change in (
            Change(n, slot, plant.now - n * HOUR, "provider", "up"),
            Change(n, slot, plant.now - n * HOUR + 2400, "up", "provider"),
        )
    ]
    plant.run(MINUTE, changes=lambda now: old)
    plant.run(HOUR)
    assert plant.sent == [] and plant.records.alerts_since(0) == []


def test_what_ends_and_begins_again_is_another_alert_to_acknowledge(tmp_path):
    plant = Plant(tmp_path, more=STEPS)
    slot = plant.slots[0]
    plant.set("no_data", slot)
    plant.run(HOUR)
    with plant.records.transaction():
        assert plant.records.acknowledge(1, "Sari", plant.now)
    plant.run(3 * HOUR)
    plant.set("up", slot)
    plant.run(HOUR)
    plant.set("no_data", slot)
    plant.run(2 * HOUR)
    assert [(m.alert_id, m.what, m.channel) for m in plant.sent] == [
        (1, "opened", "operator"),
        (1, "recovered", "operator"),
        (2, "opened", "operator"),
        (2, "escalated1", "operator"),
        (2, "escalated1", "head"),
    ]


def test_a_silence_over_what_is_alerted_sends_nothing_until_it_ends(tmp_path):
    plant = Plant(tmp_path, more=STEPS)
    slot = plant.slots[0]
    plant.set("no_data", slot)
    plant.run(HOUR)
    plant.silenced = {slot}
    plant.run(3 * HOUR)
    plant.set("up", slot)
    plant.run(3 * HOUR)
    assert plant.said == [("opened", "operator")]
    plant.silenced = set()
    plant.run(HOUR)
    assert plant.said == [("opened", "operator"), ("recovered", "operator")]


def test_every_team_that_a_cut_concerns_is_sent_it_once(tmp_path):
    plant = Plant(
        tmp_path,
        count=48,
        more="""
[teams.west]
steps = [["operator"]]
places = ["640311"]
[teams.east]
steps = [["east"]]
places = ["640314"]
[teams.far]
steps = [["staff"]]
places = ["640312"]
[channels]
east.url = "json://localhost/east"
[rules]
no_data.to = ["west", "east", "far"]
""",
    )
    plant.run(HOUR)
    cut = [slot for slot in of_provider(plant) if slot[:6] != "640312"]
    falls(plant, cut, 35 * MINUTE, then=HOUR)
    plant.set("up", *cut)
    plant.run(HOUR)
    assert sorted(plant.said) == [
        *(("opened", "east"), ("opened", "operator")),
        *(("recovered", "east"), ("recovered", "operator")),
    ]


def test_a_disk_that_is_full_for_half_an_hour_loses_nothing_and_counts_nothing_twice(
    plant, monkeypatch
):
    def full(*_: object, **__: object) -> None:
        raise StoreFull("no room")

    at = plant.now

    def fell(now: int) -> list[Change]:
        return [Change(n, plant.slots[1], at - n, "dns", "up") for n in range(5)]

    plant.set("no_data", plant.slots[0])
    plant.run(20 * MINUTE)
    with monkeypatch.context() as room:
        room.setattr(plant.records, "set_meta", full)
        for _ in range(30):
            with pytest.raises(StoreFull):
                plant.run(MINUTE, changes=fell)  # the same changes at each look
            plant.now += MINUTE
    plant.run(HOUR)
    assert plant.said == [("opened", "operator")]
    assert plant.records.alert(1).value == plant.slots[0]
