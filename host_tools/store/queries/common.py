"""What several queries need."""

from __future__ import annotations

from host_tools.store.database import Database

DAY_S = 86400
WITA_S = 8 * 3600


def slots(db: Database) -> list[str]:
    """Every slot that has ever sent something signed."""
    return [slot for (slot,) in db.all("SELECT slot FROM slots ORDER BY slot")]


def slots_of(db: Database, village: str | None, slot: str | None) -> dict[int, tuple[str, str]]:
    """Id to slot and village; of one village or slot, or of all."""
    rows = db.all("SELECT id, slot, village FROM slots ORDER BY slot")
    return {
        row[0]: (row[1], row[2])
        for row in rows
        if village in (None, row[2]) and slot in (None, row[1])
    }
