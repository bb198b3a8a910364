"""What pages.db holds, as the pages use it. Times are Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass

from host_tools.common.errors import DesalinkError

VIEWER, OPERATOR, ADMINISTRATOR = "viewer", "operator", "administrator"
ROLES = (VIEWER, OPERATOR, ADMINISTRATOR)
"""From the least to the most that an account may do."""

OPEN, ACKNOWLEDGED, CLOSED = "open", "acknowledged", "closed"
CASE_STATES = (OPEN, ACKNOWLEDGED, CLOSED)


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
class Photograph:
    """A picture of a village's site. width, height: in pixels; size: in bytes."""

    id: int
    at: int
    who: str
    text: str
    width: int
    height: int
    size: int


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
