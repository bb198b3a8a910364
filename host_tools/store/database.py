"""The database file: opening it durably, its version, its transactions, and one lock for writers.

`synchronous=FULL`, because with NORMAL a power cut may take back a commit that a device was
already told of. A reader's connection is held to reading by SQLite itself.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host_tools.archive.chain import DIRECTORY
from host_tools.archive.reader import ArchiveReader
from host_tools.common.readonly import may_write, readonly_uri
from host_tools.store.errors import (
    StoreDamaged,
    StoreLocked,
    StoreMissing,
    StoreReplaced,
    translated,
)
from host_tools.store.schema import APPLICATION_ID, MIGRATIONS

_BUSY_TIMEOUT_S = 2.0
# Checkpoints happen within a commit; fewer and larger ones cost less than many small ones.
_WAL_PAGES = 4000
_CACHE_KIB = 65536

Row = tuple[Any, ...]


class Database:
    """An open database. One connection, for one thread; every error is a StoreError.

    Attributes:
        archive: the files with the reports that are not in the database any more.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.archive = ArchiveReader(path.parent / DIRECTORY)
        self._db = connection
        self._identity = _identity(path)
        self._durable = True

    # ---- statements ----------------------------------------------------------------------

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement; returns how many rows it changed."""
        try:
            return self._db.execute(sql, values).rowcount
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def insert(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one INSERT; returns the new row's id."""
        try:
            return self._db.execute(sql, values).lastrowid or 0
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row."""
        try:
            self._db.executemany(sql, rows)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        try:
            row: Row | None = self._db.execute(sql, values).fetchone()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        return row

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        row = self.one(sql, values)
        return row[0] if row else None

    def iterate(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of a query, one by one; for results too large to hold."""
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All of a block, or nothing of it.

        Args:
            durable: on return it is on the disk. If False a power cut may take it back, with all
                that was committed after it; what is durable later makes it durable too. For what
                can be made again, it saves waiting for the disk.
        """
        if durable is not self._durable:
            self.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back already.
            if self._db.in_transaction:
                self._db.rollback()
            raise

    # ---- the file ------------------------------------------------------------------------

    def version(self) -> int:
        """A number that changes when another connection has committed (PRAGMA data_version)."""
        return int(self.value("PRAGMA data_version"))

    def unused(self) -> int:
        """Bytes of the file in which nothing is; new rows are written there first."""
        return int(self.value("PRAGMA freelist_count") * self.value("PRAGMA page_size"))

    def check_identity(self) -> None:
        """Make sure that the path still names the file that is open here.

        Raises:
            StoreReplaced: somebody has moved, deleted or exchanged it.
        """
        if _identity(self.path) != self._identity:
            raise StoreReplaced(
                f"The database {self.path} was replaced while it was in use; start the ingest "
                "again, and stop it first the next time."
            )

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def open_database(path: Path, *, create: bool = False, readonly: bool = False) -> Database:
    """Open the province's database and bring it to this version's schema.

    Args:
        create: make it if it is not there.
        readonly: only ever read; may run beside an ingest, and needs no right to write.

    Raises:
        StoreMissing: it is not there.
        StoreDamaged: it is not ours, or a newer desalink made it.
        StoreBusy, StoreFull: it can't be opened now.
    """
    exists = path.exists()
    if not exists and not create:
        raise StoreMissing(
            f"There is no database {path} yet; 'desalink ingest' makes it when it is started."
        )
    if not exists:
        # Its own mode, before SQLite makes it with everybody's: counts of users are in there.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        if readonly and not may_write(path):
            where, uri = readonly_uri(path), True
        else:
            where, uri = str(path), False
        db = sqlite3.connect(where, uri=uri, isolation_level=None, timeout=_BUSY_TIMEOUT_S)
        db.execute("PRAGMA foreign_keys=ON")
        db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        if readonly:
            db.execute("PRAGMA query_only=ON")
        else:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
            db.execute("PRAGMA temp_store=MEMORY")
        found = db.execute("PRAGMA user_version").fetchone()[0]
        ours = db.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.Error as error:
        raise translated(error, path) from error
    if found > len(MIGRATIONS) or (found and ours != APPLICATION_ID):
        db.close()
        raise StoreDamaged(
            f"{path} was not made by this version of desalink; use the version that made it, "
            "or a newer one."
        )
    if readonly and found < len(MIGRATIONS):
        db.close()
        raise StoreMissing(
            f"The database {path} is from an older version; 'desalink ingest' renews it."
        )
    database = Database(path, db)
    for number, script in enumerate(MIGRATIONS[found:], found + 1):
        with database.transaction():
            for statement in script.split(";\n"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id={APPLICATION_ID}")
            database.execute(f"PRAGMA user_version={number}")
    return database


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Be the only ingest of a database, for as long as the block runs or the process lives.

    The lock lies on a file beside it: SQLite keeps locks of its own on the database, and closing
    any other handle of that file in this process would drop them.

    Raises:
        StoreLocked: another process is.
    """
    name = path.with_name(path.name + ".lock")
    handle = os.open(name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
            raise StoreLocked(
                f"Another ingest (process {owner}) already works on {path}; stop it first."
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
