"""What people and pages ask of the database; reads only, beside a running ingest.

Times are Unix seconds. A slot is named as on the wire (`6403112001-1`). Values are in the units of
docs/metrics.md: ms, %, bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from host_tools.derive.intervals import NO_DATA, state_name
from host_tools.derive.slice import WITA_S, day_of
from host_tools.store.database import Database
from host_tools.wire.columns import SCALES

_DAY_S = 86400
# A slot is silent after so many report intervals without a report.
_SILENT_REPORTS = 3
_SAMPLES_PER_REPORT = 5  # while no birth has told
_MOST_SAMPLES = 60  # in a report, whatever a birth has told
_MOST_REPORTS = 2**32 - 1  # of a stream
_CLOCK_S = 300  # by which a device's clock may be off


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """A slot as of now.

    state: of docs/metrics.md, or `power`, `agent`, `no_data`; since: Unix time, None: never
    heard. fresh: a report came within three report intervals; without one the state is `no_data`.
    journal_fill: % of the device's journal that holds what is not stored. backlog: reports that
    the device has made and the province lacks; gaps: those of them in the middle, of all streams.
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


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage: end None while it lasts; interrupted: its end was not told by the device.

    known_until: where it lasts by the last that was heard, and its slot is silent since: the end
    of what was heard. Whether it lasts is not known then, and that time is none of an outage.
    evidence: pairs of rung (a state's name) and result (a probe result's number).
    """

    slot: str
    village: str
    cause: str
    begin: int
    end: int | None
    flaps: int
    interrupted: bool
    evidence: tuple[tuple[str, int], ...]
    known_until: int | None = None

    def duration(self, now: float) -> int:
        """Seconds until its end, or as far as it is known, or until now."""
        end = self.known_until if self.end is None else self.end
        return max(0, (int(now) if end is None else end) - self.begin)


@dataclass(frozen=True, slots=True)
class Interval:
    """The state of a slot from begin to end."""

    slot: str
    begin: int
    end: int
    state: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What went through a slot in an hour or a day (of WITA) that begins at `begin`.

    None: not measured. measured_s: seconds that samples cover. clients_day: different clients
    since midnight, the greatest told in that time.
    """

    slot: str
    village: str
    begin: int
    measured_s: int
    bytes_down: int | None
    bytes_up: int | None
    clients_peak: int | None
    clients_day: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the derivation has found in a stream; kinds in `derive.findings.Kind`."""

    id: int
    kind: str
    slot: str
    village: str
    kid: bytes
    stream: bytes
    boot: int
    first_seq: int
    last_seq: int
    missing: int
    found_at: int
    resolved_at: int | None
    detail: dict[str, Any]


def slots(db: Database) -> list[str]:
    """Every slot that has ever sent something signed."""
    return [slot for (slot,) in db.all("SELECT slot FROM slots ORDER BY slot")]


# ---- now ---------------------------------------------------------------------------------


def status(db: Database, now: float, village: str | None = None) -> list[SlotStatus]:
    """Each slot as of now, in the order of their names."""
    rows = db.all(
        "SELECT slots.id, slot, village, latest.stream_id, received_at, t_end, step, "
        "(SELECT samples FROM births WHERE births.stream_id = latest.stream_id "
        "ORDER BY boot DESC, conn DESC LIMIT 1), "
        "(SELECT sum(duplicates) FROM streams WHERE streams.slot_id = slots.id) "
        "FROM slots LEFT JOIN latest ON latest.slot_id = slots.id "
        "WHERE ? IS NULL OR village = ? ORDER BY slot",
        (village, village),
    )
    gaps: dict[int, int] = dict(
        db.all(
            "SELECT slot_id, sum(missing) FROM findings "
            "WHERE kind = 'gap' AND resolved_at IS NULL GROUP BY slot_id"
        )
    )
    today = day_of(int(now)) * _DAY_S - WITA_S
    used: dict[int, int] = dict(
        db.all(
            "SELECT slot_id, sum(coalesce(bytes_down + bytes_up, bytes_down, bytes_up)) "
            "FROM usage_hours WHERE hour >= ? AND hour < ? GROUP BY slot_id",
            (today, today + _DAY_S),
        )
    )
    found = []
    for slot_id, slot, its_village, stream_id, received, t_end, step, samples, duplicates in rows:
        interval_s = (step or 60) * min(samples or _SAMPLES_PER_REPORT, _MOST_SAMPLES)
        fresh = _fresh(now, received, t_end, interval_s)
        state, since = _state(db, slot_id, fresh, t_end)
        newest = _newest(db, slot_id, t_end) if fresh else _Newest()
        missing = int(gaps.get(slot_id, 0))
        found.append(
            SlotStatus(
                slot,
                its_village,
                state,
                since,
                fresh,
                newest.rtt_ms,
                newest.loss_percent,
                used.get(slot_id),
                newest.clients,
                received,
                newest.journal_fill,
                missing + _unsent(db, stream_id),
                missing,
                duplicates or 0,
            )
        )
    return found


def _fresh(now: float, received: int | None, t_end: int | None, interval_s: int) -> bool:
    """Whether what is known is of now. Old reports that come in late are not."""
    if received is None or t_end is None:
        return False
    silent_s = _SILENT_REPORTS * interval_s
    return now - received <= silent_s and now - t_end <= silent_s + _CLOCK_S


def _state(db: Database, slot_id: int, fresh: bool, t_end: int | None) -> tuple[str, int | None]:
    last = db.one(
        "SELECT state, t_begin, t_end FROM intervals WHERE slot_id = ? "
        "ORDER BY t_begin DESC LIMIT 1",
        (slot_id,),
    )
    if not fresh or last is None:
        return NO_DATA, last[2] if last else t_end
    lasting = db.one(
        "SELECT cause, t_begin FROM outages WHERE slot_id = ? AND ended = 0 AND t_end IS NULL "
        "AND t_begin IS NOT NULL ORDER BY t_begin DESC LIMIT 1",
        (slot_id,),
    )
    # An outage may be told before the first sample of it is.
    if lasting and lasting[1] >= last[1]:
        return state_name(lasting[0]), lasting[1]
    return last[0], last[1]


@dataclass(frozen=True, slots=True)
class _Newest:
    rtt_ms: float | None = None
    loss_percent: float | None = None
    clients: int | None = None
    journal_fill: float | None = None


def _newest(db: Database, slot_id: int, t_end: int | None) -> _Newest:
    """The newest of each value within the last few samples: not every sample has them all."""
    if t_end is None:
        return _Newest()
    day = day_of(t_end)
    rows = db.all(
        "SELECT rtt_mean, loss, clients, journal_fill FROM samples "
        "WHERE day BETWEEN ? AND ? AND slot_id = ? ORDER BY day DESC, t DESC LIMIT 10",
        (day - 1, day, slot_id),
    )
    rtt, loss, clients, fill = (
        next((row[column] for row in rows if row[column] is not None), None) for column in range(4)
    )
    # A round-trip time from before the link went down is not one of now.
    if rows and rows[0][0] is None:
        rtt = None
    return _Newest(
        None if rtt is None else rtt / SCALES["rtt_mean"],
        None if loss is None else loss / SCALES["loss"],
        clients,
        None if fill is None else fill / SCALES["journal_fill"],
    )


def _unsent(db: Database, stream_id: int | None) -> int:
    """Reports that the device had when it connected, newer than all that are stored."""
    if stream_id is None:
        return 0
    row = db.one(
        "SELECT (SELECT next_seq FROM births WHERE stream_id = ? "
        "ORDER BY boot DESC, conn DESC LIMIT 1), "
        "(SELECT max(seq) FROM reports WHERE stream_id = ?)",
        (stream_id, stream_id),
    )
    next_seq, newest = row or (None, None)
    return max(0, min((next_seq or 1) - 1, _MOST_REPORTS) - (newest or 0))


# ---- the past ----------------------------------------------------------------------------


def outages(
    db: Database,
    *,
    village: str | None = None,
    slot: str | None = None,
    since: float | None = None,
    now: float | None = None,
) -> list[Outage]:
    """Outages that lasted into the time since, in the order of their beginning.

    Args:
        now: tells which slots are silent; without it none is.
    """
    rows = db.all(
        "SELECT slot, village, cause, t_begin, t_end, flaps, interrupted, evidence, "
        "(SELECT last_t FROM boots WHERE boots.stream_id = outages.stream_id "
        "AND boots.boot = outages.boot) FROM outages "
        "JOIN slots ON slots.id = slot_id WHERE t_begin IS NOT NULL "
        "AND (? IS NULL OR village = ?) AND (? IS NULL OR slot = ?) "
        "AND (? IS NULL OR t_end IS NULL OR t_end >= ?) ORDER BY t_begin, slot",
        (village, village, slot, slot, since, since),
    )
    silent: set[str] = set()
    if now is not None and any(row[4] is None for row in rows):
        silent = {its.slot for its in status(db, now, village) if not its.fresh}
    return [
        Outage(
            slot,
            village,
            state_name(cause),
            begin,
            end,
            flaps,
            bool(cut),
            _evidence(text),
            max(begin, last_t or begin) if end is None and slot in silent else None,
        )
        for slot, village, cause, begin, end, flaps, cut, text, last_t in rows
    ]


def _evidence(text: str | None) -> tuple[tuple[str, int], ...]:
    pairs = json.loads(text) if text else None
    return tuple(
        (state_name(pair[0]), pair[1])
        for pair in (pairs if isinstance(pairs, list) else ())
        if isinstance(pair, list) and len(pair) == 2
    )


def intervals(
    db: Database, slot: str, *, begin: int | None = None, end: int | None = None
) -> list[Interval]:
    """The states of a slot that reach into the time from begin to end."""
    rows = db.all(
        "SELECT t_begin, t_end, state FROM intervals JOIN slots ON slots.id = slot_id "
        "WHERE slot = ? AND (? IS NULL OR t_end > ?) AND (? IS NULL OR t_begin < ?) "
        "ORDER BY t_begin",
        (slot, begin, begin, end, end),
    )
    return [Interval(slot, *row) for row in rows]


def usage(
    db: Database, *, by: str = "day", village: str | None = None, since: float | None = None
) -> list[Usage]:
    """Usage by the `hour` or by the `day` (of WITA), in the order of time.

    Args:
        since: the hour or day in which it lies is summed whole: a part would look like the whole.
    """
    length = {"hour": 3600, "day": _DAY_S}[by]
    if since is not None:
        since = (since + WITA_S) // length * length - WITA_S
    rows = db.all(
        "SELECT slot, village, (hour + ?) / ? * ? - ? AS span, sum(measured_s), sum(bytes_down), "
        "sum(bytes_up), max(clients_peak), max(clients_day) FROM usage_hours "
        "JOIN slots ON slots.id = slot_id WHERE (? IS NULL OR village = ?) "
        "AND (? IS NULL OR hour >= ?) GROUP BY slot, span ORDER BY span, slot",
        (WITA_S, length, length, WITA_S, village, village, since, since),
    )
    return [Usage(*row) for row in rows]


def findings(
    db: Database,
    *,
    kinds: Iterable[str] = (),
    village: str | None = None,
    resolved: bool = False,
) -> list[Finding]:
    """Findings in the order in which they were made.

    Args:
        kinds: only these; all if empty.
        resolved: also those that are resolved.
    """
    wanted = set(kinds)
    rows = db.all(
        "SELECT findings.id, kind, slot, village, kid, stream, boot, first_seq, last_seq, "
        "missing, found_at, resolved_at, detail FROM findings "
        "JOIN slots ON slots.id = findings.slot_id JOIN streams ON streams.id = stream_id "
        "WHERE (? OR resolved_at IS NULL) AND (? IS NULL OR village = ?) "
        "ORDER BY found_at, findings.id",
        (resolved, village, village),
    )
    found = []
    for row in rows:
        if not wanted or row[1] in wanted:
            detail: Any = json.loads(row[-1]) if row[-1] else {}
            found.append(Finding(*(*row[:-1], detail)))
    return found


# ---- evidence ----------------------------------------------------------------------------


def stored(db: Database, slot: str) -> dict[bytes, dict[int, bytes]]:
    """Of each stream of a slot each stored seq and the signed bytes as they arrived."""
    found: dict[bytes, dict[int, bytes]] = {}
    for stream, seq, message in db.iterate(
        "SELECT stream, seq, message FROM reports JOIN streams ON streams.id = stream_id "
        "JOIN slots ON slots.id = slot_id WHERE slot = ? ORDER BY stream_id, seq",
        (slot,),
    ):
        found.setdefault(stream, {})[seq] = message
    return found


def count_stored(db: Database, slot: str) -> int:
    """How many reports of a slot are stored."""
    return int(
        db.value(
            "SELECT count(*) FROM reports JOIN streams ON streams.id = stream_id "
            "JOIN slots ON slots.id = slot_id WHERE slot = ?",
            (slot,),
        )
    )


def count_duplicates(db: Database, slot: str) -> int:
    """How many reports of a slot arrived again, byte for byte, and were dropped."""
    return int(
        db.value(
            "SELECT coalesce(sum(duplicates), 0) FROM streams "
            "JOIN slots ON slots.id = slot_id WHERE slot = ?",
            (slot,),
        )
    )


def count_missing(db: Database, slot: str) -> int:
    """How many reports of a slot are missing in gaps that no device has declared."""
    return int(
        db.value(
            "SELECT coalesce(sum(missing), 0) FROM findings JOIN slots ON slots.id = slot_id "
            "WHERE slot = ? AND kind = 'gap' AND resolved_at IS NULL",
            (slot,),
        )
    )
