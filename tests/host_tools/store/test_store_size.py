"""How fast the database grows, by the reports of the last days."""

import pytest

from host_tools.store.archiving import Archiver
from host_tools.store.size import size
from tests.world.devices import START, Device
from tests.world.filled import Filled

DAY_S = 86400


def test_growth_is_that_of_the_last_seven_days(tmp_path):
    filled, device = Filled(tmp_path / "province.db"), Device()
    assert size(filled.db, START).days_left is None
    for day in range(20):
        count = 100 if day < 10 else 20
        filled.store(device, device.reports(count), received_at=START + day * DAY_S)
    found = size(filled.db, START + 20 * DAY_S)
    with filled.db.transaction():
        filled.streams.save_ranges()
    Archiver(filled.db, lambda _: None).archive_older(0, START + 90 * DAY_S)
    archived = size(filled.db, START + 20 * DAY_S)
    filled.db.close()
    assert archived.archive > 0 and archived.bytes >= found.bytes
    assert archived.unused > found.bytes / 4
    assert archived.bytes_per_day < 2 * found.bytes_per_day
    each = found.bytes / (10 * 100 + 10 * 20)
    assert found.bytes_per_day == pytest.approx(20 * each)
    assert found.days_left == pytest.approx(found.free / found.bytes_per_day)
