"""What can go wrong with the province's database, each with a sentence for a person."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from host_tools.common.errors import DesalinkError


class StoreError(DesalinkError):
    """Base of the family; the sentence names the file."""


class StoreMissing(StoreError):
    """There is no database yet, or no longer."""


class StoreBusy(StoreError):
    """Another process holds the database for longer than we wait; passes by itself."""

    exit_code = 75  # EX_TEMPFAIL


class StoreFull(StoreError):
    """The disk is full or refuses to write; passes once there is room."""

    exit_code = 75


class StoreLocked(StoreError):
    """Another ingest works on this database."""

    exit_code = 75


class StoreReplaced(StoreError):
    """The database was exchanged under a running process."""


class StoreDamaged(StoreError):
    """The file is not a database, or its pages are damaged, or a newer desalink made it."""


_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def translated(error: sqlite3.Error, path: Path) -> StoreError:
    """SQLite's error as one of this family."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _PASSING:
        return StoreBusy(
            f"The database {path} is held by another program; close what reads or copies it."
        )
    if code == sqlite3.SQLITE_READONLY:
        return StoreFull(
            f"The database {path} may not be written; run this as the owner of the province."
        )
    if code in _FULL:
        return StoreFull(f"The database {path} can't be written ({error}); make room on its disk.")
    return StoreDamaged(
        f"The database {path} can't be used ({error}); put it back from the backup, "
        "the devices send what is missing again."
    )
