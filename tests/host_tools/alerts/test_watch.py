"""What is alerted: each outage once, none without a cause, many at once as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from host_tools.alerts.places import AlertPlace
from host_tools.alerts.tokens import TokenError, make_token, read_token
from host_tools.alerts.view import BROKER, INGEST
from host_tools.simulate.world import SimulationSettings
from host_tools.store.queries import Change
from tests.host_tools.alerts.plant import DAY, HOUR, MINUTE, NOON, Plant
from tests.host_tools.alerts.playing import (
    BEGIN,
    backbone_cuts,
    cuts_of,
    judge,
    play,
    villages_of,
)


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


# ---- by the truth of a simulation ----------------------------------------------------------


def judged(folder: Path, villages: int, days: int, seed: int, least: int) -> None:
    settings = SimulationSettings(villages, days, seed, BEGIN)
    world = villages_of(settings)
    records = play(folder, world, settings.begin, settings.end)
    verdict = judge(records, world, 30 * MINUTE, settings.end)
    assert verdict.due >= least
    assert (verdict.missed, verdict.twice, verdict.invented) == ([], [], [])
    # Each cut of a provider's backbone: the alerts that hold it send three messages at most.
    cuts = backbone_cuts(records, world, 4, settings.end - HOUR)
    assert cuts and all(cut.messages <= 3 for cut in cuts), cuts
    # What was the own side's fault went to its staff, and to nobody else.
    own = [alert for alert in records.alerts_since(0) if alert.scope == "own"]
    assert len(own) == len(cuts_of(world, "broker", villages // 2))
    assert {m.channel for alert in own for m in records.of_alert(alert.id)} == {"staff"}
    assert {m.channel for m in records.messages() if m.alert_id not in {a.id for a in own}} == {
        "operator"
    }


def test_each_outage_of_a_simulated_province_is_alerted_once_and_nothing_else(tmp_path):
    judged(tmp_path, villages=60, days=14, seed=1, least=80)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_of_all_villages(tmp_path):
    # A year of them is in the bench (tests/bench/alerting.py).
    judged(tmp_path, villages=841, days=10, seed=102, least=800)


# ---- many at once --------------------------------------------------------------------------


def test_a_backbone_cut_of_200_villages_is_three_messages(tmp_path):
    plant = Plant(tmp_path, count=420)
    cut = [slot for slot in plant.slots if plant.places[slot].provider == "Orbit 4G"]
    assert len(cut) == 210
    alone = next(slot for slot in plant.slots if slot not in cut)
    plant.run(HOUR)
    for number, slot in enumerate(cut):
        # The last report before it came up to five minutes earlier.
        plant.set("no_data", slot, since=plant.now - number % 300)
    plant.set("no_data", alone, since=plant.now - 2 * HOUR)
    plant.run(3 * HOUR, step=5 * MINUTE)
    plant.set("up", *cut)
    plant.run(HOUR, step=5 * MINUTE)
    group, single = sorted(plant.records.alerts_since(0), key=lambda a: a.scope != "provider")
    assert (group.value, group.fallen, single.value) == ("Orbit 4G", 210, alone)
    assert [m.what for m in plant.sent if m.alert_id == group.id] == ["opened", "recovered"]
    assert "210 villages of Orbit 4G: no data since" in plant.sent[1].subject


def test_what_was_alerted_alone_becomes_a_part_of_what_it_was(plant):
    first, *others = plant.slots[1:10:2]
    plant.run(10 * MINUTE)
    plant.set("no_data", first)
    plant.run(19 * MINUTE)
    plant.set("no_data", *others)
    plant.run(10 * MINUTE)
    assert plant.sent == []
    plant.run(3 * HOUR)
    (alert,) = plant.records.open_alerts()
    assert (alert.scope, alert.value) == ("provider", "Orbit 4G")
    assert {m.member for m in plant.records.members(alert.id)} == {first, *others}


def test_a_storm_over_a_district_is_one_alert_and_what_falls_elsewhere_another(tmp_path):
    plant = Plant(tmp_path, count=48)
    hit, elsewhere = plant.slots[12:20], plant.slots[40]
    plant.run(HOUR)
    for number, slot in enumerate(hit):
        plant.set("no_data", slot, since=plant.now + 120 * number)
    plant.set("no_data", elsewhere, since=plant.now + 60)
    plant.run(20 * MINUTE)
    plant.run(3 * HOUR)
    storm, other = sorted(plant.records.open_alerts(), key=lambda alert: alert.scope)
    assert (storm.scope, storm.value, storm.fallen) == ("district", "640312", 8)
    assert {m.member for m in plant.records.members(storm.id)} == set(hit)
    assert (other.scope, other.value) == ("slot", elsewhere)
    assert any("8 villages in D12: no data since" in m.subject for m in plant.sent)


@pytest.mark.parametrize("before", [25, 21, 15, 4, -4, -15])
def test_a_village_that_falls_by_itself_takes_none_out_of_a_backbone_cut(tmp_path, before):
    plant = Plant(tmp_path, count=48)
    cut, alone = plant.slots[1::2], plant.slots[0]  # half of its district is cut, too
    plant.run(HOUR)
    at = plant.now
    plant.now -= before * MINUTE
    for minute in range(-before, 2 * 60):
        # As the province sees it: a report is late, and after 15 minutes it is sure.
        if minute == 15 - before:
            plant.set("no_data", alone, since=at - before * MINUTE)
        for number, slot in enumerate(cut):
            last = at - number * 37 % 300
            if plant.now == at + 8 * MINUTE:
                plant.states[slot] = "up", NOON - DAY, last
            elif plant.now == at + 15 * MINUTE:
                plant.set("no_data", slot, since=last)
        plant.run(MINUTE)
    group, single = sorted(plant.records.open_alerts(), key=lambda alert: alert.scope)
    assert (group.scope, group.fallen) == ("provider", 24)
    assert {m.member for m in plant.records.members(group.id)} == set(cut)
    assert (single.scope, single.value) == ("slot", alone)
    assert len(plant.sent) == 2


def test_a_medium_that_fails_at_all_of_its_providers_is_one_alert(tmp_path):
    plant = Plant(tmp_path, count=48)
    hit = plant.slots[::3]
    for slot in hit:
        plant.places[slot] = replace(plant.places[slot], medium="satellite")
    plant.run(HOUR)
    plant.set("no_data", *hit)
    plant.run(3 * HOUR)
    (alert,) = plant.records.open_alerts()
    assert (alert.scope, alert.value, alert.fallen) == ("medium", "satellite", 16)
    assert {m.member for m in plant.records.members(alert.id)} == set(hit)
    assert "16 villages over satellite: no data since" in plant.sent[0].subject


def test_two_that_fall_at_once_are_two(plant):
    plant.set("no_data", *plant.slots[:2])
    plant.run(HOUR)
    assert plant.said == [("opened", "operator")] * 2


# ---- the own side --------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [INGEST, BROKER])
def test_the_own_side_pages_its_staff_only_and_holds_the_rest(plant, trouble):
    slot, *others = plant.slots
    plant.run(HOUR)
    plant.set("no_data", slot)
    plant.run(10 * MINUTE)
    begin = plant.now
    plant.set("no_data", *others)
    plant.run(2 * HOUR, own={trouble: begin})
    assert plant.said == [("opened", "staff")]
    plant.set("up", *others)
    plant.run(25 * MINUTE)
    assert plant.said == [("opened", "staff"), ("recovered", "staff")]
    # What was down before is alerted once it was down for long enough without that time.
    plant.run(10 * MINUTE)
    assert plant.said[2:] == [("opened", "operator")]
    assert plant.sent[2].subject.endswith("Desa 0: no data since 2026-01-01 13:00 WITA")


def test_all_silent_at_once_is_the_own_side_even_if_it_does_not_know(plant):
    plant.run(HOUR)
    plant.set("no_data", *plant.slots[:11])
    plant.run(HOUR)
    assert plant.said == [("opened", "staff")]
    plant.set("up", *plant.slots[:11])
    plant.run(2 * HOUR)
    assert plant.said == [("opened", "staff"), ("recovered", "staff")]


def test_a_stop_of_this_service_is_no_outage_of_villages(plant):
    plant.run(HOUR)
    plant.set("no_data", *plant.slots[:5])
    plant.now += 5 * HOUR  # the whole machine was off
    plant.start()
    plant.run(25 * MINUTE)
    plant.set("up", *plant.slots[:5])
    plant.run(HOUR)
    assert plant.said == []


# ---- when nothing is sent ------------------------------------------------------------------


def test_late_news_never_page(plant):
    plant.set("no_data", plant.slots[0], since=plant.now - 20 * DAY)
    plant.set("provider", plant.slots[1], since=plant.now - 7 * HOUR)
    plant.run(HOUR)
    plant.set("up", *plant.slots)
    plant.run(HOUR)
    assert plant.sent == []
    assert [a.late for a in plant.records.alerts_since(0)] == [True, True]
    assert plant.records.open_alerts() == []


def test_what_is_silenced_is_alerted_after_it_if_it_is_still_down(plant):
    plant.silenced = {plant.slots[0], plant.slots[5]}
    plant.set("no_data", plant.slots[0], plant.slots[5])
    plant.run(5 * HOUR)
    plant.set("up", plant.slots[5])
    plant.run(HOUR)
    assert plant.sent == []
    plant.silenced = set()
    plant.run(HOUR)
    assert plant.said == [("opened", "operator")]


def test_a_village_is_only_missed_in_its_hours(tmp_path):
    slot = "6403112000-1"
    plant = Plant(tmp_path, count=1)
    plant.places[slot] = AlertPlace(slot, "Desa", hours=(18 * HOUR, 23 * HOUR))
    plant.set("no_data", slot, since=plant.now - 13 * HOUR)
    plant.run(6 * HOUR + 25 * MINUTE)
    assert plant.sent == []
    plant.run(10 * MINUTE)
    assert plant.said == [("opened", "operator")]


# ---- flapping ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 6])
def test_flapping_is_one_alert(plant, count):
    slots = plant.slots[1 : 2 * count : 2]  # of one provider
    for _ in range(8):
        plant.set("no_data", *slots)
        plant.run(40 * MINUTE)
        plant.set("up", *slots)
        plant.run(20 * MINUTE)
    plant.run(4 * HOUR)
    # Three as such, and from then on one until it is stable for three hours.
    assert [what for what, _ in plant.said] == ["opened", "recovered"] * 4
    assert [a.flapping for a in plant.records.alerts_since(0)] == [False] * 3 + [True]
    assert "up and down" in plant.sent[-2].body


def test_short_outages_that_follow_each_other_are_flapping(plant):
    slot = plant.slots[0]

    def changes(now: int) -> list[Change]:
        return [Change(now, slot, now - 10, "dns", "up"), Change(now, slot, now, "up", "dns")]

    plant.run(14 * MINUTE, changes=changes)
    late = Change(1, plant.slots[1], plant.now - DAY, "dns", "up")
    plant.run(14 * MINUTE, changes=lambda now: [late])
    assert [(m.what, m.subject.partition(": ")[2]) for m in plant.sent] == [
        ("opened", "up and down all the time since 2026-01-01 11:59 WITA (flapping)")
    ]


# ---- people --------------------------------------------------------------------------------

TEAMS = """
[teams.head]
steps = [[], ["head"]]
escalate = "2 h"
[teams.berau]
steps = [["duty"]]
duty = ["sari", "budi"]
since = 2025-12-29
places = ["6403"]
[teams.paser]
steps = [["paser"]]
places = ["6401"]
[channels]
head.mail = "head@example.com"
sari.url = "json://localhost/sari"
budi.url = "json://localhost/budi"
paser.url = "json://localhost/paser"
[smtp]
host = "localhost"
sender = "desalink@example.com"
[rules]
no_data.to = ["berau", "paser", "head"]
degraded.after = "10 min"
"""


def test_who_is_on_duty_is_alerted_and_the_head_if_nobody_acknowledges(tmp_path):
    plant = Plant(tmp_path, more=TEAMS)
    for number in (0, 1):
        plant.set("no_data", plant.slots[number * 2], since=plant.now)
        plant.run(HOUR)
        alert = plant.records.open_alerts()[-1]
        if number == 1:
            token = make_token(plant.records, alert.id)
            assert token in plant.sent[-1].body
            with pytest.raises(TokenError):
                read_token(plant.records, token.replace(f"{alert.id}-", f"{alert.id + 1}-"))
            with plant.records.transaction():
                assert plant.records.acknowledge(
                    read_token(plant.records, token), "Sari", plant.now
                )
        plant.run(7 * DAY - HOUR, step=5 * MINUTE)
    sent = [(m.alert_id, m.what, m.channel) for m in plant.sent]
    # The second week is Budi's; what Sari knows of, she is sent again with the head.
    assert sent[0] == (1, "opened", "sari")
    assert {t for t in sent if t[0] == 1 and t[1] != "opened"} == {
        (1, "escalated1", "sari"),
        (1, "escalated1", "head"),
    }
    assert [t for t in sent if t[0] == 2] == [(2, "opened", "budi")]


def test_what_can_wait_is_sent_in_working_hours_if_it_is_not_over_by_then(tmp_path):
    plant = Plant(tmp_path, more=TEAMS)
    friday_evening = NOON + DAY + 8 * HOUR
    plant.now = friday_evening
    plant.set("degraded", *plant.slots[:1], since=plant.now)
    plant.run(HOUR)
    (waiting,) = plant.sent
    assert waiting.due_at == NOON + 4 * DAY - 4 * HOUR  # Monday, 08:00
    plant.set("up", *plant.slots[:1])
    plant.run(HOUR)
    assert [m.state for m in plant.sent] == ["dropped"]


def test_messages_say_what_to_do_and_afterwards_what_it_was_in_both_languages(tmp_path):
    plant = Plant(
        tmp_path,
        more='[teams.more]\nsteps = [["staff"]]\n[rules.no_data]\nto = ["operators", "more"]\n',
    )
    plant.set("no_data", plant.slots[0])
    plant.run(HOUR)
    plant.set("up", plant.slots[0])
    plant.run(HOUR)
    bodies = {(m.what, m.channel): m.body for m in plant.sent}
    english, indonesian = bodies["opened", "operator"], bodies["opened", "staff"]
    assert "Desa 0: no data since 2026-01-01 12:00 WITA." in english
    assert "Call the village: is there power?" in english and "desalink alerts ack 1-" in english
    assert "Desa 0: tidak ada data sejak 2026-01-01 12:00 WITA." in indonesian
    assert "- no power: 2026-01-01 12:00 WITA" in bodies["recovered", "operator"]
    assert "- listrik padam:" in bodies["recovered", "staff"]


def test_conditions_are_one_message_for_all_slots_that_are_new(plant):
    slots = plant.slots
    for found in ({slots[0]: "80 %", slots[1]: "90 %"}, {slots[1]: "91 %"}, {slots[1]: "92 %"}):
        plant.run(MINUTE, found={"journal": found, "certificate": {}})
    plant.run(MINUTE, found={"journal": {}, "certificate": {"The CA's certificate": "9 d: x"}})
    assert [(m.what, m.channel) for m in plant.sent] == [
        ("opened", "operator"),
        ("opened", "staff"),
    ]
    assert "- Desa 1 (6403112001-1): 90 %" in plant.sent[0].body
    assert plant.records.alert(1).closed_at is not None


def test_what_becomes_worse_is_alerted_again_and_recovers_once(plant):
    slot = plant.slots[0]
    plant.set("degraded", slot)
    plant.run(4 * HOUR)
    plant.set("no_data", slot)
    plant.run(HOUR)
    plant.set("up", slot)
    plant.run(HOUR)
    assert [(m.what, m.alert_id) for m in plant.sent if m.state != "dropped"] == [
        *(("opened", 1), ("opened", 2), ("recovered", 2))
    ]
    assert plant.records.alert(1).merged_into == 2


def test_a_device_that_is_taken_out_of_use_ends_its_alert_without_a_message(plant):
    plant.set("no_data", plant.slots[0])
    plant.run(HOUR)
    del plant.places[plant.slots[0]]
    plant.run(HOUR)
    assert [m.what for m in plant.sent] == ["opened"]
    assert plant.records.open_alerts() == []


def test_a_silent_village_keeps_its_conditions(plant):
    slot = plant.slots[0]
    plant.run(MINUTE, found={"voltage": {slot: "11.2 V"}})
    plant.set("no_data", slot)
    plant.run(HOUR, found={"voltage": {}})
    plant.set("up", slot)
    plant.run(MINUTE, found={"voltage": {slot: "11.1 V"}})
    assert [m.what for m in plant.sent if "voltage" in m.subject] == ["opened"]
