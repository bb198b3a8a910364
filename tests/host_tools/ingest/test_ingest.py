"""The ingest against a real Mosquitto: nothing lost, nothing double, whatever dies."""

import contextlib
import json
import os
import queue
import shutil
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator

import cbor2
import pytest

from host_tools.derive import Deriver, rebuild
from host_tools.ingest.keys import RegistryKeys
from host_tools.ingest.receipting import ProvinceReceipts, last_midnight
from host_tools.province.registry import Registry, Village
from host_tools.store import StoreBusy, StoreLocked, StoreReplaced, open_database, queries
from host_tools.store.archiving import Archiver
from host_tools.store.sessions import liveness, sessions
from host_tools.wire import Key
from tests import support
from tests.support import PATIENCE_S
from tests.world.devices import Device
from tests.world.ingesting import BROKER_LINES, Setting, client, wait_for


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def setting(tmp_path, device):
    with support.start_mosquitto(tmp_path / "broker", BROKER_LINES) as broker:
        yield Setting(tmp_path, broker, device)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("host_tools.ingest.service._PATIENCE_S", 0.1)


def acks(device: Device, listener) -> "queue.Queue[tuple[bool, dict]]":
    """What a device hears: (retained, ack)."""
    heard: queue.Queue[tuple[bool, dict]] = queue.Queue()
    listener.on_message = lambda _c, _u, m: heard.put((m.retain, cbor2.loads(m.payload)))
    listener.subscribe(device.topic("ack"), 1)
    return heard


def until(heard: "queue.Queue[tuple[bool, dict]]", stored: int) -> dict:
    """The next ack for so many reports, in order and without a hole."""
    while (ack := heard.get(timeout=PATIENCE_S)[1])[2] != stored:
        pass
    return ack


def test_what_is_published_is_stored_and_acknowledged(setting, device):
    with setting.running() as running, client(setting.broker.port) as listener:
        heard = acks(device, listener)
        setting.publish(device, device.birth(), kind="birth")
        assert heard.get(timeout=PATIENCE_S)[1].get(5) == [1, 1]
        setting.publish(device, *device.reports(24))
        ack = until(heard, 24)
        assert ack[1] == device.stream and 3 not in ack
        setting.publish(device, *device.reports(3))
        measured = "SELECT sum(measured_s) FROM usage_hours"
        wait_for(lambda: setting.all(measured) == [(27 * 5 * 60,)])
        running.ingest.stop()
        # As it stops it acknowledges what was not due yet.
        until(heard, 27)
    assert setting.seqs() == list(range(1, 28))


def test_what_came_while_it_was_away_waits_for_it(setting, device):
    setting.subscribed()
    setting.publish(device, device.birth(), kind="birth")
    setting.publish(device, *device.reports(300))
    ingest = setting.drain(300)
    assert setting.seqs() == list(range(1, 301))
    assert (ingest.figures.duplicates, ingest.figures.derive_pending) == (0, 0)


def test_it_closes_the_receipt_of_a_day_that_is_over(setting, device, kaltim):
    midnight = last_midnight(device.now)
    moment = [midnight - 100]
    source = ProvinceReceipts(kaltim)

    def run() -> None:
        setting.drain(device.seq, clock=lambda: moment[0], receipts=source)

    run()
    setting.publish(device, *device.reports(3))
    run()
    moment[0] = midnight + 59
    setting.publish(device, *device.reports(2))
    run()
    closed = [fields for event, fields in setting.lines if event == "receipt"]
    assert closed == [{"number": 0, "reports": 0}]
    moment[0] += 1
    run()
    closed = [fields for event, fields in setting.lines if event == "receipt"]
    assert closed[1:] == [{"number": 1, "reports": 3}]
    kaltim.receipt_key.unlink()
    moment[0] += 2 * 86_400
    run()
    assert setting.said("receipts_off")
    assert setting.all("SELECT count(*) FROM receipts") == [(2,)]


def test_a_running_ingest_makes_a_receipt_at_once_when_it_is_asked_for_one(
    setting, device, kaltim, desalink
):
    setting.database = kaltim.database
    with setting.running(receipts=ProvinceReceipts(kaltim)):
        setting.publish(device, *device.reports(3))
        wait_for(lambda: len(setting.seqs()) == 3)
        ended = desalink("-C", kaltim.directory, "evidence", "receipts", "--now", "--json")
    assert ended.code == 0, ended.err
    assert sum(receipt["reports"] for receipt in json.loads(ended.out)) == 3
    kaltim.receipt_key.unlink()
    ended = desalink("-C", kaltim.directory, "evidence", "receipts", "--now")
    assert ended.code == 1 and "desalink evidence begin" in ended.err


def test_months_are_archived_beside_a_running_ingest(setting, device):
    messages = device.reports(400)
    later = time.time() + 60 * 86_400
    with setting.running() as running:
        setting.publish(device, *messages[:200])
        wait_for(lambda: len(setting.seqs()) == 200)
        running.ingest.stop()  # saves which reports are stored
    with setting.running(), open_database(setting.database) as db:
        publishing = threading.Thread(
            target=setting.publish, args=(device, *messages[200:], *messages[:50])
        )
        publishing.start()
        moved = Archiver(db, lambda _: None, 40).archive_older(0, later)
        publishing.join()
        assert moved.reports >= 199 and moved.files >= 5
        wait_for(lambda: setting.all("SELECT sum(duplicates) FROM streams") == [(50,)])
        stored = queries.stored(db, device.slot)
    assert stored == {device.stream: dict(enumerate(messages, 1))}


def test_a_broker_that_dies_is_found_again(setting, device):
    with setting.running():
        setting.publish(device, *device.reports(5))
        wait_for(lambda: len(setting.seqs()) == 5)
        setting.broker.kill9()
        wait_for(lambda: setting.said("broker_unreachable"))
        setting.broker.start()
        wait_for(lambda: sum(event == "connected" for event, _ in setting.lines) >= 2)
        setting.publish(device, *device.reports(5))
        wait_for(lambda: len(setting.seqs()) == 10)


def test_a_database_from_a_backup_makes_the_devices_send_again(setting, device, tmp_path):
    messages = device.reports(20)
    with setting.running():
        setting.publish(device, device.birth(), kind="birth")
        setting.publish(device, *messages[:10])
        wait_for(lambda: len(setting.seqs()) == 10)
    shutil.copy(setting.database, tmp_path / "backup.db")
    with setting.running():
        setting.publish(device, *messages[10:])
        wait_for(lambda: len(setting.seqs()) == 20)
    shutil.copy(tmp_path / "backup.db", setting.database)
    with client(setting.broker.port) as listener:
        heard = acks(device, listener)
        until(heard, 20)
        with setting.running():
            # The retained birth is answered with what is there now.
            until(heard, 10)
            setting.publish(device, *messages[10:])
            wait_for(lambda: len(setting.seqs()) == 20)
    assert setting.all("SELECT sum(duplicates) FROM streams") == [(0,)]


@contextlib.contextmanager
def held(setting: Setting, device: Device) -> Iterator[None]:
    """One report is stored; then another program holds the database."""
    setting.publish(device, device.report())
    wait_for(lambda: setting.seqs() == [1])
    with contextlib.closing(
        sqlite3.connect(setting.database, isolation_level=None, timeout=PATIENCE_S)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def test_while_the_database_is_held_nothing_is_confirmed_and_nothing_lost(
    setting, device, impatient
):
    with setting.running() as running:
        with held(setting, device):
            setting.publish(device, *device.reports(5))
            wait_for(lambda: setting.said("store_failed"))
            assert setting.seqs() == [1]
        wait_for(lambda: len(setting.seqs()) == 6)
        assert running.ingest.figures.store_failures > 0
    assert setting.said("store_recovered")


def test_a_database_that_stays_held_ends_it_with_a_sentence(setting, device, impatient):
    with setting.running(give_up_s=0.1) as running:
        with held(setting, device):
            setting.publish(device, device.report())
            running.join()
        assert isinstance(running.error, StoreBusy) and running.error.exit_code == 75
        running.error = None
    with setting.running():
        wait_for(lambda: setting.seqs() == [1, 2])


def test_a_database_that_is_replaced_under_it_ends_it(setting, device, tmp_path):
    with setting.running() as running:
        setting.publish(device, device.report())
        wait_for(lambda: setting.seqs() == [1])
        shutil.copy(setting.database, tmp_path / "other.db")
        os.replace(tmp_path / "other.db", setting.database)
        running.join()
        assert isinstance(running.error, StoreReplaced)
        running.error = None


def test_an_enrolment_brings_in_what_has_waited_for_it(setting):
    late = Device(slot="6403112002-1", seed=2)
    with setting.running():
        setting.publish(late, *late.reports(3))
        wait_for(lambda: setting.all("SELECT count(*) FROM quarantine") == [(3,)])
        setting.keys.add(late)
        wait_for(lambda: setting.seqs() == [1, 2, 3])
    assert setting.all("SELECT count(*) FROM quarantine") == [(0,)]


def test_its_figures_are_served_and_a_second_one_refuses(setting, device):
    port = support.free_port()

    def shown() -> bytes:
        address = f"http://127.0.0.1:{port}/metrics"
        return bytes(urllib.request.urlopen(address, timeout=PATIENCE_S).read())

    with setting.running(metrics_port=port):
        setting.publish(device, device.report(), b"noise")
        wait_for(lambda: setting.seqs() == [1])
        wait_for(lambda: b'refused_total{reason="malformed"} 1.0' in shown())
        page = shown()
        with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
            setting.ingest().run()
    assert b"desalink_ingest_reports_total 1.0" in page
    for name in (b"database_bytes", b"archive_bytes", b"disk_free_bytes", b"disk_days_left"):
        assert b"\ndesalink_ingest_%s " % name in page


def test_a_registry_that_is_replaced_is_read_anew(kaltim, tmp_path):
    device = Device()
    keys = RegistryKeys(kaltim.directory)
    before = keys.version()
    assert keys.version() == before and keys.load() == {}
    backup = tmp_path / "backup"
    backup.mkdir()
    Registry.create(backup, [Village(device.village, "a", "b", "c")]).close()
    with Registry.open(backup) as registry:
        registry.enrol(device.slot, device.public_key, board="unix", firmware="1", by="ani")
    os.replace(backup / "registry.db", kaltim.directory / "registry.db")
    assert keys.version() >> 32 == (before >> 32) + 1
    assert keys.load() == {device.kid: Key(device.public_key, device.slot, True)}
    keys.close()


def test_the_broker_s_word_of_sessions_is_kept_as_a_hint(setting, device):
    stranger = Device(slot="6403112002-1", seed=9)

    def known() -> dict:
        with open_database(setting.database, readonly=True) as db:
            return {slot: session.online for slot, session in sessions(db).items()}

    with setting.running():
        setting.publish(device, b"online", kind="state")
        setting.publish(stranger, b"online", b"offline", b"\xff" * 9000, kind="state")
        wait_for(lambda: known() == {device.slot: True, stranger.slot: False})
        setting.publish(device, b"offline", kind="state")
        wait_for(lambda: known() == {device.slot: False, stranger.slot: False})
        with open_database(setting.database, readonly=True) as db:
            assert time.time() - liveness(db).broker < 60
    assert setting.all("SELECT * FROM quarantine") == []
    assert setting.all("SELECT * FROM slots") == []


def test_it_does_not_end_before_what_came_meanwhile_is_read(setting, device, monkeypatch):
    setting.subscribed()
    setting.publish(device, device.report())
    step = Deriver.step

    def slow(self, *limits):
        monkeypatch.setattr(Deriver, "step", step)
        setting.publish(device, *device.reports(3))
        time.sleep(0.2)
        return step(self, *limits)

    monkeypatch.setattr(Deriver, "step", slow)
    setting.ingest(until_idle_s=0.1).run()
    assert setting.seqs() == [1, 2, 3, 4]


def test_a_running_ingest_asks_again_for_what_a_rebuild_finds_corrupt(setting, device):
    messages = device.reports(5)
    measured = "SELECT sum(measured_s) FROM usage_hours"
    with setting.running(), client(setting.broker.port) as listener:
        heard = acks(device, listener)
        setting.publish(device, *messages)
        wait_for(lambda: setting.all(measured) == [(25 * 60,)])
        with open_database(setting.database) as db:
            for seq in (3, 5):
                with db.transaction():
                    db.execute("UPDATE reports SET up = up + 1 WHERE seq = ?", (seq,))
            rebuild(db, setting.keys.load())
        ack = heard.get(timeout=PATIENCE_S)[1]
        while (ack[2], ack.get(3)) != (2, [[4, 4]]):
            ack = heard.get(timeout=PATIENCE_S)[1]
        setting.publish(device, messages[2], messages[4])
        wait_for(lambda: setting.all(measured) == [(25 * 60,)])
    assert setting.seqs() == [1, 2, 3, 4, 5]
    assert setting.all("SELECT count(*) FROM corrupt") == [(0,)]
