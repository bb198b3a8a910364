"""The tables that are derived from the evidence, and only from it.

`rebuild` makes all of them under other names beside these ({s} is "_new" then), and exchanges
them at the end. Names of indexes can't be changed: {g} makes them differ.
"""

from __future__ import annotations

CHUNK = 16


"""So many seqs of a stream are derived together: those with the same seq // CHUNK."""


REBUILDING = "_new"


"""Suffix of the tables that a rebuild fills."""


_DERIVED_NOW = """
CREATE TABLE dirty{s} (                      -- what is to be derived
    slot_id       INTEGER NOT NULL,
    stream_id     INTEGER NOT NULL,
    chunk         INTEGER NOT NULL,
    first_seq     INTEGER NOT NULL,          -- what is new in it
    last_seq      INTEGER NOT NULL,
    reports       INTEGER NOT NULL,          -- how many are new
    moved         INTEGER NOT NULL DEFAULT 0, -- known ones may get another place in time
    PRIMARY KEY (slot_id, stream_id, chunk)
) CLUSTERED;
CREATE TABLE stale{s} (                      -- times of a slot that are to be painted again
    slot_id       INTEGER NOT NULL,
    t_begin       INTEGER NOT NULL,
    t_end         INTEGER NOT NULL,
    PRIMARY KEY (slot_id, t_begin)
) CLUSTERED;
CREATE TABLE redo{s} (                       -- boots whose outages are to be found again
    slot_id       INTEGER NOT NULL,
    stream_id     INTEGER NOT NULL,
    boot          INTEGER NOT NULL,
    PRIMARY KEY (slot_id, stream_id, boot)
) CLUSTERED;
CREATE TABLE pieces{s} (                     -- what the reports of a boot in a chunk say together
    stream_id     INTEGER NOT NULL,
    boot          INTEGER NOT NULL,
    chunk         INTEGER NOT NULL,
    slot_id       INTEGER NOT NULL,
    t_begin       INTEGER,                   -- first and last moment that samples cover
    t_end         INTEGER,
    first_anchor  INTEGER,                   -- seqs whose own clock is believed
    first_offset  INTEGER,                   -- and their Unix time of the boot's start
    last_anchor   INTEGER,
    last_offset   INTEGER,
    clockless     INTEGER NOT NULL,          -- how many others
    offset        INTEGER,                   -- of the newest report with a place in time
    last_up       INTEGER,                   -- greatest `up` of a sample that says up
    unplaced_first INTEGER,                  -- seqs without a place in time
    unplaced_last INTEGER,
    future_first  INTEGER,                   -- seqs with a clock from the future
    future_last   INTEGER,
    ahead         INTEGER NOT NULL,          -- by so many seconds, the first of them
    received_at   INTEGER NOT NULL,          -- the latest
    PRIMARY KEY (stream_id, boot, chunk)
) CLUSTERED;
CREATE INDEX pieces_of_slot{g} ON pieces{s} (slot_id, t_end) WHERE t_end IS NOT NULL;
CREATE INDEX pieces_anchors{g} ON pieces{s} (stream_id, boot, chunk)
    WHERE first_anchor IS NOT NULL;
CREATE INDEX pieces_unplaced{g} ON pieces{s} (stream_id, boot, chunk)
    WHERE unplaced_first IS NOT NULL;
CREATE INDEX pieces_future{g} ON pieces{s} (stream_id, boot, chunk)
    WHERE future_first IS NOT NULL;
CREATE TABLE placements{s} (                 -- of reports whose own clock is not believed
    stream_id     INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    t             INTEGER NOT NULL,
    PRIMARY KEY (stream_id, seq)
) CLUSTERED;
CREATE TABLE events{s} (                     -- of outages and boots
    stream_id     INTEGER NOT NULL,
    boot          INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    number        INTEGER NOT NULL,          -- in its report
    kind          INTEGER NOT NULL,
    up            INTEGER NOT NULL,
    t             INTEGER,
    received_at   INTEGER NOT NULL,
    detail        TEXT NOT NULL,             -- JSON, byte strings in hexadecimal
    PRIMARY KEY (stream_id, boot, seq, number)
) CLUSTERED;
CREATE TABLE declared{s} (                   -- by `dropped` events
    stream_id     INTEGER NOT NULL,          -- of the report that says so
    seq           INTEGER NOT NULL,
    number        INTEGER NOT NULL,
    kid           BYTES NOT NULL,
    stream        BYTES NOT NULL,             -- of which it says so
    first_seq     INTEGER NOT NULL,
    last_seq      INTEGER NOT NULL,
    reason        INTEGER NOT NULL,
    received_at   INTEGER NOT NULL,
    PRIMARY KEY (kid, stream, stream_id, seq, number)
) CLUSTERED;
CREATE TABLE boots{s} (                      -- each run of an agent
    stream_id     INTEGER NOT NULL,
    boot          INTEGER NOT NULL,
    slot_id       INTEGER NOT NULL,
    first_t       INTEGER,                   -- first and last moment that its samples cover
    last_t        INTEGER,
    offset        INTEGER,                   -- Unix time of its start, by its newest report
    started_t     INTEGER,                   -- the same by its `booted` event
    cause         INTEGER,                   -- why it started; null: not reported (yet)
    alive_boot    INTEGER,                   -- when the run before was last alive
    alive_up      INTEGER,
    alive_t       INTEGER,
    clean         INTEGER NOT NULL,
    off_begin     INTEGER,                   -- the time before it in which nothing ran
    off_end       INTEGER,
    off_state     TEXT,
    untold        INTEGER NOT NULL,          -- its outages whose end was not reported
    lasting       INTEGER NOT NULL,          -- its outages that last
    PRIMARY KEY (stream_id, boot)
) CLUSTERED;
CREATE INDEX boots_off{g} ON boots{s} (slot_id, off_end) WHERE off_end IS NOT NULL;
CREATE INDEX boots_last{g} ON boots{s} (slot_id, last_t) WHERE last_t IS NOT NULL;
CREATE INDEX boots_untold{g} ON boots{s} (slot_id) WHERE untold > 0;
CREATE INDEX boots_lasting{g} ON boots{s} (slot_id) WHERE lasting > 0;
CREATE TABLE outages{s} (
    stream_id     INTEGER NOT NULL,
    boot          INTEGER NOT NULL,
    begin_up      INTEGER NOT NULL,          -- seconds after the boot's start
    cause         INTEGER NOT NULL,
    slot_id       INTEGER NOT NULL,
    began_t       INTEGER,                   -- by each of the two events; null: not reported
    ended_t       INTEGER,
    duration      INTEGER,
    flaps         INTEGER NOT NULL,
    evidence      TEXT,                      -- JSON pairs [rung, result]
    t_begin       INTEGER,                   -- what follows from that; null: unplaced
    t_end         INTEGER,                   -- null: it lasts
    interrupted   INTEGER NOT NULL,          -- it ended for the record only
    told          INTEGER,                   -- seq of the report with its beginning
    PRIMARY KEY (stream_id, boot, begin_up, cause)
) CLUSTERED;
CREATE INDEX outages_of_slot{g} ON outages{s} (slot_id, t_end) WHERE t_end IS NOT NULL;
CREATE INDEX outages_ended{g} ON outages{s} (t_end) WHERE t_end IS NOT NULL;
CREATE INDEX outages_lasting{g} ON outages{s} (slot_id, t_begin)
    WHERE t_end IS NULL AND t_begin IS NOT NULL;
CREATE TABLE intervals{s} (                  -- the state of a slot from-to, without holes
    slot_id       INTEGER NOT NULL,
    t_begin       INTEGER NOT NULL,
    t_end         INTEGER NOT NULL,
    state         TEXT NOT NULL,
    PRIMARY KEY (slot_id, t_begin)
) CLUSTERED;
CREATE TABLE usage_hours{s} (
    slot_id       INTEGER NOT NULL,
    hour          INTEGER NOT NULL,          -- Unix time of its beginning
    measured_s    INTEGER NOT NULL,
    bytes_down    INTEGER,
    bytes_up      INTEGER,
    clients_peak  INTEGER,
    clients_day   INTEGER,
    PRIMARY KEY (slot_id, hour)
) CLUSTERED;
CREATE TABLE usage_days{s} (                 -- sums of hours, of a day of WITA
    day           INTEGER NOT NULL,          -- Unix time of its beginning
    slot_id       INTEGER NOT NULL,
    measured_s    INTEGER NOT NULL,
    bytes_down    INTEGER,
    bytes_up      INTEGER,
    clients_peak  INTEGER,
    clients_day   INTEGER,
    PRIMARY KEY (day, slot_id)
) CLUSTERED;
CREATE TABLE findings{s} (
    id            COUNTER,
    kind          TEXT NOT NULL,
    slot_id       INTEGER NOT NULL,
    stream_id     INTEGER NOT NULL,
    boot          INTEGER NOT NULL DEFAULT 0, -- where a finding is one per boot
    first_seq     INTEGER NOT NULL,
    last_seq      INTEGER NOT NULL,
    missing       INTEGER NOT NULL DEFAULT 0, -- of a gap: reports still missing
    found_at      INTEGER NOT NULL,          -- receipt of the report that shows it
    resolved_at   INTEGER,
    detail        TEXT NOT NULL DEFAULT ''
);
CREATE INDEX findings_of_stream{g} ON findings{s} (stream_id, kind, boot, first_seq)
    WHERE resolved_at IS NULL;
CREATE INDEX findings_open{g} ON findings{s} (found_at, id) WHERE resolved_at IS NULL;
CREATE INDEX findings_gaps{g} ON findings{s} (slot_id) WHERE resolved_at IS NULL AND kind = 'gap';
CREATE INDEX findings_resolved{g} ON findings{s} (slot_id, kind, resolved_at, id)
    WHERE resolved_at IS NOT NULL;
CREATE TABLE batch_findings{s} (             -- findings in the reports of a chunk
    stream_id     INTEGER NOT NULL,
    kind          TEXT NOT NULL,
    chunk         INTEGER NOT NULL,
    number        INTEGER NOT NULL,          -- of findings
    listed        TEXT NOT NULL,             -- each as [seq, found_at, detail], JSON
    PRIMARY KEY (stream_id, kind, chunk)
) CLUSTERED;
CREATE TABLE latest{s} (                     -- the newest that is known of a slot
    slot_id       INTEGER PRIMARY KEY,
    stream_id     INTEGER NOT NULL,          -- of its newest sample
    received_at   INTEGER NOT NULL,          -- of any report, the latest
    t_end         INTEGER,
    step          INTEGER NOT NULL,
    rtt           INTEGER,                   -- the newest of each within the last ten samples
    loss          INTEGER,
    clients       INTEGER,
    journal_fill  INTEGER,
    longest_s     INTEGER NOT NULL           -- time that any piece, outage or off time of it spans
)
"""


DERIVED_TABLES = (
    "dirty",
    "stale",
    "redo",
    "pieces",
    "placements",
    "events",
    "declared",
    "boots",
    "outages",
    "intervals",
    "usage_hours",
    "usage_days",
    "findings",
    "batch_findings",
    "latest",
)


def derived_tables(suffix: str = "", generation: int = 0) -> str:
    """The statements that make the derived tables.

    Args:
        suffix: of the tables' names.
        generation: a number that no tables have that are there already.
    """
    return _DERIVED_NOW.format(s=suffix, g=f"_{generation}" if generation else "")
