"""Numbers that the store keeps for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.store.database import Database
from host_tools.store.dialect import or_change

if TYPE_CHECKING:
    pass


def get_meta(db: Database, key: str) -> int:
    """A number that the store keeps for itself; 0 if it was never set."""
    return int(db.value("SELECT value FROM meta WHERE key = ?", (key,)) or 0)


def set_meta(db: Database, key: str, value: int) -> None:
    """Set such a number, within a transaction."""
    db.execute(
        f"INSERT INTO meta (key, value) VALUES (?, ?) {or_change('key', 'value = new.value')}",
        (key, value),
    )
