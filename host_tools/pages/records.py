"""The pages' own small database, pages.db: accounts, sessions, cases, notes, and the audit log.

Times are Unix seconds. Nothing that people wrote is deleted. Tokens are kept as their SHA-256.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from host_tools.common.errors import DesalinkError
from host_tools.common.files import give_to_owner_of_directory
from host_tools.common.i18n import _

VIEWER, OPERATOR, ADMINISTRATOR = "viewer", "operator", "administrator"
ROLES = (VIEWER, OPERATOR, ADMINISTRATOR)
"""From the least to the most that an account may do."""

OPEN, ACKNOWLEDGED, CLOSED = "open", "acknowledged", "closed"
CASE_STATES = (OPEN, ACKNOWLEDGED, CLOSED)

_APPLICATION_ID = 0x44455350  # "DESP"
_TABLES = (
    """CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE COLLATE NOCASE,
    role          TEXT NOT NULL,
    regencies     TEXT NOT NULL,             -- of an operator: codes with commas
    password      TEXT NOT NULL,             -- argon2
    must_change   INTEGER NOT NULL,          -- somebody else knows the password
    totp          TEXT,                      -- secret of one-time codes; null: none are asked for
    totp_last     INTEGER NOT NULL DEFAULT 0, -- time step of the last code: none works twice
    failures      INTEGER NOT NULL DEFAULT 0, -- wrong passwords or codes since the last right one
    locked_until  INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER
)""",
    """CREATE TABLE sessions (
    hash          BLOB PRIMARY KEY,
    account_id    INTEGER NOT NULL REFERENCES accounts(id),
    form_key      TEXT NOT NULL,             -- what forms must send back
    created_at    INTEGER NOT NULL,
    seen_at       INTEGER NOT NULL
) WITHOUT ROWID""",
    """CREATE TABLE tokens (
    id            INTEGER PRIMARY KEY,
    hash          BLOB NOT NULL UNIQUE,
    account_id    INTEGER NOT NULL REFERENCES accounts(id),
    name          TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    revoked_at    INTEGER
)""",
    """CREATE TABLE cases (
    id            INTEGER PRIMARY KEY,
    village       TEXT NOT NULL,
    subject       TEXT NOT NULL,
    began         INTEGER,                   -- of the outage that it is about
    state         TEXT NOT NULL,
    assigned      TEXT NOT NULL DEFAULT '',
    opened_at     INTEGER NOT NULL,
    opened_by     TEXT NOT NULL,
    closed_at     INTEGER,
    cause         TEXT NOT NULL DEFAULT ''   -- as people found it
)""",
    "CREATE INDEX cases_of_village ON cases(village)",
    """CREATE TABLE case_notes (
    id            INTEGER PRIMARY KEY,
    case_id       INTEGER NOT NULL REFERENCES cases(id),
    at            INTEGER NOT NULL,
    who           TEXT NOT NULL,
    action        TEXT NOT NULL,
    text          TEXT NOT NULL
)""",
    "CREATE INDEX notes_of_case ON case_notes(case_id)",
    """CREATE TABLE village_notes (
    id            INTEGER PRIMARY KEY,
    village       TEXT NOT NULL,
    at            INTEGER NOT NULL,
    who           TEXT NOT NULL,
    kind          TEXT NOT NULL,             -- note or contact
    text          TEXT NOT NULL,
    withdrawn_at  INTEGER
)""",
    "CREATE INDEX notes_of_village ON village_notes(village)",
    """CREATE TABLE audit (
    id            INTEGER PRIMARY KEY,
    at            INTEGER NOT NULL,
    who           TEXT NOT NULL,
    action        TEXT NOT NULL,
    object        TEXT NOT NULL,
    detail        TEXT NOT NULL,
    address       TEXT NOT NULL
)""",
)
_CHECKS = (
    """CREATE TABLE checks (
    id            INTEGER PRIMARY KEY,
    file          TEXT NOT NULL,
    size          INTEGER NOT NULL,          -- of the file then, and when it was changed last
    changed       INTEGER NOT NULL,
    asked_at      INTEGER NOT NULL,
    who           TEXT NOT NULL,
    ended_at      INTEGER,                   -- null: it runs
    good          INTEGER NOT NULL DEFAULT 0,
    sha256        TEXT NOT NULL DEFAULT '',
    text          TEXT NOT NULL DEFAULT ''
)""",
    "CREATE INDEX checks_of_file ON checks(file)",
)
_MIGRATIONS = (_TABLES, _CHECKS)


class PagesError(DesalinkError):
    """Pages that can't be served, or an account that can't be changed."""


@dataclass(frozen=True)
class Account:
    """Who may log in. regencies: where an operator may change something."""

    id: int
    name: str
    role: str
    regencies: tuple[str, ...]
    password: str
    must_change: bool
    totp: str | None
    totp_last: int
    failures: int
    locked_until: int
    created_at: int
    disabled_at: int | None

    def may_act(self, village: str) -> bool:
        """Whether the account may change something about a village."""
        if self.role == ADMINISTRATOR:
            return True
        return self.role == OPERATOR and village[:4] in self.regencies


@dataclass(frozen=True)
class LoggedIn:
    """A session of an account in a browser."""

    account: Account
    form_key: str
    created_at: int
    seen_at: int


@dataclass(frozen=True)
class Case:
    """Something that people see to, mostly an outage."""

    id: int
    village: str
    subject: str
    began: int | None
    state: str
    assigned: str
    opened_at: int
    opened_by: str
    closed_at: int | None
    cause: str


@dataclass(frozen=True)
class CaseNote:
    """What somebody did with a case or wrote about it."""

    at: int
    who: str
    action: str
    text: str


@dataclass(frozen=True)
class VillageNote:
    """A note about a village, or a person to call there."""

    id: int
    at: int
    who: str
    kind: str
    text: str


@dataclass(frozen=True)
class ApiToken:
    """A token of an account for programs; `name` says which."""

    id: int
    name: str
    created_at: int
    revoked_at: int | None


@dataclass(frozen=True)
class AuditEntry:
    """Who did what to what, from which address."""

    id: int
    at: int
    who: str
    action: str
    object: str
    detail: str
    address: str


@dataclass(frozen=True)
class FileCheck:
    """A check of a file; ended_at None: it runs. text: what it has found."""

    file: str
    size: int
    changed: int
    asked_at: int
    who: str
    ended_at: int | None
    good: bool
    sha256: str
    text: str


_ACCOUNT = (
    "accounts.id, accounts.name, role, regencies, password, must_change, totp, totp_last, "
    "failures, locked_until, accounts.created_at, disabled_at"
)
_CASE = "id, village, subject, began, state, assigned, opened_at, opened_by, closed_at, cause"


class PagesBook:
    """The open database. One connection, for one thread."""

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
            if found > len(_MIGRATIONS) or (found and owner != _APPLICATION_ID):
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
        if self._version() == len(_MIGRATIONS):
            return
        with self.transaction():
            # Asked again: another thread may have done it in between.
            for statements in _MIGRATIONS[self._version() :]:
                for statement in statements:
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version={len(_MIGRATIONS)}")

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

    # ---- accounts ------------------------------------------------------------------------

    def accounts(self) -> list[Account]:
        """Every account by name."""
        return [_account(row) for row in self._rows(f"SELECT {_ACCOUNT} FROM accounts ORDER BY 2")]

    def account(self, name: str) -> Account | None:
        """The account of a name; case does not matter."""
        rows = self._rows(f"SELECT {_ACCOUNT} FROM accounts WHERE name = ?", name)
        return _account(rows[0]) if rows else None

    def add_account(
        self, name: str, role: str, regencies: tuple[str, ...], password: str, at: int
    ) -> None:
        """Record an account with a password that must be changed at the first log-in."""
        self._change(
            "INSERT INTO accounts (name, role, regencies, password, must_change, created_at) "
            "VALUES (?, ?, ?, ?, 1, ?)",
            *(name, role, ",".join(regencies), password, at),
        )

    def set_password(self, account_id: int, password: str, *, must_change: bool) -> None:
        """Set a password; a lock ends."""
        self._change(
            "UPDATE accounts SET password = ?, must_change = ?, failures = 0, locked_until = 0 "
            "WHERE id = ?",
            *(password, must_change, account_id),
        )

    def set_role(self, account_id: int, role: str, regencies: tuple[str, ...]) -> None:
        """Set what an account may do."""
        self._change(
            "UPDATE accounts SET role = ?, regencies = ? WHERE id = ?",
            *(role, ",".join(regencies), account_id),
        )

    def set_disabled(self, account_id: int, at: int | None) -> None:
        """Let an account log in no more; None: let it log in again."""
        self._change("UPDATE accounts SET disabled_at = ? WHERE id = ?", at, account_id)

    def set_totp(self, account_id: int, secret: str | None) -> None:
        """Ask for one-time codes of a secret from now on; None: ask for none."""
        self._change(
            "UPDATE accounts SET totp = ?, totp_last = 0 WHERE id = ?", secret, account_id
        )

    def use_code(self, account_id: int, step: int) -> bool:
        """Note the time step of a one-time code; False: it, or a later one, was used before."""
        sql = "UPDATE accounts SET totp_last = ? WHERE id = ? AND totp_last < ?"
        return bool(self._change(sql, step, account_id, step))

    def count_failure(self, account_id: int, locked_until: int) -> None:
        """Note a wrong password or code."""
        self._change(
            "UPDATE accounts SET failures = failures + 1, locked_until = ? WHERE id = ?",
            *(locked_until, account_id),
        )

    def forget_failures(self, account_id: int) -> None:
        """Note a log-in."""
        self._change("UPDATE accounts SET failures = 0, locked_until = 0 WHERE id = ?", account_id)

    # ---- sessions and tokens --------------------------------------------------------------

    def add_session(self, hash: bytes, account_id: int, form_key: str, at: int) -> None:
        """Record a session."""
        self._change(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", hash, account_id, form_key, at, at
        )

    def session(self, hash: bytes) -> LoggedIn | None:
        """The session of a token's hash, None if there is none (any more)."""
        rows = self._rows(
            f"SELECT {_ACCOUNT}, form_key, sessions.created_at, seen_at FROM sessions "
            "JOIN accounts ON accounts.id = account_id WHERE hash = ?",
            hash,
        )
        return LoggedIn(_account(rows[0][:12]), *rows[0][12:]) if rows else None

    def touch_session(self, hash: bytes, at: int) -> None:
        """Note that a session is in use."""
        self._change("UPDATE sessions SET seen_at = ? WHERE hash = ?", at, hash)

    def end_session(self, hash: bytes) -> None:
        """End a session."""
        self._change("DELETE FROM sessions WHERE hash = ?", hash)

    def end_sessions(self, account_id: int, *, but: bytes = b"") -> None:
        """End all sessions of an account, but for one."""
        self._change("DELETE FROM sessions WHERE account_id = ? AND hash <> ?", account_id, but)

    def end_old_sessions(self, created: int, seen: int) -> None:
        """End sessions that began, or were last seen, before some times."""
        self._change("DELETE FROM sessions WHERE created_at < ? OR seen_at < ?", created, seen)

    def add_token(self, hash: bytes, account_id: int, name: str, at: int) -> None:
        """Record a token for programs."""
        self._change(
            "INSERT INTO tokens (hash, account_id, name, created_at) VALUES (?, ?, ?, ?)",
            *(hash, account_id, name, at),
        )

    def token_account(self, hash: bytes) -> Account | None:
        """The account of a token that holds."""
        rows = self._rows(
            f"SELECT {_ACCOUNT} FROM tokens JOIN accounts ON accounts.id = account_id "
            "WHERE hash = ? AND revoked_at IS NULL",
            hash,
        )
        return _account(rows[0]) if rows else None

    def tokens(self, account_id: int) -> list[ApiToken]:
        """Every token of an account."""
        rows = self._rows(
            "SELECT id, name, created_at, revoked_at FROM tokens WHERE account_id = ? ORDER BY id",
            account_id,
        )
        return [ApiToken(*row) for row in rows]

    def revoke_token(self, account_id: int, number: int, at: int) -> bool:
        """Revoke a token of an account; False: there is none such."""
        return bool(
            self._change(
                "UPDATE tokens SET revoked_at = ? WHERE id = ? AND account_id = ? "
                "AND revoked_at IS NULL",
                *(at, number, account_id),
            )
        )

    # ---- cases and notes ------------------------------------------------------------------

    def open_case(
        self, village: str, subject: str, began: int | None, *, who: str, at: int
    ) -> int:
        """Open a case; returns its number. Of one outage there is one case."""
        with self.transaction():
            if began is not None:
                rows = self._rows(
                    "SELECT id FROM cases WHERE village = ? AND began = ?", village, began
                )
                if rows:
                    return int(rows[0][0])
            number = self._db.execute(
                "INSERT INTO cases (village, subject, began, state, opened_at, opened_by) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (village, subject, began, OPEN, at, who),
            ).lastrowid
            assert number is not None
            self._note(number, at, who, OPEN, "")
        return number

    def case(self, number: int) -> Case | None:
        """A case, or None."""
        rows = self._rows(f"SELECT {_CASE} FROM cases WHERE id = ?", number)
        return Case(*rows[0]) if rows else None

    def cases(
        self, *, village: str | None = None, closed: bool = False, limit: int = 500
    ) -> list[Case]:
        """The newest cases. closed: those that are closed as well."""
        rows = self._rows(
            f"SELECT {_CASE} FROM cases WHERE (? IS NULL OR village = ?) "
            "AND (? OR closed_at IS NULL) ORDER BY id DESC LIMIT ?",
            *(village, village, closed, limit),
        )
        return [Case(*row) for row in rows]

    def change_case(
        self,
        number: int,
        state: str,
        *,
        who: str,
        at: int,
        action: str,
        text: str = "",
        assigned: str | None = None,
        cause: str | None = None,
    ) -> None:
        """Set a case's state, and what is given of the rest; note who did it."""
        with self.transaction():
            self._db.execute(
                "UPDATE cases SET state = ?, assigned = coalesce(?, assigned), "
                "cause = coalesce(?, cause), closed_at = ? WHERE id = ?",
                (state, assigned, cause, at if state == CLOSED else None, number),
            )
            self._note(number, at, who, action, text)

    def _note(self, number: int, at: int, who: str, action: str, text: str) -> None:
        self._db.execute(
            "INSERT INTO case_notes (case_id, at, who, action, text) VALUES (?, ?, ?, ?, ?)",
            (number, at, who, action, text),
        )

    def case_notes(self, number: int) -> list[CaseNote]:
        """What was done with a case, the oldest first."""
        rows = self._rows(
            "SELECT at, who, action, text FROM case_notes WHERE case_id = ? ORDER BY id", number
        )
        return [CaseNote(*row) for row in rows]

    def add_village_note(self, village: str, kind: str, text: str, *, who: str, at: int) -> None:
        """Record a note, or a person to call."""
        self._change(
            "INSERT INTO village_notes (village, at, who, kind, text) VALUES (?, ?, ?, ?, ?)",
            *(village, at, who, kind, text),
        )

    def village_notes(self, village: str) -> list[VillageNote]:
        """The notes about a village that were not withdrawn, the newest first."""
        rows = self._rows(
            "SELECT id, at, who, kind, text FROM village_notes WHERE village = ? "
            "AND withdrawn_at IS NULL ORDER BY id DESC",
            village,
        )
        return [VillageNote(*row) for row in rows]

    def withdraw_village_note(self, village: str, number: int, at: int) -> bool:
        """Show a note no more; False: there is none such."""
        return bool(
            self._change(
                "UPDATE village_notes SET withdrawn_at = ? WHERE id = ? AND village = ? "
                "AND withdrawn_at IS NULL",
                *(at, number, village),
            )
        )

    # ---- checks of files -------------------------------------------------------------------

    def begin_check(self, file: str, size: int, changed: int, *, who: str, at: int) -> int | None:
        """Note that a file is being verified; returns its number, None: another one is."""
        with self.transaction():
            if self._rows("SELECT 1 FROM checks WHERE ended_at IS NULL LIMIT 1"):
                return None
            return self._db.execute(
                "INSERT INTO checks (file, size, changed, asked_at, who) VALUES (?, ?, ?, ?, ?)",
                (file, size, changed, at, who),
            ).lastrowid

    def end_check(self, number: int, good: bool, sha256: str, text: str, at: int) -> None:
        """Note what it has found."""
        self._change(
            "UPDATE checks SET ended_at = ?, good = ?, sha256 = ?, text = ? WHERE id = ?",
            *(at, good, sha256, text, number),
        )

    def end_cut_checks(self, at: int) -> None:
        """Note that no check of an earlier server runs any more."""
        self._change(
            "UPDATE checks SET ended_at = ?, text = ? WHERE ended_at IS NULL",
            *(at, _("The server was stopped; verify it again.")),
        )

    def newest_checks(self) -> dict[str, FileCheck]:
        """The newest check of each file."""
        rows = self._rows(
            "SELECT file, size, changed, asked_at, who, ended_at, good, sha256, text FROM checks "
            "WHERE id IN (SELECT max(id) FROM checks GROUP BY file)"
        )
        return {row[0]: FileCheck(*row) for row in rows}

    # ---- the audit log --------------------------------------------------------------------

    def log(
        self, who: str, action: str, object: str, detail: str = "", *, address: str, at: int
    ) -> None:
        """Note who did what; nothing deletes it."""
        self._change(
            "INSERT INTO audit (at, who, action, object, detail, address) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            *(at, who, action, object, detail, address),
        )

    def audit(self, *, before: int | None = None, limit: int = 200) -> list[AuditEntry]:
        """The newest entries, of those with a smaller number."""
        rows = self._rows(
            "SELECT id, at, who, action, object, detail, address FROM audit WHERE id < ? "
            "ORDER BY id DESC LIMIT ?",
            *(2**62 if before is None else before, limit),
        )
        return [AuditEntry(*row) for row in rows]


def _account(row: tuple[Any, ...]) -> Account:
    fields = list(row)
    fields[3] = tuple(filter(None, row[3].split(",")))
    fields[5] = bool(row[5])
    return Account(*fields)
