"""Contracts, events and closed months as the registry keeps them.

Times are Unix seconds; money is rupiah.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

MAINTENANCE, FORCE_MAJEURE, DISPUTE = "maintenance", "force_majeure", "dispute"
EVENT_KINDS = (MAINTENANCE, FORCE_MAJEURE, DISPUTE)
SCOPES = ("all", "provider", "regency", "district", "village", "slot")

# Nothing is deleted: what was wrong is withdrawn, by whom and why.
CONTRACT_TABLES = (
    """CREATE TABLE contracts (
    id            TEXT PRIMARY KEY,          -- first 8 bytes of SHA-256 of what is in it, hex
    slot          TEXT NOT NULL,
    provider      TEXT NOT NULL,
    product       TEXT NOT NULL,
    medium        TEXT NOT NULL,
    mbps          INTEGER NOT NULL,
    price         INTEGER NOT NULL,          -- rupiah a month
    target_ppm    INTEGER NOT NULL,          -- availability that is owed, millionths
    excluded      TEXT NOT NULL,             -- kinds of time, with commas
    opens         INTEGER,                   -- seconds since midnight WITA; null: always owed
    closes        INTEGER,
    t_begin       INTEGER NOT NULL,
    t_end         INTEGER NOT NULL,
    number        TEXT NOT NULL,
    added_at      INTEGER NOT NULL,
    added_by      TEXT NOT NULL,
    withdrawn_at  INTEGER,
    withdrawn_by  TEXT,
    withdrawn_why TEXT
) WITHOUT ROWID""",
    "CREATE INDEX contracts_of_slot ON contracts(slot)",
    """CREATE TABLE contract_events (
    id            TEXT PRIMARY KEY,          -- 4 random bytes, hex
    kind          TEXT NOT NULL,             -- maintenance, force_majeure, dispute
    scope         TEXT NOT NULL,             -- all, provider, regency, district, village, slot
    value         TEXT NOT NULL,
    t_begin       INTEGER NOT NULL,
    t_end         INTEGER NOT NULL,
    who           TEXT NOT NULL,
    why           TEXT NOT NULL,
    added_at      INTEGER NOT NULL,
    withdrawn_at  INTEGER,
    withdrawn_by  TEXT,
    withdrawn_why TEXT
) WITHOUT ROWID""",
    """CREATE TABLE rules (
    version       INTEGER PRIMARY KEY,
    document      TEXT NOT NULL,             -- TOML, as it was added
    added_at      INTEGER NOT NULL,
    added_by      TEXT NOT NULL
)""",
    """CREATE TABLE closed_months (
    month         TEXT NOT NULL,             -- YYYY-MM
    edition       INTEGER NOT NULL,          -- from 1; a month that was opened again gets the next
    rules         INTEGER NOT NULL,          -- version
    figures       BLOB NOT NULL,             -- deflated JSON
    digest        BLOB NOT NULL,             -- SHA-256 of the JSON
    closed_at     INTEGER NOT NULL,
    closed_by     TEXT NOT NULL,
    opened_at     INTEGER,                   -- again; null: this edition holds
    opened_by     TEXT,
    opened_why    TEXT,
    PRIMARY KEY (month, edition)
) WITHOUT ROWID""",
)


@dataclass(frozen=True)
class Contract:
    """What one slot is paid by, from `begin` to `end`.

    mbps: contracted, down; price: rupiah a month; target_ppm: availability that is owed, in
    millionths; excluded: kinds of time that are not the provider's; hours: seconds since
    midnight WITA from and to which the service is owed, None: always.
    """

    slot: str
    provider: str
    product: str
    medium: str
    mbps: int
    price: int
    target_ppm: int
    excluded: tuple[str, ...]
    hours: tuple[int, int] | None
    begin: int
    end: int
    number: str = ""

    @property
    def target(self) -> Fraction:
        """Availability that is owed, as a share of 1."""
        return Fraction(self.target_ppm, 1_000_000)


@dataclass(frozen=True)
class ContractEntry:
    """A contract on record: its id, who added it, and who withdrew it and why."""

    id: str
    contract: Contract
    added_at: int
    added_by: str
    withdrawn_at: int | None = None
    withdrawn_by: str | None = None
    withdrawn_why: str | None = None


@dataclass(frozen=True)
class ContractEvent:
    """Maintenance, force majeure or a dispute, from `begin` to `end`.

    scope, value: what it concerns: `all`, or a provider's name, the code of a regency, district
    or village, or a slot. A dispute changes no figure; the report names it.
    """

    id: str
    kind: str
    scope: str
    value: str
    begin: int
    end: int
    who: str
    why: str
    added_at: int
    withdrawn_at: int | None = None
    withdrawn_by: str | None = None
    withdrawn_why: str | None = None

    def concerns(self, slot: str, provider: str | None) -> bool:
        """Whether it holds for a slot that a provider serves."""
        if self.withdrawn_at is not None:
            return False
        if self.scope == "provider":
            return self.value == provider
        if self.scope == "slot":
            return slot == self.value
        return self.scope == "all" or slot.startswith(self.value)


@dataclass(frozen=True)
class ClosedMonth:
    """A month's figures as they were closed; JSON, with their SHA-256."""

    month: str
    edition: int
    rules: int
    figures: bytes
    digest: bytes
    closed_at: int
    closed_by: str
    opened_at: int | None = None
    opened_by: str | None = None
    opened_why: str | None = None
