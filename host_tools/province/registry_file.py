"""The registry's file: opening it, its format, its transactions.

It has its own database (`registry.db`), apart from the telemetry: WAL with `synchronous=FULL`,
because an enrolment that a technician has seen must survive a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from host_tools.common.errors import RegistryError
from host_tools.common.i18n import _
from host_tools.common.readonly import may_write, readonly_uri
from host_tools.province.records import FORMAT, MIGRATIONS, SCHEMA, Village

FILE = "registry.db"
PATIENCE_S = 10.0  # a statement waits so long for another process that writes
VILLAGE_COLUMNS = "code, name, district, regency, lat, lon, site, provider"


class RegistryFile:
    """The open file. One connection, for one thread at a time; use as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._db = connection
        self._identity = _identity(path)

    @classmethod
    def create(cls, directory: Path, villages: Iterable[Village]) -> Self:
        """Make the registry of a new province.

        Raises:
            RegistryError: there is one already.
            sqlite3.Error, OSError: it can't be written.
        """
        path = directory / FILE
        if path.exists():
            raise RegistryError(
                _("{path} exists already; it was left as it is.").format(path=path)
            )
        path.touch(mode=0o600)
        registry = cls(path, cls._connect(path))
        registry._db.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version=1;COMMIT;")
        registry._migrate()
        with registry.transaction():
            registry._db.executemany(
                f"INSERT INTO villages ({VILLAGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (v.code, v.name, v.district, v.regency, v.lat, v.lon, v.site, v.provider)
                    for v in villages
                ],
            )
        return registry

    @classmethod
    def open(cls, directory: Path, *, readonly: bool = False) -> Self:
        """Open the registry of a province; whoever may not write to it can read it.

        Args:
            readonly: only ever read.

        Raises:
            RegistryError: it is missing, not a registry, or made by a newer desalink.
        """
        path = directory / FILE
        if not path.exists():
            raise RegistryError(
                _(
                    "The registry {path} is missing; put it back from the province's backup."
                ).format(path=path)
            )
        try:
            db = cls._connect(path, readonly)
            version = db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                if "locked" in str(error):
                    refused = RegistryError(
                        _(
                            "The registry {path} is locked by another desalink; wait for it and "
                            "try again."
                        ).format(path=path)
                    )
                    refused.exit_code = 75  # as StoreBusy: it passes by itself
                    raise refused from None
                raise RegistryError(
                    _(
                        "The registry {path} can't be opened ({error}); make room on its disk, "
                        "and run this as the owner of the province."
                    ).format(path=path, error=error)
                ) from None
            raise RegistryError(
                _(
                    "{path} is damaged or not a registry ({error}); put it back from the backup."
                ).format(path=path, error=error)
            ) from None
        if not 1 <= version <= FORMAT:
            db.close()
            raise RegistryError(
                _(
                    "{path} has format {version} and this desalink knows {format}; use the "
                    "desalink that wrote it, or a newer one."
                ).format(path=path, version=version, format=FORMAT)
            )
        if version < FORMAT and (readonly or not may_write(path)):
            db.close()
            raise RegistryError(
                _(
                    "The registry {path} is from an older version; any command of its owner, such "
                    "as 'desalink villages', renews it."
                ).format(path=path)
            )
        registry = cls(path, db)
        registry._migrate()
        return registry

    def _migrate(self) -> None:
        """Bring an older format up to this one, all or nothing."""
        if self._version() == FORMAT:
            return
        with self.transaction():
            # Asked again: another process may have done it in between.
            for version in range(self._version() + 1, FORMAT + 1):
                for statement in MIGRATIONS[version]:
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version={FORMAT}")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    @staticmethod
    def _connect(path: Path, readonly: bool = False) -> sqlite3.Connection:
        # check_same_thread=False: the ingest opens it in one thread and reads it in its worker.
        writable = not readonly and may_write(path)
        where = str(path) if writable else readonly_uri(path)
        db = sqlite3.connect(
            where,
            uri=not writable,
            isolation_level=None,
            timeout=PATIENCE_S,
            check_same_thread=False,
        )
        if not writable:
            return db
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA foreign_keys=ON")
        return db

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits all changes made in it, or none; one inside another is part of the outer one."""
        if self._db.in_transaction:
            yield
            return
        # IMMEDIATE: between reading and writing nobody else may write.
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def rows(self, sql: str, *values: object) -> list[Any]:
        return self._db.execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> int:
        """Run one statement that changes something; returns how many rows it touched."""
        with self.transaction():
            return self._db.execute(sql, values).rowcount

    def version(self) -> int:
        """A number that differs from the last one when another process changed the registry.

        Costs microseconds (`PRAGMA data_version`), so that a long-running reader can ask before
        each batch whether its cache of keys is still good.
        """
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def replaced(self) -> bool:
        """Whether the path names another file than the open one."""
        return _identity(self._path) != self._identity


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
