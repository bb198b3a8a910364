"""Receipts over days, late arrivals, restarts, the archive, and what an attacker changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from host_tools.derive import rebuild
from host_tools.evidence.store_check import StoreCheck
from host_tools.ingest.acks import Acks
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.ingest.receipting import ProvinceReceipts, Receipting, close_all, last_midnight
from host_tools.people.receipts import Receipt, verify_receipts
from host_tools.people.technicians import root_public
from host_tools.people.trust import INGEST, signers, verify_trust
from host_tools.province.settings import Province
from host_tools.store import Database
from host_tools.store.archiving import Archiver
from host_tools.store.receipts import receipts
from host_tools.store.streams import Streams
from host_tools.wire import Key
from tests.world.devices import Device
from tests.world.evidencing import receipts_until
from tests.world.filled import Filled

DAY_S = 86400
MIDNIGHT = last_midnight(1_795_500_000)
BOOT = MIDNIGHT - 9 * DAY_S


def chain(filled: Filled, province: Province) -> list[Receipt]:
    """All receipts, verified under the province's root."""
    trust = verify_trust(province.trust.read_bytes(), root_public(province))
    return [found for found, _ in verify_receipts(receipts(filled.db), signers([trust], INGEST))]


@pytest.fixture
def filled(kaltim: Province) -> Iterator[Filled]:
    filled = Filled(kaltim.database)
    yield filled
    filled.db.close()


def reports(device: Device, at: int, count: int = 3) -> list[bytes]:
    device.now = at
    return device.reports(count)


def test_each_day_has_its_receipt_and_the_first_counts_what_was_before(
    filled: Filled, kaltim: Province
) -> None:
    one, two = Device(now=BOOT), Device("6403112002-1", 2, now=BOOT)
    filled.store(one, reports(one, MIDNIGHT - 5 * DAY_S), received_at=MIDNIGHT - 5 * DAY_S)
    filled.store(two, reports(two, MIDNIGHT - 100), received_at=MIDNIGHT - 1)
    filled.store(one, reports(one, MIDNIGHT), received_at=MIDNIGHT)
    receipts_until(filled, kaltim, MIDNIGHT + 59)
    (first,) = chain(filled, kaltim)
    assert (first.begin, first.end, first.reports) == (0, MIDNIGHT - DAY_S, 3)
    receipts_until(filled, kaltim, MIDNIGHT + 60)
    second = chain(filled, kaltim)[1]
    assert (second.begin, second.end, second.reports) == (MIDNIGHT - DAY_S, MIDNIGHT, 3)
    assert [s.slot for s in second.streams] == ["6403112002-1"]
    # Days that nobody was there for are made in their order.
    receipts_until(filled, kaltim, MIDNIGHT + 3 * DAY_S + 60)
    found = chain(filled, kaltim)
    assert [r.reports for r in found] == [3, 3, 3, 0, 0]
    assert found[2].streams[0].highest_seq == 6 and found[2].streams[0].first_seq == 4
    assert found[-1].office is not None and found[-1].trust == 1


def test_a_receipt_can_be_asked_for_before_midnight_and_the_next_counts_the_rest_of_the_day(
    filled: Filled, kaltim: Province
) -> None:
    device = Device(now=BOOT)
    noon = MIDNIGHT + DAY_S // 2
    messages = reports(device, MIDNIGHT, 9)
    filled.store(device, messages[:3], received_at=noon - 1)
    filled.store(device, messages[3:5], received_at=noon)
    source = ProvinceReceipts(kaltim)
    close_all(filled.db, source, noon, time.time, asked=noon)
    assert [r.end for r in chain(filled, kaltim)] == [MIDNIGHT, noon]
    # What was in the ingest's hands then comes a moment later.
    filled.store(device, messages[5:6], received_at=noon - 1)
    assert close_all(filled.db, source, noon, time.time, asked=noon) == []
    close_all(filled.db, source, noon + 5, time.time, asked=noon + 5)
    receipts_until(filled, kaltim, MIDNIGHT + 2 * DAY_S + 60)
    found = chain(filled, kaltim)
    ends = [MIDNIGHT, noon, noon + 5, MIDNIGHT + DAY_S, MIDNIGHT + 2 * DAY_S]
    assert [r.end for r in found] == ends
    assert [r.reports for r in found] == [0, 3, 3, 0, 0]
    assert [late.ranges for late in found[2].late] == [((6, 6),)]
    trust = verify_trust(kaltim.trust.read_bytes(), root_public(kaltim))
    assert list(StoreCheck(filled.db, signers([trust], INGEST)).differences()) == []


def test_what_is_asked_for_after_midnight_ends_the_day_first(
    filled: Filled, kaltim: Province
) -> None:
    close_all(filled.db, ProvinceReceipts(kaltim), MIDNIGHT - 50, time.time, asked=MIDNIGHT - 50)
    close_all(filled.db, ProvinceReceipts(kaltim), MIDNIGHT + 5, time.time, asked=MIDNIGHT + 5)
    ends = [MIDNIGHT - DAY_S, MIDNIGHT - 50, MIDNIGHT, MIDNIGHT + 5]
    assert [r.end for r in chain(filled, kaltim)] == ends


def test_what_waited_in_quarantine_counts_on_the_day_it_was_stored(
    filled: Filled, kaltim: Province
) -> None:
    device = Device(now=BOOT)
    messages = reports(device, MIDNIGHT, 6)
    filled.store(device, messages[3:], received_at=MIDNIGHT - 50)
    receipts_until(filled, kaltim, MIDNIGHT + 60)
    filled.store(device, messages[:2], received_at=MIDNIGHT - 70)
    filled.store(device, messages[2:3], received_at=MIDNIGHT + 70)
    receipts_until(filled, kaltim, MIDNIGHT + DAY_S + 60)
    first, second = chain(filled, kaltim)
    assert (first.reports, first.late, second.reports) == (3, (), 3)
    assert [late.ranges for late in second.late] == [((1, 2),)]
    assert second.streams[0].highest_seq == 6


def test_a_receipt_is_made_in_short_steps_and_after_a_restart(
    filled: Filled, kaltim: Province
) -> None:
    """Each step reads pages of at most 1,000 rows, whatever the day holds."""
    device = Device(now=BOOT)
    filled.store(device, reports(device, MIDNIGHT - DAY_S, 5), received_at=MIDNIGHT - 60)
    source = ProvinceReceipts(kaltim)
    interrupted = Receipting(filled.db, source, time.time)
    assert interrupted.step(MIDNIGHT + 60, 0) is None
    again = Receipting(filled.db, source, time.time)
    steps = 0
    while again.due(MIDNIGHT + 60):
        again.step(MIDNIGHT + 60, 0)
        steps += 1
        assert steps < 20
    assert [r.reports for r in chain(filled, kaltim)] == [5] and steps > 2


def test_reports_go_to_the_archive_after_a_receipt_has_counted_them(
    filled: Filled, kaltim: Province
) -> None:
    device = Device(now=MIDNIGHT - 60 * DAY_S)
    filled.store(device, device.reports(4))
    receipts_until(filled, kaltim, MIDNIGHT - 30 * DAY_S + 60)
    filled.store(device, device.reports(4))
    with filled.db.transaction():
        filled.streams.save_ranges()
    archived = Archiver(filled.db, lambda _: None).archive_older(0, MIDNIGHT)
    assert archived.reports == 3  # the one that counts the ids on stays
    receipts_until(filled, kaltim, MIDNIGHT + 60)
    found = chain(filled, kaltim)
    assert sum(r.reports for r in found) == 8
    assert found[-1].archive is not None


def test_a_corrupt_report_that_comes_again_gets_back_its_time_of_receipt(
    filled: Filled, kaltim: Province
) -> None:
    device = Device(now=BOOT)
    messages = reports(device, MIDNIGHT - 1000, 4)
    keys = {device.kid: Key(device.public_key, device.slot, True)}

    def publish(*some: bytes, at: int) -> None:
        pipeline = Pipeline(filled.db, Streams(filled.db), Acks(8, 1800), keys)
        found = pipeline.process([Message(device.topic("report"), m) for m in some], at, 0)
        assert found.reports == len(some)
        pipeline.process([], at, 0)

    publish(*messages, at=MIDNIGHT - 5)
    receipts_until(filled, kaltim, MIDNIGHT + 60)
    before = chain(filled, kaltim)[0]
    filled.db.execute("UPDATE reports SET message = zeroblob(90), boot = 7 WHERE seq IN (2, 4)")
    rebuild(filled.db, keys)
    publish(messages[1], messages[3], at=MIDNIGHT + 500)
    rows = filled.db.all("SELECT id, seq, boot, received_at FROM reports ORDER BY id")
    assert rows == [(n, n, 1, MIDNIGHT - 5) for n in (1, 2, 3, 4)]
    assert 4 in Streams(filled.db).by_id(1).ranges
    trust = verify_trust(kaltim.trust.read_bytes(), root_public(kaltim))
    assert list(StoreCheck(filled.db, signers([trust], INGEST)).differences()) == []
    receipts_until(filled, kaltim, MIDNIGHT + DAY_S + 60)
    assert [r.reports for r in chain(filled, kaltim)] == [before.reports, 0]


def test_a_province_without_the_key_makes_no_receipt(filled: Filled, kaltim: Province) -> None:
    kaltim.receipt_key.unlink()
    receipts_until(filled, kaltim, MIDNIGHT + 60)
    assert list(receipts(filled.db)) == []


@pytest.mark.slow
def test_a_day_of_841_villages_is_counted_a_page_at_a_time(
    filled: Filled, kaltim: Province, monkeypatch: pytest.MonkeyPatch
) -> None:
    """242,208 reports: no step reads more than a page, so none holds the ingest up."""
    slots, each = 841, 288
    with filled.db.transaction(durable=False):
        for number in range(1, slots + 1):
            name = number.to_bytes(8, "big")
            slot = f"{6400000000 + number}-1"
            filled.db.execute("INSERT INTO slots VALUES (?, ?, ?)", (number, slot, slot[:10]))
            filled.db.execute(
                "INSERT INTO streams (id, kid, slot_id, stream, first_at) VALUES (?, ?, ?, ?, 0)",
                (number, name, number, name[4:]),
            )
        filled.db.executemany(
            "INSERT INTO reports (stream_id, seq, boot, up, received_at, message) "
            "VALUES (?, ?, 1, 1, ?, ?)",
            [
                (stream, seq, MIDNIGHT - DAY_S + seq * 299, bytes(300))
                for seq in range(1, each + 1)
                for stream in range(1, slots + 1)
            ],
        )
    rows: list[int] = []
    read = Database.all

    def counting(db: Database, sql: str, values: Any = ()) -> list[Any]:
        found = read(db, sql, values)
        if "FROM reports" in sql:
            rows[-1] += len(found)
        return found

    monkeypatch.setattr(Database, "all", counting)
    receipting = Receipting(filled.db, ProvinceReceipts(kaltim), time.time)
    receipt = None
    while receipt is None:
        rows.append(0)
        receipt = receipting.step(MIDNIGHT + 60, 0)
    assert (receipt.reports, len(receipt.streams)) == (slots * each, slots)
    assert max(rows) <= 1000 and sum(rows) == 2 * slots * each
    assert len(rows) > slots + slots * each // 1000
