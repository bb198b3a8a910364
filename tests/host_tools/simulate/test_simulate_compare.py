"""What the province derives from a simulated province is the truth; what differs is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from host_tools.simulate import truth
from host_tools.simulate.compare import Comparison, compare
from host_tools.simulate.storing import TrustedStore, derive_rest
from host_tools.store import Database, open_database
from tests.host_tools.simulate.conftest import Simulated


@pytest.fixture(scope="module")
def derived(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("derived")
    shutil.copytree(filled, folder, dirs_exist_ok=True)
    with open_database(folder / "province.db") as db:
        assert derive_rest(db) > 10_000
    return folder


def compared(folder: Path, change: str = "") -> Comparison:
    with open_database(folder / "province.db") as db:
        if change:
            assert db.execute(change) > 0
        return compare(db, folder / truth.FILE)


def test_what_is_derived_is_the_truth(derived):
    found = compared(derived)
    total = found.total
    assert total.outages > 30
    assert {"up", "degraded", "provider", "broker", "power", "agent"} <= set(total.true_s)
    assert total.wrong_percent < 0.5
    for state, seconds in total.true_s.items():
        assert abs(total.derived_s[state] - seconds) <= max(300, 0.005 * seconds), state
    assert (total.missed, total.invented, total.hidden_up_s) == ([], [], 0)
    assert total.bytes_percent < 0.1


def test_the_ingest_refuses_what_a_copy_and_a_revoked_device_send(filled):
    with open_database(filled / "province.db", readonly=True) as db:
        reasons = {reason for (reason,) in db.all("SELECT DISTINCT reason FROM quarantine")}
    assert reasons == {"conflict", "revoked_key"}


def test_storing_unverified_gives_the_same_evidence(small: Simulated, filled, tmp_path):
    small.fill(TrustedStore(tmp_path / "trusted.db"))

    def evidence(db: Database) -> list[object]:
        with db:
            return [
                db.all(
                    "SELECT id, kid, slot_id, stream, first_at, duplicates, ranges FROM streams"
                ),
                db.all("SELECT * FROM births"),
                db.all("SELECT * FROM reports"),
            ]

    trusted = evidence(open_database(tmp_path / "trusted.db", readonly=True))
    assert trusted == evidence(open_database(filled / "province.db", readonly=True))


@pytest.mark.parametrize(
    "change, seen",
    [
        (
            "UPDATE intervals SET state = 'dns' WHERE state = 'degraded'",
            lambda total: total.wrong_percent > 0.5,
        ),
        (
            "UPDATE outages SET cause = 8 WHERE cause = 5 AND duration = "
            "(SELECT max(duration) FROM outages WHERE cause = 5)",
            lambda total: len(total.missed) == len(total.invented) == 1,
        ),
        (
            "UPDATE intervals SET state = 'up' WHERE state = 'no_data'",
            lambda total: total.hidden_up_s > 0,
        ),
        (
            "UPDATE usage_hours SET bytes_down = bytes_down * 1.01",
            lambda total: 0.1 < total.bytes_percent < 2,
        ),
    ],
    ids=["state", "outage", "no data shown as up", "bytes"],
)
def test_what_differs_from_the_truth_is_found(derived, tmp_path, change, seen):
    folder = tmp_path / "changed"
    shutil.copytree(derived, folder)
    assert not seen(compared(folder).total)
    found = compared(folder, change)
    assert seen(found.total)
    assert "worst villages" in found.text()
