"""The tables of pages.db. An older file gets the tables that it lacks when it is opened."""

APPLICATION_ID = 0x44455350  # "DESP"
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
_PHOTOGRAPHS = (
    """CREATE TABLE photographs (
    id            INTEGER PRIMARY KEY,
    village       TEXT NOT NULL,
    at            INTEGER NOT NULL,
    who           TEXT NOT NULL,
    text          TEXT NOT NULL,
    width         INTEGER NOT NULL,
    height        INTEGER NOT NULL,
    size          INTEGER NOT NULL,          -- bytes of the picture; 0: it was removed
    removed_at    INTEGER,
    picture       BLOB                       -- JPEG
)""",
    "CREATE INDEX photographs_of_village ON photographs(village)",
)
MIGRATIONS = (_TABLES, _CHECKS, _PHOTOGRAPHS)
