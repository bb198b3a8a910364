"""The database file: its version, its transactions, and one lock for who writes to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host_tools.archive.chain import DIRECTORY
from host_tools.archive.reader import ArchiveReader
from host_tools.common.i18n import _
from host_tools.common.readonly import may_write
from host_tools.store import dialect
from host_tools.store.dialect import Connection, Failure, translated
from host_tools.store.errors import (
    StoreDamaged,
    StoreLocked,
    StoreMissing,
    StoreReplaced,
)
from host_tools.store.schema import MIGRATIONS

Row = tuple[Any, ...]


class Database:
    """An open database. One connection, for one thread; every error is a StoreError.

    Attributes:
        archive: the files with the reports that are not in the database any more.
    """

    def __init__(self, path: Path, connection: Connection) -> None:
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
        except Failure as error:
            raise translated(error, self.path) from error

    def insert(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one INSERT; returns the new row's id."""
        try:
            return self._db.execute(sql, values).lastrowid or 0
        except Failure as error:
            raise translated(error, self.path) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row."""
        each = list(rows)
        if not each:
            return
        try:
            self._db.executemany(sql, each)
        except Failure as error:
            raise translated(error, self.path) from error

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        try:
            return self._db.execute(sql, values).fetchall()
        except Failure as error:
            raise translated(error, self.path) from error

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        try:
            row: Row | None = self._db.execute(sql, values).fetchone()
        except Failure as error:
            raise translated(error, self.path) from error
        return row

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        row = self.one(sql, values)
        return row[0] if row else None

    def iterate(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of a query, one by one; for results too large to hold."""
        try:
            # Not `yield from`: an iteration that is given up would close its cursor, at any time
            # later, and so after the database.
            for row in self._db.execute(sql, values):  # noqa: UP028
                yield row
        except Failure as error:
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
            self.execute(dialect.durability(durable))
            self._durable = durable
        self.execute(dialect.BEGIN)
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
        """A number that changes when another connection has committed."""
        return int(self.value(dialect.CHANGES))

    def unused(self) -> int:
        """Bytes of the file in which nothing is; new rows are written there first."""
        return dialect.sizes(self._db)[1]

    def has_table(self, name: str) -> bool:
        """Whether there is such a table."""
        return bool(self.value(dialect.HAS_TABLE, (name,)))

    def replaced(self) -> bool:
        """Whether the path names another file than the open one."""
        return _identity(self.path) != self._identity

    def check_identity(self) -> None:
        """Make sure that the path still names the file that is open here.

        Raises:
            StoreReplaced: somebody has moved, deleted or exchanged it.
        """
        if self.replaced():
            raise StoreReplaced(
                _(
                    "The database {path} was replaced while it was in use; start the ingest "
                    "again, and stop it first the next time."
                ).format(path=self.path)
            )

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def open_database(
    path: Path, *, create: bool = False, readonly: bool = False, patience_s: float = 30.0
) -> Database:
    """Open the province's database and bring it to this version's schema.

    Args:
        create: make it if it is not there.
        readonly: only ever read; may run beside an ingest, and needs no right to write.
        patience_s: a statement waits so long for another process that writes.

    Raises:
        StoreMissing: it is not there.
        StoreDamaged: it is not ours, or a newer desalink made it.
        StoreBusy, StoreFull: it can't be opened now.
    """
    exists = path.exists()
    if not exists and not create:
        raise StoreMissing(
            _(
                "There is no database {path} yet; 'desalink ingest' makes it when it is started."
            ).format(path=path)
        )
    if not exists:
        # Its own mode, before SQLite makes it with everybody's: counts of users are in there.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        db = dialect.connect(
            path, readonly=readonly, may_write=may_write(path), patience_s=patience_s
        )
        found, ours = dialect.version(db)
    except Failure as error:
        raise translated(error, path) from error
    if found > len(MIGRATIONS) or not ours:
        db.close()
        raise StoreDamaged(
            _(
                "{path} was not made by this version of desalink; use the version that made it, "
                "or a newer one."
            ).format(path=path)
        )
    if readonly and found < len(MIGRATIONS):
        db.close()
        raise StoreMissing(
            _("The database {path} is from an older version; 'desalink ingest' renews it.").format(
                path=path
            )
        )
    database = Database(path, db)
    for number, script in enumerate(MIGRATIONS[found:], found + 1):
        with database.transaction():
            for statement in (*dialect.schema(script), *dialect.note_version(number)):
                database.execute(statement)
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
                _(
                    "Another ingest (process {owner}) already works on {path}; stop it first."
                ).format(owner=owner, path=path)
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
