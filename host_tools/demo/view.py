"""What the province knows of its slots, read from its database beside the ingest."""

from __future__ import annotations

import time

from host_tools.province.settings import Province
from host_tools.store import Database, StoreMissing, open_database, queries
from host_tools.store.queries import Interval, Outage, SlotStatus
from host_tools.wire.vocabulary import OFF_AGENT, OFF_POWER


class View:
    """Reads, never writes; every answer is as of now. Close it, or use it as a context manager."""

    def __init__(self, province: Province) -> None:
        self._path = province.database
        self._db: Database | None = None

    def _database(self) -> Database | None:
        if self._db is None:
            try:
                self._db = open_database(self._path, readonly=True)
            except StoreMissing:
                return None  # the ingest is about to make it
        return self._db

    def _made(self) -> Database:
        db = self._database()
        if db is None:
            raise StoreMissing(f"There is no database {self._path}; the ingest has not made it.")
        return db

    def close(self) -> None:
        """Close the database."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def now(self) -> dict[str, SlotStatus]:
        """Each slot that has reported, as `desalink status` would show it."""
        db = self._database()
        return {} if db is None else {s.slot: s for s in queries.status(db, time.time())}

    def count_stored(self, slot: str) -> int:
        """How many different reports are stored; 0 before the first."""
        db = self._database()
        return 0 if db is None else queries.count_stored(db, slot)

    def stored(self, slot: str) -> dict[bytes, dict[int, bytes]]:
        """Of each stream each stored seq and the signed bytes as they arrived."""
        return queries.stored(self._made(), slot)

    def count_duplicates(self, slot: str) -> int:
        """How many reports arrived again and were dropped."""
        return queries.count_duplicates(self._made(), slot)

    def count_missing(self, slot: str) -> int:
        """How many reports are missing in the chain."""
        return queries.count_missing(self._made(), slot)

    def outages(self, slot: str) -> list[Outage]:
        """In the order of their beginning."""
        return queries.outages(self._made(), slot=slot)

    def stops(self, slot: str) -> list[Interval]:
        """The times between a start of the agent and the one before in which nothing ran."""
        off = (OFF_AGENT, OFF_POWER)
        return [i for i in queries.intervals(self._made(), slot) if i.state in off]
