"""What the registry holds, and the tables that keep it. Times are Unix seconds."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from host_tools.common.errors import RegistryError
from host_tools.common.i18n import _, marked

SCHEMA = """
CREATE TABLE villages (
    code          TEXT PRIMARY KEY,          -- Kemendagri code, 10 digits
    name          TEXT NOT NULL,
    district      TEXT NOT NULL,
    regency       TEXT NOT NULL,
    lat           REAL,
    lon           REAL,
    site          TEXT
) WITHOUT ROWID;
CREATE TABLE slots (
    slot          TEXT PRIMARY KEY,          -- <village>-<number>
    village       TEXT NOT NULL REFERENCES villages(code),
    created_at    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE devices (
    kid           BLOB PRIMARY KEY,          -- first 8 bytes of SHA-256(public_key)
    public_key    BLOB NOT NULL,             -- Ed25519, 32 bytes
    slot          TEXT NOT NULL REFERENCES slots(slot),
    board         TEXT NOT NULL,
    unique_id     TEXT,                      -- MAC or serial number, as the device reports it
    firmware      TEXT NOT NULL,             -- the agent's version at enrolment
    proof         BLOB,                      -- the signed enrolment, as evidence
    enrolled_at   INTEGER NOT NULL,
    enrolled_by   TEXT NOT NULL,
    revoked_at    INTEGER,
    revoked_by    TEXT,
    replaced_by   BLOB REFERENCES devices(kid)
) WITHOUT ROWID;
CREATE INDEX devices_of_slot ON devices(slot);
-- The rule that a slot has one device is kept by the database itself.
CREATE UNIQUE INDEX one_active_device ON devices(slot) WHERE revoked_at IS NULL;
CREATE TABLE certificates (
    serial        TEXT PRIMARY KEY,          -- hexadecimal
    slot          TEXT NOT NULL,             -- the CN: a slot, or the name of a service
    not_after     INTEGER NOT NULL,
    issued_at     INTEGER NOT NULL,
    revoked_at    INTEGER
) WITHOUT ROWID;
CREATE INDEX certificates_of_slot ON certificates(slot);
"""

# Nothing is deleted: what was wrong is withdrawn, by whom and why.
_CONTRACT_TABLES = (
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

# Statements that bring a registry from one format to the next; the key is the resulting format. A
# new registry is made by the same statements, so that old and new ones can't differ.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: (
        # Of the certificate that the device was given, where that is known.
        "ALTER TABLE devices ADD COLUMN certificate TEXT",
        "CREATE INDEX devices_of_certificate ON devices(certificate)",
        # SHA-256 of the firmware that ran when it was enrolled.
        "ALTER TABLE devices ADD COLUMN firmware_hash BLOB",
        # The keys of the trust document, with those that were removed from it.
        """CREATE TABLE role_keys (
    kid           BLOB PRIMARY KEY,          -- first 8 bytes of SHA-256(public_key)
    public_key    BLOB NOT NULL,             -- Ed25519, 32 bytes
    role          INTEGER NOT NULL,          -- as in people/trust.py
    name          TEXT NOT NULL,
    added_at      INTEGER NOT NULL,
    not_after     INTEGER NOT NULL,
    revoked_at    INTEGER,
    revoked_by    TEXT
) WITHOUT ROWID""",
        """CREATE TABLE trusts (
    version       INTEGER PRIMARY KEY,       -- grows by one
    document      BLOB NOT NULL              -- as it was signed
)""",
        """CREATE TABLE kits (
    id            BLOB PRIMARY KEY,          -- 8 random bytes
    technician    BLOB NOT NULL REFERENCES role_keys(kid),
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    revoked_at    INTEGER,
    revoked_by    TEXT
) WITHOUT ROWID""",
        """CREATE TABLE kit_certificates (
    serial        TEXT PRIMARY KEY REFERENCES certificates(serial),
    kit           BLOB NOT NULL REFERENCES kits(id),
    slot          TEXT NOT NULL
) WITHOUT ROWID""",
        "CREATE INDEX certificates_of_kit ON kit_certificates(kit)",
        "CREATE INDEX kit_certificates_of_slot ON kit_certificates(slot)",
        """CREATE TABLE enrolment_records (
    log           BLOB NOT NULL,             -- 8 random bytes: one technician on one laptop
    number        INTEGER NOT NULL,          -- from 0, without holes
    hash          BLOB NOT NULL,             -- SHA-256 of the record
    technician    BLOB NOT NULL REFERENCES role_keys(kid),
    slot          TEXT NOT NULL,
    record        BLOB NOT NULL,             -- as it was signed
    imported_at   INTEGER NOT NULL,
    refused       TEXT,                      -- why it enrolled nothing; null: it did
    PRIMARY KEY (log, number)
) WITHOUT ROWID""",
        """CREATE TABLE replacements (
    id            INTEGER PRIMARY KEY,
    slot          TEXT NOT NULL,
    kid           BLOB NOT NULL REFERENCES devices(kid),  -- the device that may be replaced
    document      BLOB NOT NULL,             -- the order, signed by the root key
    created_at    INTEGER NOT NULL,
    used_by       BLOB REFERENCES devices(kid)
)""",
        "CREATE INDEX replacements_of_slot ON replacements(slot)",
    ),
    3: (
        # The certificate itself (DER), so that it can be renewed without its key.
        "ALTER TABLE certificates ADD COLUMN content BLOB",
        # Serial of the certificate that this one continues with the same key.
        "ALTER TABLE certificates ADD COLUMN renews TEXT",
    ),
    4: _CONTRACT_TABLES,
    5: ("ALTER TABLE villages ADD COLUMN provider TEXT",),  # of its link, as the office names it
    6: (
        """CREATE TABLE office_log (
    number        INTEGER PRIMARY KEY,       -- from 0, without holes
    entry         BLOB NOT NULL              -- as it was signed
)""",
    ),
}
FORMAT = max(MIGRATIONS)

_SLOT = re.compile(r"([0-9]{10})-([1-9][0-9]{0,2})")


def kid_of(public_key: bytes) -> bytes:
    """The key id on the wire: the first 8 bytes of SHA-256 over the 32-byte public key."""
    return hashlib.sha256(public_key).digest()[:8]


def slot_name(village: str, number: int) -> str:
    """The slot of a village's access point, e.g. `6403112001-1`."""
    return f"{village}-{number}"


def village_of(slot: str) -> str:
    """The village code of a slot.

    Raises:
        RegistryError: that is not the name of a slot.
    """
    match = _SLOT.fullmatch(slot)
    if match is None:
        raise RegistryError(
            _(
                "'{slot}' is not a slot; a slot is the village code, a dash and a number from 1 "
                "to 999, such as 6403112001-1."
            ).format(slot=slot)
        )
    return match[1]


@dataclass(frozen=True)
class Village:
    """A village of the province; position in degrees (WGS 84), both or neither."""

    code: str
    name: str
    district: str
    regency: str
    lat: float | None = None
    lon: float | None = None
    site: str | None = None
    provider: str | None = None
    """Of the village's link, as the office names it."""

    @property
    def dotted(self) -> str:
        """The code as the ministry prints it, `64.03.11.2001`."""
        return f"{self.code[:2]}.{self.code[2:4]}.{self.code[4:6]}.{self.code[6:]}"

    @property
    def district_code(self) -> str:
        return self.code[:6]

    @property
    def regency_code(self) -> str:
        return self.code[:4]


@dataclass(frozen=True)
class Device:
    """A device key and the slot it fills or filled."""

    kid: bytes
    public_key: bytes
    slot: str
    board: str
    unique_id: str | None
    firmware: str
    enrolled_at: int
    enrolled_by: str
    revoked_at: int | None
    revoked_by: str | None
    replaced_by: bytes | None
    certificate: str | None = None
    """Serial of the certificate that it was given, where that is known."""
    firmware_hash: bytes | None = None
    """SHA-256 of the firmware that ran when it was enrolled."""

    @property
    def active(self) -> bool:
        return self.revoked_at is None


@dataclass(frozen=True)
class Certificate:
    """A client certificate that the CA issued."""

    serial: str
    slot: str
    not_after: int
    issued_at: int
    revoked_at: int | None


@dataclass(frozen=True)
class RoleKey:
    """A key that the trust document names, or named: a technician's, an operator's ..."""

    kid: bytes
    public_key: bytes
    role: int
    name: str
    added_at: int
    not_after: int
    revoked_at: int | None = None
    revoked_by: str | None = None

    def valid(self, at: float) -> bool:
        """Whether the key may sign at a time."""
        return self.revoked_at is None and at < self.not_after


@dataclass(frozen=True)
class KitSerial:
    """A certificate that was packed into a kit; `device` is the kid that was given it, if any."""

    serial: str
    slot: str
    revoked_at: int | None
    device: bytes | None


@dataclass(frozen=True)
class KitEntry:
    """A kit on record."""

    id: bytes
    technician: bytes
    """kid of the role key in it."""
    name: str
    """The technician's."""
    created_at: int
    expires_at: int
    revoked_at: int | None
    revoked_by: str | None
    key_not_after: int
    """Of the technician's key, as the next."""
    key_revoked_at: int | None
    certificates: tuple[KitSerial, ...]

    def state(self, now: float) -> str:
        """`valid`, `expired`, `revoked`; `key revoked`, `key expired`: the kit is neither, but
        what its technician's key signs now is not imported."""
        if self.revoked_at is not None:
            return marked("revoked")
        if now >= self.expires_at:
            return marked("expired")
        if self.key_revoked_at is not None:
            return marked("key revoked")
        return marked("valid") if now < self.key_not_after else marked("key expired")

    @property
    def unused(self) -> tuple[KitSerial, ...]:
        """Certificates that no device was given and that still open the broker."""
        return tuple(c for c in self.certificates if c.device is None and c.revoked_at is None)


@dataclass(frozen=True)
class ReplacementOrder:
    """The permission to replace the device `kid` of a slot; `document` is signed by the root."""

    id: int
    slot: str
    kid: bytes
    document: bytes
