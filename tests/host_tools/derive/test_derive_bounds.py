"""Whatever one device reports, a step of the derivation is short and the others get their turn."""

from contextlib import contextmanager

import pytest

from agent.wire import ids
from host_tools.derive.readings import Readings
from host_tools.store import Database, queries
from tests.host_tools.derive.test_reference import shown, verify
from tests.world.devices import START, Device, dropped, outage_began, outage_ended
from tests.world.filled import Filled

DAY_S = 86400
# Rows read and written in a transaction, and readings painted: of either, Python works on more
# than 100,000 a second.
MOST_ROWS = 20_000


def wide(device: Device):
    """Reports of 60 days each, all of the same time."""
    for _ in range(60):
        values = {ids.STATE: [ids.UP] * 60, ids.BYTES_DOWN: [1024] * 60}
        yield device.report(values, start=START - 61 * DAY_S, up=9 * DAY_S, step=DAY_S)


def events(device: Device):
    """Hundreds of outages in each report, none of which ends."""
    for _ in range(24):
        yield device.report({ids.STATE: [5] * 5}, [outage_began(k, 5) for k in range(220)])


def boots(device: Device):
    """Runs of a minute, each with an outage whose end is not reported; then the time is known."""
    for _ in range(200):
        booted = device.reboot(60)
        yield device.report({ids.STATE: [5] * 2}, [booted, outage_began(1, 5)], start=None)
    yield device.report()


def moved(device: Device):
    """Reports without a clock, which each of a few with one places elsewhere."""
    device.clock = False
    made = [device.report({ids.STATE: [5]}, [outage_began(1, 5)]) for _ in range(200)]
    device.clock = True
    yield from made
    for number in range(5):
        yield device.report(start=device.now - number * 7)


def losses(device: Device):
    """Hundreds of ranges in each report that the device says it has lost."""
    for number in range(120):
        first = 1000 + 1000 * number
        ranges = [dropped(0, first + 2 * k, first + 2 * k) for k in range(400)]
        yield device.report({ids.STATE: [ids.UP]}, ranges)


def crowd(device: Device):
    """More reports of one minute than an hour shows."""
    for _ in range(3400):
        yield device.report({ids.STATE: [ids.UP] * 60}, start=START, up=60, step=1)


@contextmanager
def counted_rows(monkeypatch):
    """How many rows each transaction reads and writes."""
    counts = [0]
    for name in ("execute", "all", "one", "executemany"):
        original = getattr(Database, name)

        def spy(self, sql, values=(), _original=original, _name=name):
            if sql == "BEGIN IMMEDIATE":
                counts.append(0)
            if _name == "executemany":
                values = list(values)
            result = _original(self, sql, values)
            rows = {"all": result, "executemany": values}.get(_name) or ()
            counts[-1] += max(1, len(rows), result if _name == "execute" else 0)
            return result

        monkeypatch.setattr(Database, name, spy)
    between = Readings.between

    def painted(self, *args):
        result = between(self, *args)
        counts[-1] += len(result)
        return result

    monkeypatch.setattr(Readings, "between", painted)
    yield counts
    monkeypatch.undo()


@pytest.mark.parametrize("shape", [wide, events, boots, moved, losses, crowd])
def test_no_report_makes_a_step_long_and_the_others_are_derived_first(
    tmp_path, monkeypatch, shape
):
    filled = Filled(tmp_path / "province.db")
    hostile = Device(now=START - 70 * DAY_S if shape is wide else START)
    filled.store(hostile, list(shape(hostile)), received_at=START + 10 * DAY_S)
    others = [Device(slot=f"64031120{n:02}-1", seed=n) for n in range(2, 12)]
    for other in others:
        filled.store(other, [other.report()])
    with counted_rows(monkeypatch) as counts:
        filled.deriver.step(1)  # the first turn is the hostile one's
        for _ in others:
            filled.deriver.step(1)
        shown = {slot.slot: slot.state for slot in queries.status(filled.db, START + 400)}
        assert [shown[other.slot] for other in others] == ["up"] * len(others)
        filled.derive(1)
    filled.db.close()
    assert max(counts) <= MOST_ROWS


def test_a_crowded_hour_shows_nothing_and_the_next_one_what_it_holds(tmp_path):
    hour = START - START % 3600
    device = Device(now=hour, step=1)
    messages = [
        device.report({ids.STATE: [ids.UP], ids.BYTES_DOWN: [1024]}, start=hour + k % 60, up=60)
        for k in range(200 * 16)
    ]
    device.now, device.step = hour + 3600, 60
    later = device.report({ids.STATE: [ids.UP], ids.BYTES_DOWN: [1024]})
    filled = Filled(tmp_path / "province.db")
    filled.store(device, messages[:-1], received_at=device.now)
    filled.derive()
    assert filled.intervals() == [(hour, hour + 60, "up")]
    filled.store(device, [messages[-1], later], received_at=device.now)
    filled.derive()
    assert filled.intervals() == [(hour + 3600, hour + 3660, "up")]
    assert [row[1:3] for row in filled.facts()["usage_hours"]] == [(hour + 3600, 60)]
    keys = {device.kid: (device.public_key, device.slot)}
    reference = verify.figures(filled.db.path, keys, device.now)["slots"]
    assert reference == shown(filled.db, device.now)
    assert filled.facts() == filled.rebuilt()
    filled.db.close()


def outages(device: Device):
    return [device.report(events=[outage_ended(k * 9, 5, 3) for k in range(1, 27)])]


def starts(device: Device):
    return [device.report(events=[device.reboot(9, alive=START)], step=1) for _ in range(26)]


@pytest.mark.parametrize("shape", [outages, starts])
def test_so_does_an_hour_with_more_outages_or_starts_than_can_be(tmp_path, monkeypatch, shape):
    monkeypatch.setattr("host_tools.derive.slot.MOST_ROWS", 25)
    device = Device()
    messages = shape(device)
    filled = Filled(tmp_path / "province.db")
    for message in messages:
        assert filled.intervals() or message is messages[0]
        filled.store(device, [message], received_at=device.now + 3600)
        filled.derive()
    assert filled.intervals() == [] and filled.facts()["usage_hours"] == []
    assert filled.facts() == filled.rebuilt()
    filled.db.close()
