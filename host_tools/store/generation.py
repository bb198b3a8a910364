"""All derived tables together: a rebuild fills new ones, and puts them in place of the old."""

from __future__ import annotations

from host_tools.store.database import Database
from host_tools.store.derived_schema import DERIVED_TABLES, derived_tables
from host_tools.store.dialect import REPLACE, schema


class Generation:
    """The derived tables of one suffix, as a whole."""

    def __init__(self, db: Database, suffix: str = "") -> None:
        self._db = db
        self._s = suffix

    def create(self, generation: int) -> None:
        """Make the tables of this suffix, empty."""
        for statement in schema(derived_tables(self._s, generation)):
            self._db.execute(statement)

    def exists(self) -> bool:
        """Whether the tables of this suffix are there."""
        return self._db.has_table(f"dirty{self._s}")

    def take_place(self) -> None:
        """Put these tables in the place of those without a suffix. Resolved findings stay; what
        the others still had to derive is still to be derived."""
        db, s = self._db, self._s
        db.execute(
            f"INSERT INTO findings{s} (kind, slot_id, stream_id, boot, first_seq, last_seq, "
            "missing, found_at, resolved_at, detail) SELECT kind, slot_id, stream_id, boot, "
            "first_seq, last_seq, missing, found_at, resolved_at, detail FROM findings "
            "WHERE resolved_at IS NOT NULL"
        )
        db.execute(f"{REPLACE} dirty{s} SELECT * FROM dirty")
        for table in DERIVED_TABLES:
            db.execute(f"DROP TABLE {table}")
            db.execute(f"ALTER TABLE {table}{s} RENAME TO {table}")
