"""How every slot is now, and what has changed last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from host_tools.store.database import Database
from host_tools.store.queries.common import DAY_S, WITA_S
from host_tools.wire.columns import SCALES
from host_tools.wire.vocabulary import NO_DATA, state_name

# A slot is silent after so many report intervals without a report.
_SILENT_REPORTS = 3
_SAMPLES_PER_REPORT = 5  # while no birth has told
_MOST_SAMPLES = 60  # in a report, whatever a birth has told
_MOST_REPORTS = 2**32 - 1  # of a stream
_CLOCK_S = 300  # by which a device's clock may be off
_SAMPLES = (
    "(SELECT samples FROM births WHERE births.stream_id = latest.stream_id "
    "ORDER BY boot DESC, conn DESC LIMIT 1)"
)


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """A slot as of now.

    state: of docs/metrics.md, or `power`, `agent`, `no_data`; since: Unix time, None: never
    heard. fresh: a report came within three report intervals; without one the state is `no_data`.
    journal_fill: % of the device's journal that holds what is not stored. backlog: reports that
    the device has made and the province lacks; gaps: those of them in the middle, of all streams.
    interval_s: seconds between its reports.
    """

    slot: str
    village: str
    state: str
    since: int | None
    fresh: bool
    rtt_ms: float | None = None
    loss_percent: float | None = None
    bytes_today: int | None = None
    clients: int | None = None
    last_report: int | None = None
    journal_fill: float | None = None
    backlog: int = 0
    gaps: int = 0
    duplicates: int = 0
    interval_s: int = 300


class Change(NamedTuple):
    """From t on a slot has had a state; before: the state until then, None: it is its first."""

    id: int
    slot: str
    t: int
    state: str
    before: str | None


def status(db: Database, now: float, village: str | None = None) -> list[SlotStatus]:
    """Each slot as of now, in the order of their names."""
    today = (int(now) + WITA_S) // DAY_S * DAY_S - WITA_S
    rows = db.all(
        "SELECT slots.id, slot, village, received_at, latest.t_end, step, rtt, loss, clients, "
        f"journal_fill, {_SAMPLES}, (SELECT next_seq FROM births WHERE "
        "births.stream_id = latest.stream_id ORDER BY boot DESC, conn DESC LIMIT 1), "
        "(SELECT max(seq) FROM reports WHERE reports.stream_id = latest.stream_id), "
        "(SELECT max(last_seq) FROM archived WHERE archived.stream_id = latest.stream_id), "
        "(SELECT sum(coalesce(bytes_down + bytes_up, bytes_down, bytes_up)) FROM usage_hours "
        "WHERE slot_id = slots.id AND hour >= ? AND hour < ?), "
        "last.t_begin, last.t_end, last.state "
        "FROM slots LEFT JOIN latest ON latest.slot_id = slots.id "
        "LEFT JOIN intervals AS last ON last.slot_id = slots.id AND last.t_begin = "
        "(SELECT max(t_begin) FROM intervals WHERE slot_id = slots.id) "
        "WHERE ? IS NULL OR village = ? ORDER BY slot",
        (today, today + DAY_S, village, village),
    )
    gaps: dict[int, int] = dict(
        db.all(
            "SELECT slot_id, sum(missing) FROM findings "
            "WHERE kind = 'gap' AND resolved_at IS NULL GROUP BY slot_id"
        )
    )
    duplicates: dict[int, int] = dict(
        db.all("SELECT slot_id, sum(duplicates) FROM streams GROUP BY slot_id")
    )
    lasting = {
        row[0]: row[1:]
        for row in db.all(
            "SELECT slot_id, t_begin, cause FROM outages WHERE t_end IS NULL "
            "AND t_begin IS NOT NULL ORDER BY slot_id, t_begin"
        )
    }
    found = []
    for row in rows:
        slot_id, slot, its_village, received, t_end, step, rtt, loss, clients, fill = row[:10]
        samples, next_seq, newest, archived, used, begin, end, state = row[10:]
        interval_s = _interval_s(step, samples)
        fresh = _fresh(now, received, t_end, interval_s)
        since = begin
        if slot_id in lasting and (begin is None or lasting[slot_id][0] >= begin):
            # An outage may be reported before its first sample is.
            since, state = lasting[slot_id][0], state_name(lasting[slot_id][1])
        if not fresh or state is None:
            since, state = (t_end if end is None else end), NO_DATA
        if not fresh:
            rtt = loss = clients = fill = None
        missing = int(gaps.get(slot_id, 0))
        # What the device had when it connected, newer than all that is stored.
        unsent = max(0, min((next_seq or 1) - 1, _MOST_REPORTS) - max(newest or 0, archived or 0))
        found.append(
            SlotStatus(
                slot,
                its_village,
                state,
                since,
                fresh,
                None if rtt is None else rtt / SCALES["rtt_mean"],
                None if loss is None else loss / SCALES["loss"],
                used,
                clients,
                received,
                None if fill is None else fill / SCALES["journal_fill"],
                missing + unsent,
                missing,
                duplicates.get(slot_id, 0),
                interval_s,
            )
        )
    return found


def silent_slots(db: Database, now: float) -> set[str]:
    """The slots that have sent nothing for three report intervals."""
    return {
        slot
        for slot, received, t_end, step, samples in db.all(
            f"SELECT slot, received_at, latest.t_end, step, {_SAMPLES} FROM slots "
            "LEFT JOIN latest ON latest.slot_id = slots.id"
        )
        if not _fresh(now, received, t_end, _interval_s(step, samples))
    }


def _interval_s(step: int | None, samples: int | None) -> int:
    """Seconds between reports."""
    return (step or 60) * min(samples or _SAMPLES_PER_REPORT, _MOST_SAMPLES)


def _fresh(now: float, received: int | None, t_end: int | None, interval_s: int) -> bool:
    """Whether what is known is of now. Old reports that come in late are not."""
    if received is None or t_end is None:
        return False
    silent_s = _SILENT_REPORTS * interval_s
    return now - received <= silent_s and now - t_end <= silent_s + _CLOCK_S


def changes(db: Database, after: int, limit: int = 1000) -> list[Change]:
    """Changes of slots' states in the order in which they became known, each once.

    Args:
        after: the id of the last one seen.
    """
    rows = db.all(
        "SELECT changes.id, slot, t, state, before FROM changes "
        "JOIN slots ON slots.id = slot_id WHERE changes.id > ? ORDER BY changes.id LIMIT ?",
        (after, limit),
    )
    return [Change(*row) for row in rows]


def newest_change(db: Database) -> int:
    """The id of the last change of a slot's state; 0 if there was none."""
    return int(db.value("SELECT max(id) FROM changes") or 0)


def count_clocks_ahead(db: Database) -> int:
    """How many slots have reports that were made in what is the future here."""
    return int(
        db.value(
            "SELECT count(DISTINCT slot_id) FROM findings WHERE resolved_at IS NULL "
            "AND kind = 'future_clock'"
        )
    )


class Software(NamedTuple):
    """What runs on the device of a slot, by its newest birth."""

    slot: str
    board: str
    agent: str
    interpreter: str
    received_at: int


def software(db: Database, slot: str | None = None) -> list[Software]:
    """What runs on the device of each slot, or of one."""
    rows = db.all(
        "SELECT slot, board, agent, interpreter, births.received_at FROM slots "
        "JOIN latest ON latest.slot_id = slots.id JOIN births ON births.id = (SELECT newest.id "
        "FROM births AS newest WHERE newest.stream_id = latest.stream_id "
        "ORDER BY boot DESC, conn DESC LIMIT 1) WHERE ? IS NULL OR slot = ? ORDER BY slot",
        (slot, slot),
    )
    return [Software(*row) for row in rows]
