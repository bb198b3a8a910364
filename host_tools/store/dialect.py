"""What is particular to SQLite: connections, transactions, errors, and words of its SQL.

Statements elsewhere in the store are standard SQL, or use the words from here. For another
database this file is written again.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from host_tools.common.i18n import _
from host_tools.common.readonly import readonly_uri
from host_tools.store.errors import StoreBusy, StoreDamaged, StoreError, StoreFull

Connection = sqlite3.Connection
Failure = sqlite3.Error

APPLICATION_ID = 0x44455341  # "DESA"

# Checkpoints happen within a commit; fewer and larger ones cost less than many small ones.
_WAL_PAGES = 4000
_CACHE_KIB = 65536

# ---- words of statements -----------------------------------------------------------------

REPLACE = "INSERT OR REPLACE INTO"
"""Inserts a row, after removing the one that has its key."""

UNLESS_KNOWN = "ON CONFLICT DO NOTHING"
"""Ends an INSERT: a row whose key is known is not inserted."""

THEN_JOIN = "CROSS JOIN"
"""A JOIN that reads the table before it first."""

ALL = -1
"""As a LIMIT: all rows."""

BEGIN = "BEGIN IMMEDIATE"
"""Begins a transaction that will write."""

HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE name = ?"

CHANGES = "PRAGMA data_version"
"""A number that changes when another connection has committed."""


def or_change(key: str, changes: str) -> str:
    """Ends an INSERT: of a row whose key is known some columns change instead.

    Args:
        key: its columns.
        changes: as after SET; `new.a` is the value that was to be inserted.
    """
    return f"ON CONFLICT ({key}) DO UPDATE SET {changes.replace('new.', 'excluded.')}"


def greater(one: str, other: str) -> str:
    """The greater of two values."""
    return f"max({one}, {other})"


def lesser(one: str, other: str) -> str:
    """The lesser of two values."""
    return f"min({one}, {other})"


def bounded_sum(column: str) -> str:
    """A sum that may exceed 64 bits, which is then 9e18; NULL of no values."""
    return f"CASE WHEN count({column}) > 0 THEN CAST(min(total({column}), 9e18) AS INTEGER) END"


# Words of the schema (schema.py) that no two databases share.
_WORDS = {
    "BYTES": "BLOB",
    "COUNTER": "INTEGER PRIMARY KEY",
    "SERIAL": "INTEGER PRIMARY KEY AUTOINCREMENT",  # no number is given twice
    "CLUSTERED": "WITHOUT ROWID",  # rows lie in the order of the key
}
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b")


def schema(text: str) -> list[str]:
    return [_WORD.sub(lambda word: _WORDS[word[0]], each) for each in text.split(";\n")]


# ---- the connection ----------------------------------------------------------------------


def connect(path: Path, *, readonly: bool, may_write: bool, patience_s: float) -> Connection:
    """Open a database file.

    `synchronous=FULL`, because with NORMAL a power cut may take back a commit that a device was
    already told of. A reader's connection is held to reading by SQLite itself.
    """
    uri = readonly and not may_write
    where = readonly_uri(path) if uri else str(path)
    db = sqlite3.connect(where, uri=uri, isolation_level=None, timeout=patience_s)
    db.execute("PRAGMA foreign_keys=ON")
    db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    if readonly:
        db.execute("PRAGMA query_only=ON")
    else:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
        db.execute("PRAGMA temp_store=MEMORY")
    return db


def version(db: Connection) -> tuple[int, bool]:
    """How many migrations a database has had, and whether it is one of ours."""
    found: int = db.execute("PRAGMA user_version").fetchone()[0]
    ours = db.execute("PRAGMA application_id").fetchone()[0]
    return found, not found or ours == APPLICATION_ID


def note_version(number: int) -> tuple[str, str]:
    """The statements that note it, within the migration's transaction."""
    return f"PRAGMA application_id={APPLICATION_ID}", f"PRAGMA user_version={number}"


def durability(durable: bool) -> str:
    """The statement that says whether commits from now on wait for the disk."""
    return f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}"


def sizes(db: Connection) -> tuple[int, int]:
    """Bytes of the file, and those of them in which nothing is."""
    page, pages, unused = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    return page * pages, page * unused


# ---- errors ------------------------------------------------------------------------------

_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def translated(error: Failure, path: Path) -> StoreError:
    """SQLite's error as one of the store's family."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _PASSING:
        return StoreBusy(
            _(
                "The database {path} is held by another program; close what reads or copies it."
            ).format(path=path)
        )
    if code == sqlite3.SQLITE_READONLY:
        return StoreFull(
            _(
                "The database {path} may not be written; run this as the owner of the province."
            ).format(path=path)
        )
    if code in _FULL:
        return StoreFull(
            _("The database {path} can't be written ({error}); make room on its disk.").format(
                path=path, error=error
            )
        )
    return StoreDamaged(
        _(
            "The database {path} can't be used ({error}); put it back from the backup, the "
            "devices send what is missing again."
        ).format(path=path, error=error)
    )
