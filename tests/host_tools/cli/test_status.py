"""What the verbs show: now, outages, usage, quarantine; and the ingest as a process, over TLS."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from agent.wire import ids
from host_tools.broker.client import CheckClient
from host_tools.common.errors import DesalinkError
from host_tools.common.times import DAY_S, WITA_S, iso, parse_since, span
from host_tools.derive import Deriver
from host_tools.ingest.acks import Acks
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.store import lock, open_database, queries
from host_tools.store.quarantine import Quarantine
from host_tools.store.sessions import save_alive, save_sessions
from host_tools.store.streams import Streams
from host_tools.wire import Key
from host_tools.wire.vocabulary import state_name
from tests import support
from tests.host_tools.conftest import PASSPHRASE
from tests.world.devices import (
    Device,
    ordinary,
    outage_began,
    outage_ended,
)
from tests.world.evidencing import signing_registry
from tests.world.ingesting import wait_for

NOW = 1_795_500_000  # 2026-11-24 14:00 WITA


@pytest.fixture
def device() -> Device:
    return Device(now=NOW)


@pytest.fixture
def province(kaltim, device):
    """A province with one enrolled device."""
    with signing_registry(kaltim) as registry:
        registry.enrol(device.slot, device.public_key, board="unix", firmware="0.1.0", by="test")
    return kaltim


def fill(province, device: Device, *messages: bytes, at: int, kind: str = "report") -> None:
    """Store and derive messages that arrive at a time."""
    with open_database(province.database, create=True) as db:
        streams = Streams(db)
        keys = {device.kid: Key(device.public_key, device.slot, True)}
        pipeline = Pipeline(db, streams, Acks(8, 1800), keys)
        pipeline.process([Message(device.topic(kind), m) for m in messages], at, 0)
        deriver = Deriver(db, streams)
        while deriver.step():
            pass


def status(province, now: float) -> queries.SlotStatus:
    with open_database(province.database, readonly=True) as db:
        (slot,) = queries.status(db, now)
    return slot


# ---- now ---------------------------------------------------------------------------------


def test_a_slot_shows_what_its_last_report_told(province, device):
    fill(province, device, device.birth(), at=device.now, kind="birth")
    fill(province, device, *device.reports(3), at=device.now)
    slot = status(province, device.now + 10)
    assert (slot.state, slot.since, slot.fresh) == ("up", NOW, True)
    assert (slot.rtt_ms, slot.loss_percent, slot.clients, slot.journal_fill) == (
        pytest.approx(42.6, abs=3),
        0,
        4,
        1.2,
    )
    assert slot.bytes_today == 1024 * 3 * (5 * 1350 + 20)
    assert (slot.last_report, slot.backlog, slot.gaps) == (device.now, 0, 0)


def test_a_silent_slot_is_never_up(province, device):
    fill(province, device, *device.reports(3), at=device.now)
    assert status(province, device.now + 899).state == "up"
    slot = status(province, device.now + 901)
    assert (slot.state, slot.since, slot.rtt_ms) == ("no_data", device.now, None)


def test_old_reports_that_come_in_late_do_not_make_it_up(province, device):
    messages = device.reports(3)
    fill(province, device, *messages, at=device.now + 86400)
    assert status(province, device.now + 86401).state == "no_data"


def test_a_device_with_a_slower_pace_is_given_its_time(province, device):
    device.step = 900
    fill(province, device, *device.reports(2), at=device.now)
    assert status(province, device.now + 3 * 4500 - 1).state == "up"


def test_a_device_in_quiet_mode_is_given_the_time_of_its_longest_report(province, device):
    birth = device.birth(cadence=[10, 60, 15])
    fill(province, device, birth, at=device.now, kind="birth")
    fill(province, device, *device.reports(2), at=device.now)
    assert status(province, device.now + 3 * 900 - 1).state == "up"
    assert status(province, device.now + 3 * 900 + 1).state == "no_data"


@pytest.mark.parametrize("together", [True, False])
def test_an_old_report_of_a_slower_pace_that_comes_last_makes_no_silence_up(
    province, device, together
):
    device.step = 900
    old = device.report()
    device.step = 60
    new = device.report()
    for batch in ([new, old],) if together else ([new], [old]):
        fill(province, device, *batch, at=device.now)
    assert status(province, device.now + 899).state == "up"
    assert status(province, device.now + 901).state == "no_data"


def test_an_outage_shows_before_its_first_sample_does(province, device):
    fill(province, device, device.report(), at=device.now)
    fill(province, device, device.report({}, [outage_began(-20, 6)]), at=device.now)
    slot = status(province, device.now)
    assert (slot.state, slot.since) == ("dns", device.now - 20)


@pytest.mark.parametrize(
    ("cause", "shown"),
    [(3, "up"), (4, "up"), (5, "up"), (9, "up"), (6, "dns"), (7, "portal"), (8, "tls")],
)
def test_a_birth_ends_what_no_device_could_be_born_in(province, device, cause, shown):
    fill(province, device, device.report(), at=device.now)
    fill(province, device, device.report({}, [outage_began(-20, cause)]), at=device.now)
    assert status(province, device.now).state == state_name(cause)
    device.now += 40
    fill(province, device, device.birth(), at=device.now, kind="birth")
    slot = status(province, device.now + 1)
    assert slot.state == shown
    if shown == "up":
        assert (slot.since, slot.fresh, slot.due) == (device.now, True, device.now + 300)
        # Nothing is said of loss and delay since.
        later = status(province, device.now + 901)
        assert (later.state, later.since) == ("no_data", device.now)


def test_a_village_that_was_silent_is_up_by_its_birth_and_not_by_an_old_one(province, device):
    fill(province, device, *device.reports(3), at=device.now)
    silent_since = device.now
    device.now += 7200
    birth = device.birth()
    fill(province, device, birth, at=device.now + 7200, kind="birth")
    # The broker had kept it for two hours: it says what was then.
    slot = status(province, device.now + 7210)
    assert (slot.state, slot.since) == ("no_data", device.now)
    assert status(province, device.now + 10).state == "up"
    assert status(province, silent_since + 10).state == "up"


def test_a_device_whose_first_message_is_its_birth_is_up(province, device):
    fill(province, device, device.birth(), at=device.now, kind="birth")
    slot = status(province, device.now + 5)
    assert (slot.state, slot.last_report, slot.due) == ("up", None, device.now + 300)


def test_a_report_that_waits_to_be_derived_counts_as_heard(province, device):
    with open_database(province.database, create=True) as db:
        keys = {device.kid: Key(device.public_key, device.slot, True)}
        pipeline = Pipeline(db, Streams(db), Acks(8, 1800), keys)
        pipeline.process([Message(device.topic("report"), device.report())], device.now, 0)
        (slot,) = queries.status(db, device.now + 1)
        assert (slot.state, slot.since, slot.last_report) == ("connected", *[device.now] * 2)
        deriver = Deriver(db, Streams(db))
        while deriver.step():
            pass
        assert queries.status(db, device.now + 1)[0].state == "up"


def test_a_session_alone_is_connected_until_its_first_report_is_due(province, device):
    fill(province, device, *device.reports(3), at=device.now)
    back = device.now + 7200
    with open_database(province.database) as db, db.transaction():
        save_sessions(db, {device.slot: True}, back)
    slot = status(province, back + 10)
    assert (slot.state, slot.since, slot.due, slot.fresh) == ("connected", back, back + 300, False)
    assert status(province, back + 301).state == "no_data"


def test_while_the_province_hears_nothing_each_village_stays_as_it_was(province, device):
    fill(province, device, *device.reports(3), at=device.now)
    last = device.now + 100
    with open_database(province.database) as db, db.transaction():
        save_alive(db, last, connected=True)
        save_alive(db, last + 20, connected=False)
    assert status(province, last + 86400).state == "up"
    # The province hears again. The hour between is not the village's silence.
    with open_database(province.database) as db, db.transaction():
        save_alive(db, last + 3600, connected=True)
        save_alive(db, last + 3620, connected=True)
    assert status(province, last + 3600 + 60).state == "up"
    with open_database(province.database) as db, db.transaction():
        save_alive(db, last + 4500, connected=True)
    assert status(province, last + 4500).state == "no_data"


def test_what_of_ours_is_down_is_told_first_and_states_are_marked_as_old(
    desalink, province, device
):
    now = int(time.time())
    device.now = now - 7200
    device.booted_at = device.now - 60
    fill(province, device, *device.reports(3), at=device.now)
    never = desalink("-C", province.directory, "status", "--check")
    assert never.code == 2 and "The ingest has never run here" in never.out
    assert "The ingest has never run here" in desalink("-C", province.directory, "status").err
    with open_database(province.database) as db, db.transaction():
        save_alive(db, device.now + 20, connected=True)
    ended = desalink("-C", province.directory, "status", "--all")
    assert ended.err.startswith("The ingest has not been running since ")
    assert "\tup (old)\t" in ended.out and "no data" not in ended.out
    (slot,) = json.loads(desalink("-C", province.directory, "status", "--json").out)
    assert (slot["state"], slot["old"]) == ("up", True)
    check = desalink("-C", province.directory, "status", "--check")
    assert check.code == 2 and "not been running since" in check.out


def test_backlog_is_what_is_missing_and_what_was_not_sent_yet(province, device):
    messages = device.reports(10)
    fill(province, device, device.birth(), at=device.now, kind="birth")
    fill(province, device, messages[0], messages[6], at=device.now)
    slot = status(province, device.now)
    assert (slot.gaps, slot.backlog) == (5, 8)


# ---- verbs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb", [["status"], ["outages"], ["usage"], ["quarantine", "list"]], ids=" ".join
)
def test_with_nothing_stored_a_verb_says_what_to_do(desalink, kaltim, province, verb):
    ended = desalink("-C", kaltim.directory, *verb)
    assert ended.code == 0 and "No report has come yet" in ended.err
    with signing_registry(kaltim) as registry:
        registry.revoke(registry.active_devices()[0].kid, by="test")
    ended = desalink("-C", kaltim.directory, *verb)
    assert ended.code == 0 and "desalink enrol" in ended.err


def test_status_in_words_and_as_json(desalink, province, device):
    device.now = int(time.time()) - 900
    device.booted_at = device.now - 60
    fill(province, device, *device.reports(3), at=device.now)
    ended = desalink("-C", province.directory, "status", "--all")
    installed, counts, _, *table = ended.out.splitlines()
    assert installed == "1 of 841 villages are installed, 840 never had a device."
    assert counts == "1 up."
    heading, row = (line.split("\t") for line in table)
    shown = dict(zip(heading, row, strict=True))
    assert (shown["village"], shown["slot"], shown["state"]) == ("Bohe Silian", device.slot, "up")
    assert shown["since"].endswith(" WITA") and shown["RTT"].endswith(" ms")
    (slot,) = json.loads(desalink("-C", province.directory, "status", "--json").out)
    assert slot["state"] == "up" and slot["since"].endswith("+08:00")
    other = desalink("-C", province.directory, "status", "--village", "6403112002")
    assert "no slot." in other.out and "\t" not in other.out


def test_a_device_that_never_reported_is_in_the_list(desalink, province, device):
    ended = desalink("-C", province.directory, "status")
    assert "no data" in ended.out and "never" in ended.out


def test_outages_are_listed_with_cause_begin_end_and_evidence(desalink, province, device):
    down = ordinary() | {ids.STATE: [5] * 5}
    fill(
        province,
        device,
        device.report(down, [outage_began(60, 5)]),
        device.report(events=[outage_ended(30, 5, 270, 2)]),
        device.report(ordinary() | {ids.STATE: [6] * 5}, [outage_began(0, 6)]),
        at=device.now,
    )
    ended = desalink("-C", province.directory, "outages", "--since", "2026-11-24")
    assert (
        "down: provider\t2026-11-24 14:01 WITA\t2026-11-24 14:05 WITA\t4 min 30 s\t2" in ended.out
    )
    assert "down: dns\t2026-11-24 14:10 WITA\t" in ended.out
    day = ("outages", "--since", "2026-11-24")
    first, second = json.loads(desalink("-C", province.directory, *day, "--json").out)
    assert (first["begin"], first["end"]) == (
        "2026-11-24T14:01:00+08:00",
        "2026-11-24T14:05:30+08:00",
    )
    assert first["evidence"][1] == {"rung": "provider", "result": 1}
    assert second["end"] is None
    later = desalink("-C", province.directory, "outages", "--since", "2026-11-25")
    assert "dns" in later.out and "provider" not in later.out


def test_silence_after_the_beginning_of_an_outage_is_not_counted_as_outage(
    desalink, province, device
):
    device.now = int(time.time()) - 300
    device.booted_at = device.now - 60
    down = ordinary() | {ids.STATE: [2] * 5}
    fill(province, device, device.report(down, [outage_began(60, 2)]), at=device.now)

    def shown() -> dict:
        (outage,) = json.loads(desalink("-C", province.directory, "outages", "--json").out)
        return outage

    assert shown()["end"] is shown()["known_until"] is None
    assert shown()["duration_s"] == pytest.approx(240, abs=60)
    assert "\tlasts\t" in desalink("-C", province.directory, "outages").out
    with open_database(province.database, readonly=True) as db:
        (later,) = queries.outages(db, now=device.now + 86400)
        assert (later.end, later.known_until) == (None, device.now)
        assert later.duration(device.now + 86400) == 240
    with open_database(province.database) as db:
        db.execute("UPDATE latest SET received_at = received_at - 86400")
    assert shown()["end"] is None and shown()["known_until"].endswith("+08:00")
    assert shown()["duration_s"] == 240
    assert " WITA ?\t4 min 00 s\t" in desalink("-C", province.directory, "outages").out


def test_times_of_no_calendar_from_an_older_version_are_shown_as_a_question_mark(
    desalink, province, device
):
    fill(province, device, device.report(events=[outage_began(0, 5)]), at=device.now)
    with open_database(province.database) as db:
        for far in (2**53, -(2**53)):
            db.execute("UPDATE outages SET t_begin = ?, t_end = ?", (far, far))
            db.execute("DELETE FROM intervals")
            db.execute("INSERT INTO intervals VALUES (1, ?, ?, 'up')", (far, far))
            db.execute("UPDATE latest SET received_at = ?", (far,))
            db.execute("UPDATE usage_hours SET hour = ?", (far,))
            db.execute("UPDATE usage_days SET day = ?", (far,))
            for verb in ("status --all", "outages", "usage", "usage --by hour", "quarantine list"):
                for more in ([], ["--json"]):
                    ended = desalink("-C", province.directory, *verb.split(), *more)
                    assert ended.code == 0, ended.err
                    within = verb in ("status --all", "outages") and far > 0
                    assert "?" in ended.out or not within


def test_usage_by_day_is_the_sum_of_hours_of_wita(desalink, province, device):
    device.now = NOW + 10 * 3600 - 300  # the last report before midnight
    fill(province, device, *device.reports(2), at=device.now)
    since = ("--since", "2026-11-24")
    days = json.loads(desalink("-C", province.directory, "usage", "--json", *since).out)
    assert [day["begin"][:10] for day in days] == ["2026-11-24", "2026-11-25"]
    assert all(day["bytes_down"] == 1024 * (5 * 1200 + 10) for day in days)
    assert all(day["measured_s"] == 300 for day in days)
    ended = desalink("-C", province.directory, "usage", "--by", "hour", "--since", "2026-11-25")
    assert ended.out.splitlines()[1].startswith("2026-11-25 00:00 WITA\tBohe Silian")


@pytest.mark.parametrize("by", ["day", "hour"])
def test_usage_since_the_middle_of_a_day_or_an_hour_shows_no_part_of_it(province, device, by):
    device.now = NOW - 3 * 3600
    fill(province, device, *device.reports(60), at=device.now)  # five hours of one day
    with open_database(province.database, readonly=True) as db:
        everything = queries.usage(db, by=by)
        assert queries.usage(db, by=by, since=device.now - 0.5) == everything[-1:]
        midnight = NOW - 14 * 3600
        assert queries.usage(db, by=by, since=midnight) == everything
        assert queries.usage(db, by=by, since=midnight + 86400) == []


def test_usage_of_so_many_days_is_of_no_more(desalink, province, device):
    midnight = (int(time.time()) + WITA_S) // DAY_S * DAY_S - WITA_S
    device.now = midnight - 3 * DAY_S
    device.booted_at = device.now - 60
    for _day in range(4):
        fill(province, device, device.report(), at=device.now)
        device.now += DAY_S - 300
    run = ("-C", province.directory, "usage", "--json", "--since")
    begins = [row["begin"] for row in json.loads(desalink(*run, "2d").out)]
    assert begins == [iso(midnight - DAY_S), iso(midnight)]
    (summed,) = json.loads(desalink(*run, "2d", "--by", "village").out)
    assert summed["measured_s"] == 600


def test_an_outage_of_which_only_the_beginning_is_known_has_no_length():
    outage = queries.Outage(*[0] * len(queries.Outage._fields))._replace(
        begin=1000, end=1000, interrupted=True, known_until=None
    )
    assert outage.known_duration(5000) is None
    assert span(outage.known_duration(5000)) == "-"
    assert outage._replace(end=1060).known_duration(5000) == 60
    assert outage._replace(end=None, interrupted=False).known_duration(5000) == 4000


def test_what_was_not_measured_today_is_not_nothing(province, device):
    quiet = ordinary()
    del quiet[ids.BYTES_DOWN], quiet[ids.BYTES_UP]
    fill(province, device, device.report(quiet), at=device.now)
    assert status(province, device.now).bytes_today is None
    half = ordinary() | {ids.BYTES_DOWN: [None] * 5}
    fill(province, device, device.report(half), at=device.now)
    assert status(province, device.now).bytes_today == sum(half[ids.BYTES_UP])


def test_quarantine_tells_reasons_places_and_what_to_do(desalink, province, device):
    stranger = Device(slot="6403112002-1", seed=7)
    fill(province, device, device.reports(3)[2], b"noise", at=NOW + 900)
    with open_database(province.database) as db:
        Pipeline(db, Streams(db), Acks(8, 1800), {}).process(
            [Message(stranger.topic("report"), stranger.report())], NOW, 0
        )
    lines = desalink("-C", province.directory, "quarantine", "list").out.splitlines()
    rows = {line.split("\t")[1]: line.split("\t") for line in lines[1:]}
    assert set(rows) == {"malformed", "unknown_key", "gap"}
    assert rows["unknown_key"][2:4] == ["Payung-Payung", stranger.kid.hex()]
    assert rows["gap"][5] == "reports 1 to 2, 2 missing"
    assert all(row[4].endswith("WITA") and row[6] for row in rows.values())
    shown = desalink("-C", province.directory, "quarantine", "show", rows["malformed"][0])
    assert b"noise".hex() in shown.out
    found = desalink("-C", province.directory, "quarantine", "show", rows["gap"][0], "--json")
    assert json.loads(found.out)["missing"] == 2
    assert desalink("-C", province.directory, "quarantine", "show", "F99").code == 1
    assert desalink("-C", province.directory, "quarantine", "list", "--reason", "x").code == 1


def test_quarantine_retry_without_an_ingest_does_it_itself(desalink, province, device):
    with open_database(province.database, create=True) as db:
        Pipeline(db, Streams(db), Acks(8, 1800), {}).process(
            [Message(device.topic("report"), m) for m in device.reports(2)], NOW, 0
        )
    ended = desalink("-C", province.directory, "quarantine", "retry")
    assert ended.out == "2 reports and 0 births were stored; 0 messages stay in quarantine.\n"


def test_what_was_seen_is_dismissed_and_emptied_with_a_note(desalink, province, device):
    def run(*words: object) -> str:
        ended = desalink("-C", province.directory, "quarantine", *words)
        assert ended.code == 0, ended.err
        return ended.out

    def listed(*words: object) -> int:
        return len(json.loads(run("list", "--json", *words)))

    fill(province, device, device.report(), device.report(step=0), b"noise", b"more", at=NOW)
    assert listed() == 3
    assert run("empty", "--because", "too early") == "0 messages were deleted.\n"
    assert run("dismiss", 2, "--because", "a test") == "1 messages were dismissed.\n"
    assert (listed(), listed("--all")) == (2, 3)
    assert run("dismiss", "--reason", "malformed", "--because", "seen") == (
        "2 messages were dismissed.\n"
    )
    # The report with a bad content counts as stored: its device holds it no longer.
    assert run("empty", "--because", "full") == "2 messages were deleted.\n"
    assert (listed(), listed("--all")) == (0, 1)
    with open_database(province.database, readonly=True) as db:
        notes = [(what, why, count) for _, what, _, why, count in Quarantine(db).notes()]
    assert notes == [("dismiss", "a test", 1), ("dismiss", "seen", 2), ("empty", "full", 2)]
    refused = desalink("-C", province.directory, "quarantine", "dismiss", "--because", "x")
    assert refused.code == 1 and "--village or --reason" in refused.err
    refused = desalink("-C", province.directory, "quarantine", "empty", "--because", " ")
    assert refused.code == 1 and "--because" in refused.err


def test_since_takes_spans_and_dates():
    assert parse_since("2026-11-24 14:00") == NOW
    assert parse_since("2026-11-24T06:00:00+00:00") == NOW
    assert time.time() - parse_since("2h") == pytest.approx(7200, abs=5)
    with pytest.raises(DesalinkError):
        parse_since("yesterday")


def test_everything_derived_can_be_made_again(desalink, province, device, broker):
    fill(province, device, *device.reports(3), at=device.now)
    with open_database(province.database) as db, db.transaction():
        db.execute("DELETE FROM intervals")
        db.execute("DELETE FROM usage_hours")
    ended = desalink("-C", province.directory, "ingest", "--rebuild", "--until-idle", "0")
    assert ended.code == 0 and "3 reports derived again." in ended.err
    with open_database(province.database, readonly=True) as db:
        assert [i.state for i in queries.intervals(db, device.slot)] == ["up"]
        assert [u.measured_s for u in queries.usage(db)] == [900]


def test_everything_derived_can_be_made_again_beside_a_running_ingest(desalink, province, device):
    fill(province, device, *device.reports(3), at=device.now)
    with lock(province.database):
        ended = desalink("-C", province.directory, "ingest", "--rebuild")
    assert ended.code == 0 and "continues with it" in ended.err


def test_an_ingest_without_its_certificate_says_so(desalink, province):
    province.service("ingest").certificate.unlink()
    ended = desalink("-C", province.directory, "ingest", "--until-idle", "0")
    assert ended.code == 1 and "ingest.crt" in ended.err


# ---- the ingest as a process -------------------------------------------------------------


def test_the_ingest_serves_a_province_over_tls_and_drains_on_sigterm(
    desalink, province, device, authority, broker, tmp_path
):
    from host_tools.broker.client import temporary_identity

    start = "import sys; from host_tools.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", start, "-C", str(province.directory), "ingest"]
    with (tmp_path / "ingest.log").open("wb") as log:
        ingest = subprocess.Popen(command, stderr=log, cwd=support.ROOT)
    said = (tmp_path / "ingest.log").read_text
    try:
        wait_for(lambda: " connected" in said() or ingest.poll() is not None)
        device.now = int(time.time()) - 1500
        device.booted_at = device.now - 60
        issued = authority.issue_client(device.slot)
        with temporary_identity(province.ca_certificate, issued) as tls:
            client = CheckClient(province.broker.local_host, province.broker.port, tls)
            client.subscribe(device.topic("ack"))
            for message in device.reports(4):
                client.publish(device.topic("report"), message)

            def stored() -> bool:
                ended = desalink("-C", province.directory, "status", "--json")
                slots = json.loads(ended.out)
                return bool(slots) and slots[0]["state"] == "up"

            wait_for(stored)
            ingest.send_signal(signal.SIGTERM)
            assert ingest.wait(support.PATIENCE_S) == 0
            client.messages.get(timeout=support.PATIENCE_S)
            client.close()
    finally:
        ingest.kill()
        ingest.wait()
    assert " stopped reports=4" in said() and PASSPHRASE not in said()
    assert os.stat(province.database).st_mode & 0o077 == 0


@pytest.mark.parametrize("verb", ["status", "outages", "usage"])
def test_a_village_without_a_device_is_told_as_one(desalink, province, device, verb):
    fill(province, device, *device.reports(1), at=device.now)
    ended = desalink("-C", province.directory, verb, "--village", "Payung-Payung")
    assert ended.code == 0
    assert "No device of Payung-Payung (6403112" in ended.err
    assert "desalink enrol --village 6403112" in ended.err


def test_part_of_a_village_s_name_is_answered_with_the_whole(desalink, province):
    ended = desalink("-C", province.directory, "status", "--village", "Payung")
    assert ended.code == 1 and "did you mean 6403112" in ended.err
    assert "Payung-Payung" in ended.err


def test_until_idle_ends_without_a_broker_too(desalink, province, device):
    fill(province, device, *device.reports(3), at=device.now)
    with open_database(province.database) as db, db.transaction():
        db.execute("DELETE FROM intervals")
    ended = desalink("-C", province.directory, "ingest", "--rebuild", "--until-idle", "0.2")
    assert ended.code == 0  # what was asked for first is done
    last = ended.err.splitlines()[-1]
    assert last.startswith("Ended after 0.2 s without a broker: The broker at ")
    assert "(Connection refused)" in last and "broker run" in last
    with open_database(province.database, readonly=True) as db:
        assert [i.state for i in queries.intervals(db, device.slot)] == ["up"]
