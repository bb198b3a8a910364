"""The tables of the province's database, as a list of migrations.

Times are Unix seconds, UTC; `day` is a calendar day of WITA (UTC+8), counted from 1970-01-01.
A migration that was released is never changed in what it makes of a database in the end: a newer
one is added. Statements end with ";" at the end of a line. BYTES, COUNTER, SERIAL and CLUSTERED
are words that `dialect` translates.
"""

from __future__ import annotations

from host_tools.store.derived_schema import CHUNK, DERIVED_TABLES, derived_tables

# What arrived. Nothing here is computed from anything but its own message, and nothing is deleted.
_EVIDENCE = """
CREATE TABLE slots (
    id            COUNTER,
    slot          TEXT NOT NULL UNIQUE,
    village       TEXT NOT NULL
);
CREATE TABLE streams (
    id            COUNTER,
    kid           BYTES NOT NULL,             -- of the device that signs it
    slot_id       INTEGER NOT NULL REFERENCES slots(id),
    stream        BYTES NOT NULL,
    first_at      INTEGER NOT NULL,
    duplicates    INTEGER NOT NULL DEFAULT 0, -- reports that arrived again, byte for byte
    ranges        TEXT NOT NULL DEFAULT '',  -- seqs stored, as of the marks in `meta`
    UNIQUE (kid, stream)
);
CREATE TABLE reports (
    id            COUNTER,       -- in the order of storing
    stream_id     INTEGER NOT NULL REFERENCES streams(id),
    seq           INTEGER NOT NULL,
    boot          INTEGER NOT NULL,
    up            INTEGER NOT NULL,
    start         INTEGER,                   -- as the device tells it; not yet believed
    received_at   INTEGER NOT NULL,
    message       BYTES NOT NULL,             -- the signed bytes; the topic follows from the slot
    UNIQUE (stream_id, seq)
);
CREATE TABLE births (
    id            COUNTER,
    stream_id     INTEGER NOT NULL REFERENCES streams(id),
    boot          INTEGER NOT NULL,
    conn          INTEGER NOT NULL,
    received_at   INTEGER NOT NULL,
    board         TEXT NOT NULL,
    agent         TEXT NOT NULL,
    interpreter   TEXT NOT NULL,
    reset_cause   INTEGER NOT NULL,
    next_seq      INTEGER NOT NULL,
    round_s       INTEGER NOT NULL,
    sample_s      INTEGER NOT NULL,
    samples       INTEGER NOT NULL,          -- in a report
    message       BYTES NOT NULL,
    UNIQUE (stream_id, boot, conn)
);
CREATE TABLE quarantine (
    id            SERIAL,
    digest        BYTES NOT NULL UNIQUE,      -- of topic and payload: what comes again is counted
    topic         TEXT NOT NULL,
    payload       BYTES NOT NULL,
    reason        TEXT NOT NULL,
    detail        TEXT NOT NULL,
    slot          TEXT NOT NULL,             -- '' where the topic names none
    kid           BYTES,
    stream_id     INTEGER REFERENCES streams(id), -- where the signature was good: counts as stored
    seq           INTEGER,
    received_at   INTEGER NOT NULL,
    times         INTEGER NOT NULL DEFAULT 1,
    last_at       INTEGER NOT NULL
);
CREATE INDEX quarantine_kinds ON quarantine (slot, reason);
CREATE INDEX quarantine_keys ON quarantine (kid) WHERE reason = 'unknown_key';
CREATE INDEX quarantine_seqs ON quarantine (stream_id, seq) WHERE stream_id IS NOT NULL;
CREATE TABLE quarantine_overflow (           -- what was beyond the quarantine's bounds
    slot          TEXT NOT NULL,
    reason        TEXT NOT NULL,
    count         INTEGER NOT NULL,
    first_at      INTEGER NOT NULL,
    last_at       INTEGER NOT NULL,
    PRIMARY KEY (slot, reason)
) CLUSTERED;
CREATE TABLE meta (
    key           TEXT PRIMARY KEY,
    value         INTEGER NOT NULL
) CLUSTERED
"""

# What versions 1 and 2 derived.
_OLD_DERIVED = (
    "placements samples events boots outages intervals findings usage_hours latest"
).split()


_FROM_EVIDENCE = f"""
CREATE TABLE corrupt (                       -- stored reports that are not what was signed
    stream_id     INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    found_at      INTEGER NOT NULL,
    detail        TEXT NOT NULL,
    PRIMARY KEY (stream_id, seq)
) CLUSTERED;
CREATE TABLE changes (                       -- each change of a slot's state, once
    id            SERIAL,
    slot_id       INTEGER NOT NULL,
    t             INTEGER NOT NULL,          -- Unix time at which the state began
    state         TEXT NOT NULL,
    before        TEXT                       -- null: it is the first of the slot
);
CREATE INDEX changes_of_slot ON changes (slot_id, id);
INSERT INTO dirty SELECT slot_id, stream_id, seq / {CHUNK}, min(seq), max(seq), count(*), 0
    FROM reports JOIN streams ON streams.id = stream_id GROUP BY stream_id, seq / {CHUNK}
"""

# Everything is derived anew, by the rules of docs/wire.md, from the evidence.
_DERIVE_ANEW = ";\n".join(
    (
        *(f"DROP TABLE IF EXISTS {table}" for table in _OLD_DERIVED),
        derived_tables(),
        _FROM_EVIDENCE,
    )
)

# Who has dismissed messages in quarantine, or deleted dismissed ones, and why.
_QUARANTINE_NOTES = """
CREATE TABLE quarantine_notes (
    id            COUNTER,
    noted_at      INTEGER NOT NULL,
    action        TEXT NOT NULL,             -- dismiss or empty
    who           TEXT NOT NULL,
    why           TEXT NOT NULL,
    messages      INTEGER NOT NULL DEFAULT 0
);
ALTER TABLE quarantine ADD COLUMN note_id INTEGER REFERENCES quarantine_notes(id);
CREATE INDEX quarantine_noted ON quarantine (note_id) WHERE note_id IS NOT NULL
"""

# What the broker's will says of devices: a hint for people, never evidence.
_SESSIONS = """
CREATE TABLE sessions (
    slot          TEXT PRIMARY KEY,
    online        INTEGER NOT NULL,
    since         INTEGER NOT NULL           -- when it became known
) CLUSTERED
"""

# Lists and counts of the quarantine come from an index: its rows hold the messages.
_QUARANTINE_INDEX = """
DROP INDEX quarantine_kinds;
DROP INDEX quarantine_noted;
CREATE INDEX quarantine_listed ON quarantine (slot, reason, note_id);
CREATE INDEX quarantine_noted ON quarantine (note_id, reason)
"""

# A step of the derivation is bounded whatever a device reports: the rest waits in a table.
# A rebuild that was interrupted begins again.
_BOUNDED = ";\n".join(
    (
        *(f"DROP TABLE IF EXISTS {table}_new" for table in DERIVED_TABLES),
        "CREATE TABLE IF NOT EXISTS redo (slot_id INTEGER NOT NULL, stream_id INTEGER NOT NULL, "
        "boot INTEGER NOT NULL, PRIMARY KEY (slot_id, stream_id, boot)) CLUSTERED",
        *(
            f"CREATE INDEX IF NOT EXISTS pieces_{kind} ON pieces (stream_id, boot, chunk) "
            f"WHERE {kind}_first IS NOT NULL"
            for kind in ("unplaced", "future")
        ),
    )
)

# What was moved to the archive of closed months, and where it is there.
_ARCHIVE = """
CREATE TABLE archives (
    id            COUNTER,       -- in the order of the archive's list
    file          TEXT NOT NULL UNIQUE,
    sha256        TEXT NOT NULL,
    emptied       INTEGER NOT NULL           -- none of its reports is left in `reports`
);
CREATE TABLE archived (                      -- reports of a stream in a row group of a file
    stream_id     INTEGER NOT NULL REFERENCES streams(id),
    last_seq      INTEGER NOT NULL,
    archive_id    INTEGER NOT NULL REFERENCES archives(id),
    row_group     INTEGER NOT NULL,
    first_row     INTEGER NOT NULL,
    first_seq     INTEGER NOT NULL,
    reports       INTEGER NOT NULL,
    ranges        TEXT NOT NULL,             -- their seqs
    PRIMARY KEY (stream_id, last_seq, archive_id, row_group)
) CLUSTERED
"""

# What the ingest has signed, up to which seq of each stream, and whether it has counted a report
# that was found corrupt later.
_RECEIPTS = """
CREATE TABLE receipts (
    number        COUNTER,                   -- from 0, without holes
    receipt       BYTES NOT NULL             -- as it was signed
);
ALTER TABLE streams ADD COLUMN receipt_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE corrupt ADD COLUMN counted INTEGER NOT NULL DEFAULT 0
"""


# Findings of a slot are bounded: those of chunks are kept apart, and are found again.
_BATCHED = "WHERE kind IN ('chain_break', 'stream_lost') AND resolved_at IS NULL"
_BOUNDED_FINDINGS = ";\n".join(
    (
        *(f"DROP TABLE IF EXISTS {table}_new" for table in DERIVED_TABLES),
        "CREATE TABLE IF NOT EXISTS batch_findings (stream_id INTEGER NOT NULL, "
        "kind TEXT NOT NULL, chunk INTEGER NOT NULL, number INTEGER NOT NULL, "
        "listed TEXT NOT NULL, PRIMARY KEY (stream_id, kind, chunk)) CLUSTERED",
        "CREATE INDEX IF NOT EXISTS findings_resolved ON findings "
        "(slot_id, kind, resolved_at, id) WHERE resolved_at IS NOT NULL",
        f"INSERT INTO dirty SELECT DISTINCT slot_id, stream_id, first_seq / {CHUNK}, "
        f"first_seq / {CHUNK} * {CHUNK}, first_seq / {CHUNK} * {CHUNK} + {CHUNK - 1}, 0, 1 "
        f"FROM findings {_BATCHED} AND NOT EXISTS (SELECT 1 FROM dirty WHERE dirty.stream_id = "
        f"findings.stream_id AND chunk = first_seq / {CHUNK})",
        f"DELETE FROM findings {_BATCHED}",
    )
)

# An outage whose end was not reported is known only as long as there is evidence of it. Each of
# them is made different, so that it is derived and painted again.
_KNOWN_OUTAGES = ";\n".join(
    (
        *(f"DROP TABLE IF EXISTS {table}_new" for table in DERIVED_TABLES),
        "UPDATE outages SET began_t = NULL WHERE duration IS NULL",
        "INSERT INTO redo SELECT slot_id, stream_id, boot FROM boots WHERE untold > 0 AND NOT "
        "EXISTS (SELECT 1 FROM redo WHERE redo.stream_id = boots.stream_id "
        "AND redo.boot = boots.boot)",
    )
)

MIGRATIONS = (
    _EVIDENCE,
    "SELECT 1",
    _DERIVE_ANEW,
    _QUARANTINE_NOTES,
    _SESSIONS,
    _QUARANTINE_INDEX,
    _BOUNDED,
    _ARCHIVE,
    _RECEIPTS,
    _BOUNDED_FINDINGS,
    _KNOWN_OUTAGES,
)
