"""Rules that look at more than being up: each alerts once, and is quiet otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from agent.wire import ids
from host_tools.alerts.post import Post
from host_tools.alerts.records import AlertRecords, open_records
from host_tools.alerts.service import AlertService
from host_tools.alerts.watch import Watch
from host_tools.common.times import DAY_S
from host_tools.office.expiry import ends
from host_tools.province.contract_records import MAINTENANCE, ContractEvent
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.store.sessions import save_alive
from tests.host_tools.alerts.playing import settings_in
from tests.world.devices import START, Device, ordinary
from tests.world.evidencing import signing_registry
from tests.world.filled import Filled

HOUR = 3600
BAD, GOOD = "6403112001-1", "6403112002-1"
SOONER = '[rules]\nunused.after = "1 d"\nclock.after = "4 h"\n'

Metrics = dict[int, list[int]]
SILENT: Metrics = {}


class Looking:
    """The service of alerts over a province, with a clock that a test moves."""

    def __init__(self, province: Province, registry: Registry, records: AlertRecords) -> None:
        settings = settings_in(province.directory, SOONER)
        self.now = START
        self.registry, self.records = registry, records
        self._service = AlertService(province, lambda *_a, **_k: None, lambda: self.now)
        self._post = Post(settings, records)
        self._watch = Watch(settings, records, self._post)

    def until(self, end: int) -> None:
        """Look as often as the service does at least."""
        while self.now < end:
            self._service.look_once(self.registry, self.records, self._post, self._watch)
            self.now += 300

    @property
    def opened(self) -> list[tuple[str, list[str]]]:
        """Of each alert that was sent its rule, and who is in it."""
        found = []
        for message in self.records.messages()[::-1]:
            if message.what == "opened" and message.alert_id is not None:
                alert = self.records.alert(message.alert_id)
                assert alert is not None
                members = self.records.members(alert.id)
                found.append((alert.rule, [member.member for member in members]))
        return found


@pytest.fixture
def looking(kaltim: Province) -> Iterator[Looking]:
    with signing_registry(kaltim) as registry, open_records(kaltim.directory) as records:
        yield Looking(kaltim, registry, records)


@pytest.fixture
def report(kaltim: Province, looking: Looking) -> Iterator[Callable[..., None]]:
    """Hours in which each of two devices reports what is given; None: without a clock, SILENT:
    it does not."""
    filled = Filled(kaltim.database)
    devices = [Device(slot, seed=n, now=START) for n, slot in enumerate((BAD, GOOD), 1)]
    for device in devices:
        looking.registry.enrol(device.slot, device.public_key, board="b", firmware="1", by="test")

    def report(hours: int, *said: Metrics | None) -> None:
        for _ in range(12 * hours):
            end = looking.now + 300
            with filled.db.transaction():
                save_alive(filled.db, end, connected=True)
            looking.until(end)
            for device, metrics in zip(devices, said, strict=True):
                if metrics is SILENT:
                    continue
                device.clock = metrics is not None
                message = device.report(ordinary() | (metrics or {}))
                filled.store(device, [message], received_at=end)
            filled.derive()

    yield report
    filled.db.close()


@pytest.mark.parametrize(
    "rule, before, hours, bad, good",
    [
        ("voltage", 2, 2, {ids.VOLTAGE: [1140] * 5}, {ids.VOLTAGE: [1160] * 5}),
        ("journal", 2, 2, {ids.JOURNAL_FILL: [700] * 5}, {ids.JOURNAL_FILL: [690] * 5}),
        ("unused", 0, 15, {ids.CLIENTS: [0] * 5}, {ids.CLIENTS: [0, 0, 0, 0, 1]}),
        ("clock", 0, 7, None, {}),
    ],
)
def test_a_condition_of_a_device_is_alerted_once_and_what_is_nearly_one_never(
    looking, report, rule, before, hours, bad, good
):
    report(before, {}, good)
    assert looking.opened == []
    report(hours, bad, good)
    assert looking.opened == [(rule, [BAD])]
    report(2, bad, good)
    report(2, {}, good)
    assert looking.opened == [(rule, [BAD])]
    assert looking.records.open_alerts() == []


def test_a_disk_that_will_be_full_is_alerted_once(looking, report, monkeypatch):
    free = 10**12
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=free))
    report(2, {}, {})
    assert looking.opened == []
    free = 1000
    report(3, {}, {})
    assert looking.opened == [("disk", ["disk"])]
    free = 10**12
    report(1, {}, {})
    assert looking.opened == [("disk", ["disk"])] and looking.records.open_alerts() == []


def test_a_certificate_that_ends_is_alerted_once_thirty_days_before(
    looking: Looking, kaltim: Province
):
    first = ends(kaltim, looking.registry)[0]
    soon = first.at - 30 * DAY_S
    looking.now = soon - HOUR
    looking.until(soon)
    assert looking.opened == []
    looking.until(soon + 2 * HOUR)
    ((rule, what),) = looking.opened
    assert rule == "certificate" and first.what in what


def test_a_channel_that_takes_nothing_is_alerted_once_to_the_staff(looking: Looking):
    records = looking.records

    def queue(name: str) -> int:
        with records.transaction():
            records.queue(*("opened", name, "operator", "a", "b"), now=START, due=START)
        return records.messages()[0].id

    looking.until(START + HOUR)
    records.not_sent(queue("1"), "Apprise does not know this address", None)
    looking.until(START + 3 * HOUR)
    assert looking.opened == [("channel", ["operator"])]
    message = records.messages()[0]
    assert (message.channel, message.due_at < looking.now) == ("staff", True)
    assert "operator: Apprise does not know this address" in message.body
    records.sent(queue("2"), looking.now)
    looking.until(START + 4 * HOUR)
    assert records.open_alerts() == []


def test_nothing_is_sent_in_maintenance_and_in_a_silence_and_what_is_down_is_after_it(
    looking: Looking, report
):
    begin, end = START + HOUR, START + 4 * HOUR
    looking.registry.add_contract_event(
        ContractEvent("m", MAINTENANCE, "slot", BAD, begin, end, "Sari", "a new dish", START)
    )
    with looking.records.transaction():
        looking.records.add_silence("village", GOOD[:10], begin, end, who="Sari", why="moved")
    report(1, {}, {})
    report(3, SILENT, SILENT)
    assert looking.opened == []
    report(1, SILENT, SILENT)
    assert sorted(looking.opened) == [("no_data", [BAD]), ("no_data", [GOOD])]
