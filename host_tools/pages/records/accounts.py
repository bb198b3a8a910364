"""Accounts, their sessions and their tokens. Tokens are kept as their SHA-256."""

from __future__ import annotations

from typing import Any

from host_tools.pages.records.book import PagesFile
from host_tools.pages.records.rows import Account, ApiToken, LoggedIn

_ACCOUNT = (
    "accounts.id, accounts.name, role, regencies, password, must_change, totp, totp_last, "
    "failures, locked_until, accounts.created_at, disabled_at"
)


class AccountRecords(PagesFile):
    """Who may log in, and who has."""

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

    def revoke_tokens(self, account_id: int, at: int) -> None:
        """Revoke all tokens of an account."""
        self._change(
            "UPDATE tokens SET revoked_at = ? WHERE account_id = ? AND revoked_at IS NULL",
            *(at, account_id),
        )

    def revoke_token(self, account_id: int, number: int, at: int) -> bool:
        """Revoke a token of an account; False: there is none such."""
        return bool(
            self._change(
                "UPDATE tokens SET revoked_at = ? WHERE id = ? AND account_id = ? "
                "AND revoked_at IS NULL",
                *(at, number, account_id),
            )
        )


def _account(row: tuple[Any, ...]) -> Account:
    fields = list(row)
    fields[3] = tuple(filter(None, row[3].split(",")))
    fields[5] = bool(row[5])
    return Account(*fields)
