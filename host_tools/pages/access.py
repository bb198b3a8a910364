"""Who may come in: passwords, one-time codes, locks, sessions and tokens."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import deque
from functools import cache
from typing import TYPE_CHECKING

from host_tools.common.i18n import _
from host_tools.pages.records import (
    OPERATOR,
    ROLES,
    Account,
    LoggedIn,
    PagesBook,
    PagesError,
)

if TYPE_CHECKING:
    from argon2 import PasswordHasher

LEAST_PASSWORD = 12
MOST_PASSWORD = 200
_MOST_NAME = 60

# A session ends so long after it was last used, and after it began.
IDLE_S = 12 * 3600
SESSION_S = 7 * 86400
_TOUCH_S = 300

# After so many failures an account is locked, each time twice as long.
_FREE_FAILURES = 5
_FIRST_LOCK_S = 60
_LONGEST_LOCK_S = 3600
# From one address so many failures are allowed in a time.
_ADDRESS_FAILURES = 20
_ADDRESS_S = 600

_CODE_S = 30
_CODES_ASIDE = 1  # steps by which a phone's clock may be off

# Of argon2id: RFC 9106's choice where memory is short.
COST = {"time_cost": 3, "memory_cost": 64 * 1024, "parallelism": 4}

_TOKEN_PREFIX = "desalink_"  # nosec B105 # what tokens begin with


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(COST["time_cost"], COST["memory_cost"], COST["parallelism"])


def hash_password(password: str) -> str:
    """The password as argon2id keeps it."""
    return _hasher().hash(password)


@cache
def _nobody() -> str:
    """A password that nobody has: an unknown name takes as long as a known one."""
    return hash_password(secrets.token_urlsafe(16))


def _fits(hashed: str, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


def check_password(password: str, name: str) -> None:
    """See that a new password may be used.

    Raises:
        PagesError: why not.
    """
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        raise PagesError(
            _("A password has {least} to {most} characters; a sentence is good.").format(
                least=LEAST_PASSWORD, most=MOST_PASSWORD
            )
        )
    if len(set(password)) < 5 or name.casefold() in password.casefold():
        raise PagesError(_("This password is too easy to guess; choose another one."))


def new_password() -> str:
    """A password for the first log-in."""
    return secrets.token_urlsafe(12)


def add_account(book: PagesBook, name: str, role: str, regencies: tuple[str, ...], at: int) -> str:
    """Make an account; returns its password, which is to be changed at the first log-in.

    Raises:
        PagesError: the name is taken, or name, role and regencies don't go together.
    """
    name = " ".join(name.split())
    if not name or len(name) > _MOST_NAME or not name.isprintable() or set(name) & set("/\\"):
        raise PagesError(
            _("A name has 1 to {most} characters that can be printed, and no slash.").format(
                most=_MOST_NAME
            )
        )
    check_role(role, regencies)
    if book.account(name) is not None:
        raise PagesError(_("There is an account '{name}' already.").format(name=name))
    password = new_password()
    book.add_account(name, role, regencies, hash_password(password), at)
    return password


def check_role(role: str, regencies: tuple[str, ...]) -> None:
    """See that a role and regencies go together.

    Raises:
        PagesError: they don't.
    """
    if role not in ROLES:
        raise PagesError(
            _("There is no role '{role}'; choose one of {roles}.").format(
                role=role, roles=", ".join(ROLES)
            )
        )
    if role == OPERATOR and not regencies:
        raise PagesError(_("An operator needs a regency; give at least one."))


def reset_password(book: PagesBook, account: Account, at: int) -> str:
    """Give an account a new first password; its codes, sessions, tokens and locks end."""
    password = new_password()
    with book.transaction():
        book.set_password(account.id, hash_password(password), must_change=True)
        book.set_totp(account.id, None)
        book.end_sessions(account.id)
        book.revoke_tokens(account.id, at)
    return password


# ---- logging in ----------------------------------------------------------------------------


class Throttle:
    """Counts failures by address, in memory."""

    def __init__(self) -> None:
        self._failures: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def full(self, address: str) -> bool:
        """Whether an address has failed too often."""
        with self._lock:
            return len(self._recent(address)) >= _ADDRESS_FAILURES

    def failed(self, address: str) -> None:
        """Count a failure."""
        with self._lock:
            self._recent(address).append(time.monotonic())
            if len(self._failures) > 10_000:
                self._failures.pop(next(iter(self._failures)))

    def _recent(self, address: str) -> deque[float]:
        its = self._failures.setdefault(address, deque(maxlen=_ADDRESS_FAILURES))
        while its and its[0] < time.monotonic() - _ADDRESS_S:
            its.popleft()
        return its


# Each takes 64 MiB.
_hashing = threading.BoundedSemaphore(2)


def check_log_in(book: PagesBook, name: str, password: str, code: str, now: int) -> Account | None:
    """The account whose name, password and code these are; None if they are not right, or the
    account is locked or disabled. It is not said which."""
    account = book.account(name)
    with _hashing:
        fits = _fits(account.password if account else _nobody(), password[:MOST_PASSWORD])
    if account is None or account.disabled_at is not None or now < account.locked_until:
        return None
    if not (fits and (account.totp is None or _use_code(book, account, account.totp, code, now))):
        beyond = account.failures + 1 - _FREE_FAILURES
        lock = min(_FIRST_LOCK_S * 2 ** min(beyond, 10), _LONGEST_LOCK_S) if beyond >= 0 else 0
        book.count_failure(account.id, now + lock if lock else 0)
        return None
    book.forget_failures(account.id)
    return account


def new_secret() -> str:
    """A secret of one-time codes."""
    import pyotp

    return pyotp.random_base32()


def secret_uri(secret: str, name: str, issuer: str) -> str:
    """What the QR code for a phone's application says."""
    import pyotp

    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=issuer)


def code_step(secret: str, code: str, now: int) -> int | None:
    """The time step of a one-time code, None if it is wrong."""
    import pyotp

    totp = pyotp.TOTP(secret)
    for aside in range(-_CODES_ASIDE, _CODES_ASIDE + 1):
        step = now // _CODE_S + aside
        if secrets.compare_digest(totp.generate_otp(step).encode(), code.strip().encode()):
            return step
    return None


def _use_code(book: PagesBook, account: Account, secret: str, code: str, now: int) -> bool:
    step = code_step(secret, code, now)
    return step is not None and book.use_code(account.id, step)


# ---- sessions and tokens -------------------------------------------------------------------


def hashed(token: str) -> bytes:
    """What is kept of a token. It is random: a quick hash is enough."""
    return hashlib.sha256(token.encode()).digest()


def begin_session(book: PagesBook, account: Account, now: int) -> str:
    """Begin a session; returns its token."""
    token = secrets.token_urlsafe(32)
    with book.transaction():
        book.end_old_sessions(now - SESSION_S, now - IDLE_S)
        book.add_session(hashed(token), account.id, secrets.token_urlsafe(24), now)
    return token


def find_session(book: PagesBook, token: str, now: int) -> LoggedIn | None:
    """The session of a token, None if it has ended."""
    found = book.session(hashed(token))
    if found is None or found.account.disabled_at is not None:
        return None
    if now - found.seen_at > IDLE_S or now - found.created_at > SESSION_S:
        return None
    if now - found.seen_at > _TOUCH_S:
        book.touch_session(hashed(token), now)
    return found


def add_token(book: PagesBook, account: Account, name: str, now: int) -> str:
    """Make a token for programs; it is shown once."""
    token = _TOKEN_PREFIX + secrets.token_urlsafe(32)
    book.add_token(hashed(token), account.id, name, now)
    return token


def token_account(book: PagesBook, header: str) -> Account | None:
    """The account of an `Authorization: Bearer` header."""
    kind, _space, token = header.partition(" ")
    if kind.casefold() != "bearer" or not token.startswith(_TOKEN_PREFIX):
        return None
    account = book.token_account(hashed(token.strip()))
    return None if account is None or account.disabled_at is not None else account
