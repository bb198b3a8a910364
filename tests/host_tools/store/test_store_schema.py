"""Databases of older versions are opened, and go on where they stopped."""

from pathlib import Path

import pytest

from agent.wire.ids import DOWN_PROVIDER, STATE
from host_tools.derive import Deriver
from host_tools.store import StoreMissing, database, open_database, schema
from host_tools.store.streams import Streams
from host_tools.wire import parse_report
from host_tools.wire.envelope import split
from tests.world.devices import START, Device, ordinary, outage_began
from tests.world.filled import Filled


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_database_keeps_its_evidence_and_is_derived_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
):
    path, device = tmp_path / "db", Device()
    messages = device.reports(3)
    with monkeypatch.context() as before:
        before.setattr(database, "MIGRATIONS", schema.MIGRATIONS[:version])
        with open_database(path, create=True) as db:
            for table in ("samples", "placements", "latest", "intervals"):
                db.execute(f"CREATE TABLE {table} (day INTEGER)")
            db.execute("INSERT INTO slots VALUES (1, ?, ?)", (device.slot, device.village))
            db.execute(
                "INSERT INTO streams VALUES (1, ?, 1, ?, ?, 0, '')",
                (device.kid, device.stream, START),
            )
            for message in messages[:2]:
                report = parse_report(message[split(message)[1] : -66])
                row = (1, report.seq, 1, report.up, report.start, START + 600, message)
                db.execute(
                    "INSERT INTO reports (stream_id, seq, boot, up, start, received_at, message) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
    with pytest.raises(StoreMissing, match="older version"):
        open_database(path, readonly=True)
    filled = Filled(path)
    filled.store(device, messages[2:], received_at=START + 900)
    filled.derive()
    assert filled.intervals() == [(START, START + 900, "up")]
    assert filled.rebuilt() == filled.facts()
    filled.db.close()
    with open_database(path, readonly=True) as again:
        assert again.value("PRAGMA user_version") == len(schema.MIGRATIONS)


def test_what_is_left_to_derive_is_derived_after_a_restart(tmp_path: Path):
    filled, device = Filled(tmp_path / "db"), Device()
    filled.store(device, device.reports(40))
    filled.derive(1)
    whole = filled.facts()
    filled.store(device, device.reports(40))
    filled.deriver.step(1)
    filled.db.close()
    with open_database(tmp_path / "db") as db:
        deriver = Deriver(db, Streams(db))
        while deriver.step():
            pass
        assert deriver.pending() == 0
    again = Filled(tmp_path / "db")
    assert again.facts() != whole and again.intervals() == [(START, START + 80 * 300, "up")]
    again.db.close()


def test_outages_of_an_older_database_are_known_no_longer_than_by_their_evidence(tmp_path: Path):
    path, device = tmp_path / "db", Device()
    filled = Filled(path)
    down = ordinary(5) | {STATE: [DOWN_PROVIDER] * 5}
    messages = [device.report(down, [outage_began(0, DOWN_PROVIDER)] * (not i)) for i in range(40)]
    messages.append(device.report(events=[device.reboot(600)]))
    filled.store(device, [*messages[:1], *messages[39:]], received_at=START + 10**5)
    filled.derive()
    facts = filled.facts()
    assert [state for *_, state in filled.intervals()] == [
        *("provider", "no_data", "provider", "power", "up")
    ]
    # As it was derived before: one outage over all.
    filled.db.execute("UPDATE intervals SET state = 'provider' WHERE state = 'no_data'")
    filled.db.execute("PRAGMA user_version = 10")
    filled.db.close()
    again = Filled(path)
    again.derive()
    assert again.facts() == facts
    again.db.close()


def test_findings_of_an_older_database_are_found_again(tmp_path: Path):
    path, device = tmp_path / "db", Device()
    filled = Filled(path)
    filled.store(device, [device.report(prev=bytes(8) if seq else None) for seq in range(40)])
    filled.derive()
    facts = filled.facts()
    filled.db.execute("DROP TABLE batch_findings")
    filled.db.execute("DROP INDEX findings_resolved")
    filled.db.execute("PRAGMA user_version = 9")
    filled.db.close()
    again = Filled(path)
    again.derive()
    assert again.facts() == facts
    again.db.close()
