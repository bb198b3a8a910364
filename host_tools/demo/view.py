"""What the province knows of its slots, read from its database beside the ingest."""

from __future__ import annotations

import time

from host_tools.province.settings import Province
from host_tools.store import Database, StoreMissing, open_database, queries
from host_tools.store.queries import SlotStatus


class View:
    """Reads, never writes; each answer is as of now."""

    def __init__(self, province: Province) -> None:
        self._path = province.database
        self._db: Database | None = None

    def database(self) -> Database:
        """The database.

        Raises:
            StoreMissing: the ingest has not made it yet.
        """
        if self._db is None:
            self._db = open_database(self._path, readonly=True)
        return self._db

    def now(self) -> dict[str, SlotStatus]:
        """Each slot that has reported, as `desalink status` shows it."""
        return {status.slot: status for status in queries.status(self.database(), time.time())}

    def count_stored(self, slot: str) -> int:
        """How many different reports are stored; 0 before the first."""
        try:
            return queries.count_stored(self.database(), slot)
        except StoreMissing:
            return 0
