"""`desalink alerts`: the service from reports to a web hook, over kills; and the other verbs."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.wire import ids
from host_tools.alerts.digest import queue_digest
from host_tools.alerts.places import places_of
from host_tools.alerts.records import LAST_RUN, open_records
from host_tools.alerts.service import AlertService
from host_tools.alerts.settings import AlertSettingsError, load_settings
from host_tools.alerts.view import BROKER, INGEST, conditions, endings, own_troubles
from host_tools.common.times import DAY_S
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.store import open_database
from host_tools.store.sessions import save_alive
from tests.host_tools.alerts.test_outbox import Hook
from tests.host_tools.cli.test_cli import COMMAND, environment
from tests.host_tools.conftest import Run
from tests.world.devices import Device, ordinary
from tests.world.evidencing import receipts_until, signing_registry
from tests.world.filled import Filled
from tests.world.ingesting import wait_for

SLOTS = ("6403112001-1", "6403112002-1")


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def reported(kaltim: Province, hook: Hook) -> Province:
    """Two villages that have reported for two hours; the second has been silent for one."""
    now = int(time.time())
    filled = Filled(kaltim.database)
    with signing_registry(kaltim) as registry:
        for number, slot in enumerate(SLOTS):
            device = Device(slot, seed=number + 1, now=now - 7200)
            registry.enrol(slot, device.public_key, board="esp32-c3", firmware="1", by="test")
            for _ in range(24 - 12 * number):
                metrics = ordinary() | {ids.VOLTAGE: [1100] * 5, ids.JOURNAL_FILL: [800] * 5}
                filled.store(device, [device.report(metrics)], received_at=device.now)
    while filled.deriver.step():
        pass
    with filled.db.transaction():
        save_alive(filled.db, now, connected=True)
    receipts_until(filled, kaltim, now)
    filled.db.close()
    (kaltim.directory / "alerts.toml").write_text(f"""
[teams.operators]
steps = [["hook"]]
digest = true
[teams.staff]
steps = [["hook"]]
[channels.hook]
url = "json://127.0.0.1:{hook.server_port}/"
language = "en"
[rules]
own.off = true
certificate.off = true
voltage.send = "always"
journal.send = "always"
""")
    return kaltim


def start(province: Province) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "-C", str(province.directory), "alerts", "run"],
        env=environment(),
        stderr=subprocess.PIPE,
    )


def titles(hook: Hook) -> list[str]:
    """Of alerts: on a Monday the digest is posted as well."""
    found = [body["title"].partition("] ")[2].partition(" since")[0] for _, body in hook.posts]
    return sorted(title for title in found if not title.startswith("The week"))


def test_the_service_alerts_once_over_a_kill_and_a_hook_that_was_down(
    reported: Province, hook: Hook, desalink: Run
):
    hook.status = 503
    service = start(reported)
    with open_records(reported.directory) as records:
        # Once it is noted that nobody took it, nothing is under way.
        wait_for(lambda: any(m.error for m in records.messages()))
    service.send_signal(signal.SIGKILL)
    service.wait()
    hook.status = 200
    with open_records(reported.directory) as records:
        for message in records.messages():
            records.not_sent(message.id, "", time.time())  # it need not wait any longer
    service = start(reported)
    try:
        wait_for(lambda: len(titles(hook)) == 3, 120)
        second = desalink("-C", reported.directory, "alerts", "run")
        assert second.code == 75 and "already watches" in second.err
    finally:
        service.send_signal(signal.SIGTERM)
        _, said = service.communicate(timeout=60)
    assert service.returncode == 0 and b"Traceback" not in said
    assert titles(hook) == [
        "1 village: supply voltage is low",
        "1 village: the device's journal is filling",
        "Payung-Payung: no data",
    ]
    listed = desalink("-C", reported.directory, "alerts", "list", "--json")
    alerts = {alert["rule"]: alert for alert in json.loads(listed.out)}
    assert alerts["no_data"]["members"][0]["member"] == SLOTS[1]
    assert alerts["voltage"]["members"][0]["detail"] == "11.00 V"

    (body,) = [body["message"] for _, body in hook.posts if "no data" in body["title"]]
    token = body.rpartition("desalink alerts ack ")[2].strip()
    ack = desalink("-C", reported.directory, "alerts", "ack", token, "--by", "Sari")
    assert ack.out == f"Alert {alerts['no_data']['id']} is acknowledged.\n"
    again = desalink("-C", reported.directory, "alerts", "ack", token)
    assert "Sari has acknowledged" in again.out
    forged = desalink("-C", reported.directory, "alerts", "ack", f"{token[:-1]}0")
    assert forged.code == 1 and "no token of an alert" in forged.err
    shown = desalink("-C", reported.directory, "alerts", "list").out
    assert "Payung-Payung: no data" in shown and "acknowledged by Sari" in shown
    messages = desalink("-C", reported.directory, "alerts", "list", "--messages").out
    assert messages.count("sent") >= 3


def test_a_channel_is_tried_and_the_digest_is_sent_once(
    reported: Province, hook: Hook, desalink: Run
):
    ended = desalink("-C", reported.directory, "alerts", "test", "hook")
    assert (ended.code, ended.out) == (0, "Taken. See that it has arrived.\n")
    assert hook.posts[0][1]["title"] == "[Desalink] Test"
    hook.status = 500
    ended = desalink("-C", reported.directory, "alerts", "test", "hook")
    assert ended.code == 1 and "hook" not in ended.out and "500" in ended.err
    unknown = desalink("-C", reported.directory, "alerts", "test", "fax")
    assert unknown.code == 1 and "no channel 'fax' (there are: hook)" in unknown.err
    silenced = desalink(
        *("-C", reported.directory, "alerts", "silence", "village", "Bohe Silian"),
        *("--for", "2d", "--why", "dish is moved"),
    )
    assert silenced.out.startswith("Nothing is sent until ")
    digest = desalink("-C", reported.directory, "alerts", "digest")
    assert "0 alerts since" in digest.out and "dish is moved" in digest.out
    assert "hook: [Desalink] Test (" in digest.out
    monday = 1_795_996_800 - 8 * 3600 + 9 * 3600  # 2026-11-30 09:00 WITA
    with open_records(reported.directory) as records:
        settings = load_settings(reported.directory)
        assert [queue_digest(settings, records, {}, monday + s) for s in (0, 20, 6 * DAY_S)] == [
            *(1, 0, 0)
        ]
        assert records.messages()[0].name == "digest.2026-W49.hook"


def test_conditions_are_read_from_the_province(reported: Province, tmp_path: Path):
    settings = load_settings(reported.directory)
    with (
        Registry.open(reported.directory) as registry,
        open_database(reported.database, readonly=True) as database,
    ):
        now = time.time()
        found = conditions(database, settings, now)
        assert found["voltage"] == {SLOTS[0]: "11.00 V"}
        assert found["journal"] == {SLOTS[0]: "80 %"}
        assert (found["unused"], found["disk"]) == ({}, {})
        settings = load_settings(tmp_path)
        soon = endings(reported, registry, database, settings, now + 9000 * DAY_S)
        assert "The certificate of the service ingest" in soon["certificate"]
        assert own_troubles(database, now, 180) == {}
        assert list(own_troubles(database, now + 300, 180)) == [INGEST]
        place = places_of(registry, settings, now)[SLOTS[0]]
        assert (place.label, place.district) == ("Bohe Silian", "Maratua")


def test_alerts_that_do_not_run_are_noticed(reported: Province, desalink: Run):
    def said() -> tuple[int, str]:
        ended = desalink("-C", reported.directory, "status", "--check")
        return ended.code, ended.out

    assert "The alerts have never run, and alerts.toml is there." in said()[1]
    later = int(time.time()) + DAY_S  # however slow this machine is
    with open_database(reported.database) as database, database.transaction():
        save_alive(database, later, connected=True)
    with open_records(reported.directory) as records:
        for at, dead in ((later, False), (later - 2 * DAY_S, True)):
            with records.transaction():
                records.set_meta(LAST_RUN, at)
            code, text = said()
            assert ("The alerts have not been running since" in text) == dead
            assert code == 2 or not dead
    # A province that wants no alerts has no alerts.toml.
    (reported.directory / "alerts.toml").unlink()
    assert "alerts" not in said()[1]


def test_alerts_that_nobody_is_sent_are_noticed(reported: Province):
    (reported.directory / "alerts.toml").unlink()
    logged: list[str] = []

    def log(event: str, **fields: object) -> None:
        logged.append(f"{event} {fields.get('error')}")
        service.stop()

    service = AlertService(reported, log)
    service.run()
    assert any(line.startswith("no_teams Nobody is sent an alert;") for line in logged)


def test_an_ingest_without_its_broker_is_noticed(reported: Province):
    now = int(time.time())
    with open_database(reported.database) as database:
        with database.transaction():
            save_alive(database, now + 300, connected=False)
        assert list(own_troubles(database, now + 301, 180)) == [BROKER]


@pytest.mark.parametrize(
    "text, said",
    [
        ("rules.no_data.after = 5", "rules.no_data.after: expected a length of time"),
        ("rules.mine.when = 'state'", "rules.mine.to is missing"),
        ("rules.site.states = ['dns']", "dns is also in rules.provider"),
        ("teams.operators.steps = [['fax']]", "no channel 'fax'"),
        ("channels.a.mail = 'a@b.c'", r"channels.a: e-mail needs a section \[smtp\]"),
        ("channels.a.language = 'id'", "give one of mail, url, url_file and hook"),
        ("channels.a.hook = 'https://a.b/c'", "hook and secret_file belong together"),
        ("channels.a = {hook = 'ftp://a.b', secret_file = 's'}", "an address such as https://"),
        ("hours.6403112001 = 'evening'", "hours.6403112001: expected hours"),
        ("rule = 1", "rule: no such key"),
        ("link = 'https://x'", r"holds \{token\}"),
        ("[rules", "can't be understood"),
    ],
)
def test_a_mistake_in_the_settings_is_named(tmp_path: Path, text: str, said: str):
    (tmp_path / "alerts.toml").write_text(text)
    with pytest.raises(AlertSettingsError, match=said):
        load_settings(tmp_path)
