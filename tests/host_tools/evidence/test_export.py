"""What is exported: parts of a province, closed and open months, late and archived reports."""

from __future__ import annotations

import json
import stat
import zlib
from pathlib import Path

import pytest

from agent.wire import ids
from host_tools.common.times import DAY_S
from host_tools.contracts import closing
from host_tools.contracts.months import MonthError
from host_tools.evidence.container import EvidenceError
from host_tools.evidence.verify import verify
from host_tools.keys.root import public_pem
from host_tools.keys.signing import public_bytes
from host_tools.province.settings import Province
from host_tools.store.archiving import Archiver
from tests.host_tools.conftest import Run
from tests.host_tools.evidence.conftest import Exports
from tests.host_tools.evidence.forging import Forgery
from tests.world.devices import Device, ordinary
from tests.world.evidencing import evidenced
from tests.world.month import (
    BEGIN,
    CA,
    OCTOBER,
    ROOT,
    SLOTS,
    B,
    E,
    SmallProvince,
    arrival,
    found,
)

FIRST, SECOND = SLOTS


@pytest.fixture
def small(tmp_path: Path) -> SmallProvince:
    (tmp_path / "province").mkdir()
    return found(tmp_path / "province")


class TestScope:
    @pytest.mark.parametrize(
        ("scope", "slots"),
        [
            ({"village": FIRST[:10]}, [FIRST]),
            ({"regency": "6403"}, [FIRST, SECOND]),
            ({"provider": "Comtelindo"}, [FIRST, SECOND]),
        ],
    )
    @pytest.mark.parametrize("closed", [False, True])
    def test_a_part_of_the_province_is_checked_like_the_whole(
        self,
        scope: dict[str, str],
        slots: list[str],
        closed: bool,
        exports: Exports,
        tmp_path: Path,
    ):
        path = tmp_path / "part.evidence"
        if closed:
            exports.province.export(path, **scope)
        else:
            file = exports.forged()
            file.header |= {"scope": scope, "slots": slots}
            file.sum_up()
            if SECOND not in slots:
                file.records.clear()
            file.write(path)
        assert exports.refusal(path, exports.head) == ""
        assert Forgery(path).header["slots"] == slots

    def test_a_scope_without_slots_is_refused(self, exports: Exports, tmp_path: Path):
        with pytest.raises(EvidenceError, match="No slot"):
            exports.province.export(tmp_path / "none.evidence", provider="Icon+")
        assert not list(tmp_path.iterdir())


class TestWindow:
    def test_older_receipts_are_taken_in_where_the_figures_need_them(
        self, tmp_path: Path, exports: Exports
    ):
        # A device knew the time before the window, and not in it: nothing else says when it was.
        device = Device(FIRST, seed=1, now=BEGIN - 3 * DAY_S, step=3600, boot=9, stream=b"long")
        life = [arrival(device, device.report(ordinary()))]
        device.now, device.clock = B + 20 * DAY_S, False
        life.append(arrival(device, device.report(ordinary(state=ids.DOWN_PROVIDER))))
        (tmp_path / "province").mkdir()
        small = found(tmp_path / "province", life)
        small.close()
        path = tmp_path / "long.evidence"
        assert small.export(path).receipts[0] == 0
        assert exports.refusal(path, small.published) == ""

    def test_a_month_waits_for_the_receipt_and_the_figures_that_count_its_reports(
        self, small: SmallProvince, tmp_path: Path, exports: Exports
    ):
        report = small.devices["first"].report(ordinary())
        small.filled.store(small.devices["first"], [report], received_at=E + 3 * DAY_S + 60)
        now = E + 4 * DAY_S + 3600
        with pytest.raises(MonthError, match="are not derived yet"):
            closing.close(small.registry, small.filled.db, OCTOBER, by="Rina", now=now)
        small.filled.derive()
        with pytest.raises(MonthError, match="Reports of 2026-10 have arrived that no receipt"):
            closing.close(small.registry, small.filled.db, OCTOBER, by="Rina", now=now)
        small.receive(E + 4 * DAY_S, E + 4 * DAY_S)
        small.close(now)
        path = tmp_path / "late.evidence"
        assert small.export(path).receipts[1] == 39
        assert exports.refusal(path, small.published) == ""

    def test_a_clockless_report_between_the_last_receipt_and_the_closing_is_in_the_next_one(
        self, small: SmallProvince, tmp_path: Path, exports: Exports
    ):
        device = small.devices["first"]
        device.clock = False
        report = device.report(ordinary())
        small.filled.store(device, [report], received_at=E + 3 * DAY_S + 60)
        small.close()
        path = tmp_path / "late.evidence"
        with pytest.raises(EvidenceError, match="came in between the last receipt"):
            small.export(path)
        assert not path.exists() and not path.with_name("late.evidence.part").exists()
        small.receive(E + 4 * DAY_S, E + 4 * DAY_S)
        assert small.export(path).receipts[1] == 39
        assert exports.refusal(path, small.published) == ""

    def test_without_a_receipt_nothing_is_exported(self, tmp_path: Path):
        small = found(tmp_path)
        small.filled.db.execute("DELETE FROM receipts")
        with pytest.raises(EvidenceError, match="No receipt was made yet"):
            small.export(tmp_path / "none.evidence")


class TestSideBySide:
    def test_processes_find_what_one_alone_finds(self, exports: Exports, tmp_path: Path):
        roots = [public_bytes(ROOT)]
        alone = verify(exports.closed, roots)
        assert verify(exports.closed, roots, workers=2) == alone
        # Both slots are wrong, and then the file: what comes first is said.
        file = exports.forged()
        for slot in SLOTS:
            file.reports[slot].pop()
        file.write(tmp_path / "forged.evidence")
        said = []
        for workers in (1, 2):
            with pytest.raises(EvidenceError) as refused:
                verify(tmp_path / "forged.evidence", roots, workers=workers)
            said.append(str(refused.value))
        assert said[0] == said[1] and FIRST in said[0]


class TestEditions:
    def test_a_month_that_was_opened_again_is_open_and_its_next_edition_holds(
        self, small: SmallProvince, tmp_path: Path, exports: Exports
    ):
        small.close()
        first, path = tmp_path / "first.evidence", tmp_path / "now.evidence"
        small.export(first)
        small.pen.at += 60
        small.registry.open_month("2026-10", by="Rina", why="a contract", at=small.pen.at)
        small.export(path)
        assert exports.refusal(path, small.published) == ""
        assert Forgery(path).header["edition"] is None
        small.close(small.pen.at + 60)
        small.export(path)
        assert exports.refusal(path, small.published) == ""
        assert Forgery(path).header["edition"] == 2
        # The first file does not know of that: only a later head shows it.
        assert exports.refusal(first, small.published) == ""
        small.receive(E + 4 * DAY_S, E + 4 * DAY_S)
        assert "is none of the 39 receipts" in exports.refusal(first, small.published)

    def test_a_contract_that_was_ended_later_does_not_disturb_a_closed_month(
        self, small: SmallProvince, tmp_path: Path, exports: Exports
    ):
        small.close()
        entry = small.registry.contracts()[0]
        small.registry.withdraw_contract(entry.id, by="Rina", why="ended", at=small.pen.at)
        small.export(tmp_path / "closed.evidence")
        assert exports.refusal(tmp_path / "closed.evidence", small.published) == ""


class TestStore:
    def test_archived_reports_are_exported(
        self, small: SmallProvince, tmp_path: Path, exports: Exports
    ):
        small.close()
        path = tmp_path / "hot.evidence"
        hot = small.export(path)
        with small.filled.db.transaction():
            small.filled.streams.save_ranges()
        archiver = Archiver(small.filled.db, lambda _: None)
        assert archiver.archive_month("2026-10", E + 90 * DAY_S).reports > 20
        assert small.export(path).digest == hot.digest
        assert exports.refusal(path, small.published) == ""

    def test_a_report_that_was_changed_in_the_database_is_not_exported(
        self, small: SmallProvince, tmp_path: Path
    ):
        small.filled.db.execute("UPDATE reports SET received_at = received_at - 9 WHERE id = 30")
        with pytest.raises(EvidenceError, match="those that are stored are not these"):
            small.export(tmp_path / "changed.evidence")

    def test_figures_that_were_changed_in_the_registry_are_not_exported(
        self, small: SmallProvince, tmp_path: Path
    ):
        small.close()
        (closed,) = small.registry.closed_months()
        table = json.loads(closed.figures)
        table["slots"][0]["pieces"][0]["restitution"] = 0
        other = json.dumps(table, sort_keys=True, separators=(",", ":"))
        assert len(other) < len(closed.figures)
        small.registry.change(
            "UPDATE closed_months SET figures = ?", zlib.compress(other.encode())
        )
        with pytest.raises(EvidenceError, match="with other figures"):
            small.export(tmp_path / "changed.evidence")
        small.registry.change("DELETE FROM closed_months")
        with pytest.raises(EvidenceError, match="what the office has not signed"):
            small.export(tmp_path / "changed.evidence")

    def test_the_file_is_for_its_owner_only(self, exports: Exports, tmp_path: Path):
        part = tmp_path / "again.evidence.part"
        part.write_text("of an export that was killed")
        exports.province.export(tmp_path / "again.evidence")
        assert stat.S_IMODE((tmp_path / "again.evidence").stat().st_mode) == 0o600
        assert not part.exists()
        with pytest.raises(FileNotFoundError, match="none/month.evidence'"):
            exports.province.export(tmp_path / "none" / "month.evidence")


class TestVerbs:
    def test_a_province_exports_a_village_and_an_auditor_checks_it(
        self, desalink: Run, kaltim: Province, tmp_path: Path
    ):
        evidenced(kaltim)
        file = tmp_path / "october.evidence"
        command = ("-C", kaltim.directory, "evidence", "export", "--month", "2026-10")
        done = desalink(*command, "--village", "6403112001", "-o", file)
        assert done.code == 0 and "8 reports of 1 slot" in done.out
        done = desalink("evidence", "verify", file, "--root", kaltim.root_public, "--json")
        assert json.loads(done.out)["scope"] == {"village": "6403112001"}
        done = desalink(*command, "--village", "6403112001", "--regency", "6403", "-o", file)
        assert done.code == 2 and "Give one of" in done.err

    def test_an_auditor_checks_a_file_without_a_province(
        self, desalink: Run, exports: Exports, tmp_path: Path
    ):
        command = ("evidence", "verify", exports.closed, "--root", exports.root)
        done = desalink(*command, "--head", exports.head)
        assert done.code == 0 and "Not proved" not in done.out
        assert "2 slots, 55 reports. Every figure in the file follows from them." in done.out
        assert f"head {exports.head}" in done.out
        assert "Not proved: No published head was given" in desalink(*command).out
        typed = desalink(*command, "--head", exports.head[:-1])
        assert typed.code == 2 and "is no head" in typed.err
        as_json = json.loads(desalink(*command, "--json").out)
        assert as_json["totals"]["slots"] == 2 and as_json["edition"] == 1
        file = exports.forged()
        file.totals["restitution"] = 0
        file.write(tmp_path / "bad.evidence")
        done = desalink("evidence", "verify", tmp_path / "bad.evidence", "--root", exports.root)
        assert done.code == 1 and "totals of the file are wrong" in done.err

    def test_a_wrong_root_key_is_named(self, desalink: Run, exports: Exports, tmp_path: Path):
        done = desalink("evidence", "verify", exports.open, "--root", exports.open)
        assert done.code == 1 and "is no public root key" in done.err
        other = tmp_path / "other.pub"
        other.write_bytes(public_pem(CA))
        done = desalink("evidence", "verify", exports.open, "--root", other)
        assert done.code == 1 and "or the key is the wrong one" in done.err
        done = desalink("evidence", "verify", tmp_path / "none", "--root", exports.root)
        assert done.code == 1 and "does not exist" in done.err
