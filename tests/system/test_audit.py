"""The audit that all crash tests end with must itself notice what it is there for."""

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from cryptography.exceptions import InvalidSignature

from tests.system.audit import audit
from tests.world.plant import Plant

Tamper = Callable[[sqlite3.Connection], object]


def _flip_a_byte(db: sqlite3.Connection) -> None:
    (message,) = db.execute("SELECT message FROM reports WHERE seq = 2").fetchone()
    changed = message[:-1] + bytes([message[-1] ^ 1])
    db.execute("UPDATE reports SET message = ? WHERE seq = 2", (changed,))


TAMPERINGS: dict[str, Tamper] = {
    "a report is missing": lambda db: db.execute("DELETE FROM reports WHERE seq = 2"),
    "the last report is missing": lambda db: db.execute(
        "DELETE FROM reports WHERE seq = (SELECT max(seq) FROM reports)"
    ),
    "a byte has changed": _flip_a_byte,
    "two reports have changed places": lambda db: db.executescript(
        "UPDATE reports SET seq = -2 WHERE seq = 2; UPDATE reports SET seq = 2 WHERE seq = 3;"
        "UPDATE reports SET seq = 3 WHERE seq = -2"
    ),
    "a report is stored twice": lambda db: db.execute(
        "INSERT INTO reports (stream_id, seq, boot, up, received_at, message) "
        "SELECT stream_id, 99, boot, up, received_at, message FROM reports WHERE seq = 2"
    ),
}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    with Plant(tmp_path_factory.mktemp("audit") / "plant", ("cpython",)) as plant:
        plant.start()
        plant.wait_for_reports(3)
        plant.finish()
        audit(plant)
    return plant


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_the_audit_notices_that(plant: Plant, tampering: str) -> None:
    whole = plant.province.database.read_bytes()
    try:
        with closing(sqlite3.connect(plant.province.database)) as db:
            TAMPERINGS[tampering](db)
            db.commit()
        with pytest.raises(AssertionError):
            audit(plant)
    finally:
        plant.put_back_database(whole)


def test_the_audit_notices_what_the_device_has_not_signed(plant: Plant) -> None:
    """Even where the journal says the same."""
    whole = plant.province.database.read_bytes()
    accepted = plant.agents[0].accepted.reports
    before = dict(accepted)
    try:
        with closing(sqlite3.connect(plant.province.database)) as db:
            _flip_a_byte(db)
            db.commit()
            (changed,) = db.execute("SELECT message FROM reports WHERE seq = 2").fetchone()
        accepted.update({key: changed for key in accepted if key[1] == 2})
        with pytest.raises(InvalidSignature):
            audit(plant)
    finally:
        accepted.update(before)
        plant.put_back_database(whole)
