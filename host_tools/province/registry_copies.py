"""Consistent copies of SQLite databases, made while other processes write to them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_PAGES_PER_STEP = 4096


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment.

    SQLite's backup starts again whenever another process commits, so beside a busy ingest it never
    ends. Here the reading connection holds one read transaction for the whole copy: in WAL mode it
    sees one state of the database, and nobody who writes has to wait for it.

    Raises:
        sqlite3.Error: the source can't be read.
        OSError: the target can't be written.
    """
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as reader,
        closing(sqlite3.connect(target)) as writer,
    ):
        reader.isolation_level = None
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reader.backup(writer, pages=_PAGES_PER_STEP)


def count_rows(path: Path) -> dict[str, int]:
    """Check a copy that nobody else uses; returns the number of rows of each table.

    Raises:
        sqlite3.Error: it is damaged.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as db:
        found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(str(found))
        tables = db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
            "ORDER BY name"
        ).fetchall()
        return {
            name: int(db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])
            for (name,) in tables
        }
