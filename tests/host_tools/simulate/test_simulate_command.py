"""`desalink simulate`: a province on the disk, over MQTT, and what it says when it can't."""

from __future__ import annotations

import json
from datetime import datetime

from host_tools.ingest import BrokerAddress, Ingest
from host_tools.ingest.keys import RegistryKeys
from host_tools.province.registry import Registry
from host_tools.province.settings import load
from host_tools.simulate.province import PASSPHRASE
from host_tools.simulate.truth import FILE
from host_tools.store import open_database
from host_tools.store.evidence import mark_dirty
from tests.host_tools.conftest import running_broker
from tests.support import free_port
from tests.world.ingesting import Running, wait_for


def test_a_province_is_simulated_marked_as_such_and_compared(desalink, tmp_path):
    directory = tmp_path / "never was"
    made = desalink("simulate", directory, "--villages", 3, "--days", 1, "--begin", "2026-02-01")
    assert made.code == 0, made.err
    province = load(directory)
    assert province.name.startswith("SIMULATED")
    header, *villages = [json.loads(line) for line in (directory / FILE).read_text().splitlines()]
    assert header["begin"] == datetime.fromisoformat("2026-02-01T00:00+08:00").timestamp()
    assert len(villages) == 3
    with Registry.open(directory) as registry:
        assert {device.enrolled_by for device in registry.devices()} == {"desalink simulate"}
    again = desalink("simulate", directory, "--villages", 3, "--days", 1)
    assert again.code == 1 and "is a province already" in again.err
    compared = desalink("simulate", directory, "--compare")
    assert compared.code == 0 and "missed 0, invented 0" in compared.out
    assert desalink("-C", directory, "outages").code == 0
    whole = desalink("-C", directory, "month", "show", "2026-02")
    assert whole.code == 0 and "not derived yet" not in whole.err, whole.err
    with open_database(province.database) as db, db.transaction():
        mark_dirty(db, [(1, 1)])
    lacking = desalink("-C", directory, "month", "show", "2026-02")
    assert lacking.code == 0 and "Reports are not derived yet" in lacking.err
    secret = tmp_path / "secret"
    secret.write_text(PASSPHRASE)
    closing = ("month", "close", "2026-02", "--passphrase-file", secret)
    closed = desalink("-C", directory, *closing)
    assert closed.code == 1 and "not derived yet" in closed.err
    (receipt,) = json.loads(desalink("-C", directory, "evidence", "receipts", "--json").out)
    assert receipt["end"] == header["begin"] + 86_400 and receipt["reports"] > 0
    checked = desalink("-C", directory, "evidence", "check")
    assert checked.code == 0, checked.err


def test_what_cannot_be_simulated_is_said_in_a_sentence(desalink, kaltim, tmp_path):
    many = desalink("simulate", tmp_path / "a", "--villages", 842)
    assert many.code == 1 and "has 841 villages" in many.err
    uneven = desalink("simulate", tmp_path / "a", "--report-every", 301)
    assert uneven.code == 2 and "multiple of 5" in uneven.err
    real = desalink("simulate", kaltim.directory, "--compare")
    assert real.code == 1 and "not a simulated province" in real.err
    assert not (tmp_path / "a").exists()


def test_a_simulated_province_reports_over_mqtt(desalink, tmp_path):
    directory = tmp_path / "over mqtt"
    arguments = ("simulate", directory, "--villages", 4, "--days", 1, "--report-every", 3600)
    arguments += ("--mqtt", "--pace", 100_000, "--broker-port", free_port())
    first = desalink(*arguments)
    assert first.code == 0 and "broker run" in first.out, first.err
    unanswered = desalink(*arguments)
    assert unanswered.code == 1 and "start it with" in unanswered.err
    province = load(directory)
    with running_broker(province):
        address = BrokerAddress("localhost", province.broker.port, province.service("ingest"))
        keys = RegistryKeys(directory)
        ingest = Running(Ingest(province.database, keys, address, log=lambda *_, **__: None))
        try:
            wait_for(lambda: ingest.ingest.figures.connected or ingest.error)
            published = desalink(*arguments)
            assert published.code == 0, published.err
            lines = (directory / FILE).read_text().splitlines()[1:]
            expected = sum(json.loads(line)["reports"] for line in lines)
            assert expected > 20
            wait_for(lambda: ingest.ingest.figures.reports >= expected)
        finally:
            ingest.stop()
    with open_database(province.database, readonly=True) as db:
        assert db.value("SELECT count(*) FROM reports") == expected
    other = desalink(*arguments, "--seed", 2)
    assert other.code == 1 and "made with other options" in other.err
