"""The file alerts.db: its tables, and its opening.

Times are Unix seconds. A message is put into the outbox in the transaction that changes its alert:
after a crash there are both, or none.
"""

from __future__ import annotations

import os
import secrets
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Self

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.readonly import may_write
from host_tools.store import Database, dialect
from host_tools.store.dialect import Failure, translated

FILE = "alerts.db"
LAST_RUN = "last_run"  # when the watch was last at work
FIRST_RUN = "first_run"  # when it was first

_TABLES = """
CREATE TABLE alerts (
    id            SERIAL,
    rule          TEXT NOT NULL,
    family        TEXT NOT NULL,
    severity      TEXT NOT NULL,
    scope         TEXT NOT NULL,             -- slot, rule, own, or what its slots share
    value         TEXT NOT NULL,             -- which
    state         TEXT NOT NULL,             -- of the first slot, or what of the own side
    t_begin       INTEGER NOT NULL,
    opened_at     INTEGER NOT NULL,
    fallen        INTEGER NOT NULL,          -- slots that fell together
    flapping      INTEGER NOT NULL,
    late          INTEGER NOT NULL,          -- known too late to send anything
    step          INTEGER NOT NULL DEFAULT 0, -- of escalation
    acked_at      INTEGER,
    acked_by      TEXT,
    closed_at     INTEGER,
    merged_into   INTEGER REFERENCES alerts(id)
);
CREATE INDEX alerts_open ON alerts (id) WHERE closed_at IS NULL;
CREATE INDEX alerts_opened ON alerts (opened_at);
CREATE TABLE members (
    alert_id      INTEGER NOT NULL REFERENCES alerts(id),
    member        TEXT NOT NULL,             -- a slot, or what ends
    t_begin       INTEGER NOT NULL,
    state         TEXT NOT NULL,
    detail        TEXT NOT NULL,
    recovered_at  INTEGER,
    PRIMARY KEY (alert_id, member)
) CLUSTERED;
CREATE INDEX members_open ON members (member) WHERE recovered_at IS NULL;
CREATE INDEX members_of ON members (member, t_begin);
CREATE TABLE holds (                         -- times in which the own side did not work
    t_begin       INTEGER PRIMARY KEY,
    t_end         INTEGER
) CLUSTERED;
CREATE TABLE silences (
    id            SERIAL,
    scope         TEXT NOT NULL,             -- as of the events of contracts
    value         TEXT NOT NULL,
    t_begin       INTEGER NOT NULL,
    t_end         INTEGER NOT NULL,
    who           TEXT NOT NULL,
    why           TEXT NOT NULL
);
CREATE TABLE outbox (
    id            SERIAL,
    alert_id      INTEGER REFERENCES alerts(id),
    what          TEXT NOT NULL,             -- opened, escalated, recovered, digest or test
    name          TEXT NOT NULL UNIQUE,      -- what is sent once
    channel       TEXT NOT NULL,
    subject       TEXT NOT NULL,
    body          TEXT NOT NULL,
    reply_to      TEXT NOT NULL,             -- name of the first message of the alert, or ''
    queued_at     INTEGER NOT NULL,
    planned_at    INTEGER NOT NULL,          -- when it was to be sent first
    due_at        INTEGER NOT NULL,
    state         TEXT NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    sent_at       INTEGER,
    error         TEXT NOT NULL DEFAULT ''
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE state IN ('due', 'sending');
CREATE INDEX outbox_of_alert ON outbox (alert_id);
CREATE TABLE meta (
    key           TEXT PRIMARY KEY,
    value         NOT NULL
) CLUSTERED
"""


class RecordsFile:
    """The opened database; for one thread."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """All of a block, or nothing of it; `durable` as of the store."""
        return self._db.transaction(durable=durable)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def meta(self, key: str) -> Any:
        """A value that the alerts keep for themselves, None if there is none."""
        return self._db.value("SELECT value FROM meta WHERE key = ?", (key,))

    def set_meta(self, key: str, value: int) -> None:
        """Set one."""
        self._db.execute(f"{dialect.REPLACE} meta VALUES (?, ?)", (key, value))


def open_database_of(directory: Path) -> Database:
    """Open the alerts of a province; makes them if there are none.

    Raises:
        StoreError: the file can't be used.
        DesalinkError: a newer desalink made it.
    """
    path = directory / FILE
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        connection = dialect.connect(path, readonly=False, may_write=True, patience_s=30)
        found, _ours = dialect.version(connection)
    except Failure as error:
        raise translated(error, path) from error
    if found > 1:
        connection.close()
        raise DesalinkError(
            _("{path} is from a newer desalink; install that one.").format(path=path)
        )
    db = Database(path, connection)
    if found == 0:
        with db.transaction():
            # Two that open it at once: the second finds the tables of the first.
            if not db.has_table("alerts"):
                for statement in (*dialect.schema(_TABLES), *dialect.note_version(1)):
                    db.execute(statement)
                for key in ("secret", "nonce"):
                    db.execute("INSERT INTO meta VALUES (?, ?)", (key, secrets.token_hex(32)))
    return db


def last_run(directory: Path) -> int | None:
    """When the alerts of a province were last at work; None: never, or nobody can know.

    For who may only read.
    """
    path = directory / FILE
    if not path.exists():
        return None
    try:
        found = dialect.connect(path, readonly=True, may_write=may_write(path), patience_s=5)
        with closing(found):
            row = found.execute("SELECT value FROM meta WHERE key = ?", (LAST_RUN,)).fetchone()
    except Failure:
        return None
    return int(row[0]) if row else None
