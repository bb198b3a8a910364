"""Databases of older versions are opened, and go on where they stopped."""

from pathlib import Path

import pytest

from agent.wire import ids
from host_tools.store import StoreMissing, database, open_database, schema
from tests.host_tools.factory import Device, ordinary
from tests.host_tools.filled import Filled


def test_a_database_from_before_the_agents_own_traffic_takes_it_from_now_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, device = tmp_path / "db", Device()
    with monkeypatch.context() as before:
        before.setattr(database, "MIGRATIONS", schema.MIGRATIONS[:1])
        open_database(path, create=True).close()
    with pytest.raises(StoreMissing, match="older version"):
        open_database(path, readonly=True)
    filled = Filled(path)
    filled.store(device, device.reports(2))
    own = {ids.OWN_MONTH: [70_000] * 5, ids.THROUGHPUT_DOWN: [None, None, 8_200, None, None]}
    filled.store(device, [device.report(ordinary() | own)])
    filled.derive()
    rows = filled.db.all("SELECT own_month, throughput_down FROM samples ORDER BY t")
    assert rows == [(None, None)] * 10 + [
        (70_000, None),
        (70_000, None),
        (70_000, 8_200),
        (70_000, None),
        (70_000, None),
    ]
    assert filled.rebuilt() == filled.facts()
    with open_database(path, readonly=True) as again:
        assert again.value("PRAGMA user_version") == len(schema.MIGRATIONS)
