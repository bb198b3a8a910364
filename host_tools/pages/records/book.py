"""The file pages.db: opened, renewed, and changed in transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from host_tools.common.files import give_to_owner_of_directory
from host_tools.common.i18n import _
from host_tools.pages.records.rows import PagesError
from host_tools.pages.records.schema import APPLICATION_ID, MIGRATIONS


class PagesFile:
    """The open file. One connection, for one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open it; it is made if it is not there.

        Raises:
            PagesError: it can't be opened, or a newer desalink made it.
        """
        try:
            if not path.exists():
                # Its own mode, before SQLite makes it with everybody's.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
                give_to_owner_of_directory(path)
            db = sqlite3.connect(path, isolation_level=None, timeout=10)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                db.execute(f"PRAGMA {pragma}")
            book = cls(db)
            found = book._version()
            owner = db.execute("PRAGMA application_id").fetchone()[0]
            if found > len(MIGRATIONS) or (found and owner != APPLICATION_ID):
                raise PagesError(
                    _(
                        "{path} was not made by this version of desalink; use the version that "
                        "made it, or a newer one."
                    ).format(path=path)
                )
            book._migrate()
        except (sqlite3.Error, OSError) as error:
            raise PagesError(
                _(
                    "{path} can't be opened ({error}); run this as the owner of the province, or "
                    "put the file back from the backup."
                ).format(path=path, error=error)
            ) from None
        return book

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        if self._version() == len(MIGRATIONS):
            return
        with self.transaction():
            # Asked again: another thread may have done it in between.
            for statements in MIGRATIONS[self._version() :]:
                for statement in statements:
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version={len(MIGRATIONS)}")

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes of a block, or none; one inside another is part of the outer one."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values).fetchall()

    def _change(self, sql: str, *values: object) -> int:
        with self.transaction():
            return self._db.execute(sql, values).rowcount
