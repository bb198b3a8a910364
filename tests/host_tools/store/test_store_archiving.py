"""Closed months move to the archive: nothing is lost, nothing is doubled, every figure stays."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tools.archive.chain import Chain
from host_tools.archive.errors import ArchiveDamaged
from host_tools.derive import rebuild
from host_tools.derive.samples import samples
from host_tools.store import StoreDamaged, archiving, open_database, queries
from host_tools.store.archiving import Archiver, MonthOpen, month_begin, month_of
from host_tools.store.evidence import report_message
from host_tools.store.streams import Streams
from host_tools.wire import Key
from tests.world.devices import START, Device
from tests.world.filled import Filled

DAY_S = 86400
NOW = START + 100 * DAY_S
OCTOBER = month_begin("2026-10")


class Province(Filled):
    """Two devices that reported from October on, a few reports a day."""

    def __init__(self, folder: Path, days: int = 70) -> None:
        super().__init__(folder / "province.db")
        self.devices = [Device(slot, seed, OCTOBER + 3600) for slot, seed in SLOTS]
        for day in range(days):
            for device in self.devices:
                device.now = OCTOBER + day * DAY_S + 3600
                self.store(device, device.reports(6))
        self.save()
        self.derive()

    def save(self) -> None:
        save(self)

    def evidence(self) -> list[Any]:
        return [queries.stored(self.db, device.slot) for device in self.devices]

    def hot(self) -> int:
        return int(self.db.value("SELECT count(*) FROM reports"))

    def archive(self, month: str = "2026-10", file_reports: int = 100) -> archiving.Moved:
        archiver = Archiver(self.db, lambda _: None, file_reports)
        return archiver.archive_month(month, NOW)

    @property
    def keys(self) -> dict[bytes, Key]:
        return {d.kid: Key(d.public_key, d.slot, True) for d in self.devices}


def save(filled: Filled) -> None:
    """As the ingest does it now and then."""
    with filled.db.transaction():
        for stream in filled.streams.all():
            stream.dirty = True
        filled.streams.save_ranges()


SLOTS = (("6403112001-1", 1), ("6403112002-1", 2))
IN_OCTOBER = 31 * 6 * 2


@pytest.fixture
def province(tmp_path: Path) -> Iterator[Province]:
    made = Province(tmp_path)
    yield made
    made.db.close()


def test_a_month_moves_and_everybody_still_finds_its_reports(province: Province):
    before, facts = province.evidence(), province.facts()
    device = province.devices[0]
    its = list(samples(province.db, device.slot))
    status = queries.status(province.db, NOW)
    moved = province.archive()
    assert (moved.files, moved.reports) == (4, IN_OCTOBER)
    assert province.hot() == 70 * 6 * 2 - IN_OCTOBER
    assert province.evidence() == before
    assert list(samples(province.db, device.slot)) == its
    assert queries.status(province.db, NOW) == status
    assert queries.count_stored(province.db, device.slot) == 70 * 6
    assert report_message(province.db, 1, 5) == before[0][device.stream][5]
    ranges = [stream.ranges for stream in Streams(province.db).all()]
    assert [list(each) for each in ranges] == [[(1, 420)], [(1, 420)]]
    assert province.rebuilt() == facts
    assert province.archive().files == 0


def test_only_older_months_than_the_setting_go(province: Province):
    now = month_begin("2026-12") + 9 * DAY_S
    archiver = Archiver(province.db, lambda _: None)
    assert archiver.archive_older(2, now).files == 0
    assert archiver.archive_older(1, now).reports == IN_OCTOBER
    assert archiver.archive_older(0, now).reports == 30 * 6 * 2
    assert [listed.month for listed in archiver.chain] == ["2026-10", "2026-11"]
    with pytest.raises(MonthOpen, match="not over"):
        archiver.archive_month("2026-12", now)


def test_the_newest_report_stays_so_that_no_number_is_given_twice(province: Province):
    newest = province.db.value("SELECT max(id) FROM reports")
    archiver = Archiver(province.db, lambda _: None)
    archiver.archive_older(0, NOW)
    assert province.hot() == 1
    province.store(province.devices[1], province.devices[1].reports(1))
    assert province.db.value("SELECT max(id) FROM reports") == newest + 1
    assert province.streams.load() is None
    assert [list(s.ranges) for s in province.streams.all()] == [[(1, 420)], [(1, 421)]]


def test_a_report_that_waited_in_quarantine_goes_into_one_more_file(province: Province):
    province.archive()
    late = province.devices[0]
    province.store(late, late.reports(2), received_at=OCTOBER + 5 * DAY_S)
    province.store(late, late.reports(1), received_at=NOW)
    province.save()
    before = province.evidence()
    assert province.archive().reports == 2
    assert [listed.file for listed in Chain(province.db.path.parent / "archive")][-1] == (
        "2026-10.005.parquet"
    )
    assert province.evidence() == before


def test_late_reports_beside_archived_ones_are_derived_as_if_all_were_hot(tmp_path: Path):
    """A device without a clock learns the time after its month was archived."""
    facts = []
    for folder, archived in ((tmp_path / "hot", False), (tmp_path / "archived", True)):
        folder.mkdir()
        filled = Filled(folder / "province.db")
        device = Device(now=OCTOBER, clock=False)
        first = device.reports(37)
        filled.store(device, first[:20] + first[21:], received_at=OCTOBER + 20_000)
        filled.derive()
        save(filled)
        if archived:
            Archiver(filled.db, lambda _: None).archive_month("2026-10", NOW)
        device.clock = True
        filled.store(device, [first[20], *device.reports(2)], received_at=NOW)
        filled.derive()
        facts.append(filled.facts())
        assert filled.rebuilt() == facts[-1]
        filled.db.close()
    assert facts[0] == facts[1] and facts[0]["places"]


def test_an_archive_that_was_changed_stops_the_rebuild(province: Province):
    province.archive()
    facts = province.facts()
    path = province.db.path.parent / "archive" / "2026-10.002.parquet"
    whole = path.read_bytes()
    path.chmod(0o600)
    for bad in (whole[:500] + bytes([whole[500] ^ 1]) + whole[501:], whole[:-9], b""):
        path.write_bytes(bad)
        with pytest.raises(ArchiveDamaged, match="2026-10.002"):
            rebuild(province.db, province.keys)
        assert province.facts() == facts
    path.unlink()
    with pytest.raises(ArchiveDamaged, match="2026-10.002"):
        rebuild(province.db, province.keys)
    path.write_bytes(whole)
    assert rebuild(province.db, province.keys) and province.facts() == facts


def test_a_list_without_a_known_file_is_refused(province: Province):
    province.archive()
    (province.db.path.parent / "archive" / "archive.jsonl").unlink()
    with pytest.raises(StoreDamaged, match="2026-10.001"):
        province.archive("2026-11")


def test_archived_reports_are_verified_like_others(province: Province):
    province.archive()
    keys = province.keys
    del keys[province.devices[0].kid]
    rebuild(province.db, keys)
    corrupt = province.db.all("SELECT stream_id, count(*) FROM corrupt GROUP BY stream_id")
    assert corrupt == [(1, 420)]
    assert all(slot == 2 for (slot,) in province.db.all("SELECT slot_id FROM intervals"))


def test_a_corrupt_report_stays_until_it_has_come_again(province: Province):
    device = province.devices[0]
    good = report_message(province.db, 1, 9)
    assert good is not None
    province.db.execute("UPDATE reports SET message = ? WHERE stream_id = 1 AND seq = 9", (b"x",))
    rebuild(province.db, province.keys)
    assert province.archive().reports == IN_OCTOBER - 1
    assert report_message(province.db, 1, 9) == b"x"
    province.streams.load()
    assert 9 not in next(s for s in province.streams.all() if s.kid == device.kid).ranges


# ---- killed at every step -------------------------------------------------------------------

STEPS: list[tuple[Any, str]] = [
    (archiving, "write"),
    (os, "replace"),
    (os, "fsync"),
    (archiving, "register"),
    (Archiver, "_remove"),
    (archiving.Database, "execute"),
]


def _killed_at(path: Path, step: int) -> bool:
    """Archive in a child that is killed before its nth step; False: it ended before."""
    child = os.fork()
    if child == 0:
        count = iter(range(10**9))

        def dying(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **named: Any) -> Any:
                if next(count) == step:
                    os._exit(9)
                return function(*args, **named)

            return call

        for owner, name in STEPS:
            setattr(owner, name, dying(getattr(owner, name)))
        try:
            with open_database(path) as db:
                Archiver(db, lambda _: None, 250).archive_month("2026-10", NOW)
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


def test_killed_at_any_step_nothing_is_lost_or_doubled(province: Province, tmp_path: Path):
    before, facts = province.evidence(), province.facts()
    province.db.close()
    whole, step, killed = province.db.path, 0, True
    while killed:
        folder = tmp_path / f"at{step}"
        folder.mkdir()
        shutil.copy(whole, folder)
        path = folder / whole.name
        killed = _killed_at(path, step)
        with open_database(path) as province.db:
            assert province.evidence() == before
            Archiver(province.db, lambda _: None, 250).archive_month("2026-10", NOW)
            assert province.evidence() == before
            assert province.hot() == 70 * 6 * 2 - IN_OCTOBER
            chain = Chain(folder / "archive")
            assert sum(chain.check(listed).exists() for listed in chain) == 2
            assert sum(listed.reports for listed in chain) == IN_OCTOBER
            assert len(list((folder / "archive").iterdir())) == 3
            if step % 7 == 0:
                assert province.rebuilt() == facts
        shutil.rmtree(folder)
        step += 1
    assert step > 25


def test_months_are_those_of_the_province():
    assert month_begin("2026-01", -1) == month_begin("2025-12")
    assert month_begin("2026-12", 1) == month_begin("2027-01")
    assert month_of(OCTOBER) == "2026-10" and month_of(OCTOBER - 1) == "2026-09"
