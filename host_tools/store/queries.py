"""What people and pages ask of the database; reads only, beside a running ingest.

Times are Unix seconds. A slot is named as on the wire (`6403112001-1`). Values are in the units of
docs/metrics.md: ms, %, bytes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from heapq import merge
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from agent.wire import ids
from host_tools.store.archived import archived_reports, count_archived
from host_tools.store.database import Database, Row
from host_tools.store.derived import Derived
from host_tools.store.dialect import ALL, THEN_JOIN, bounded_sum
from host_tools.wire import Refused, decode_columns, parse_birth, parse_report
from host_tools.wire.columns import SCALES
from host_tools.wire.envelope import split
from host_tools.wire.vocabulary import NO_DATA, state_name

_DAY_S = 86400
_WITA_S = 8 * 3600
# A slot is silent after so many report intervals without a report.
_SILENT_REPORTS = 3
_SAMPLES_PER_REPORT = 5  # while no birth has told
_MOST_SAMPLES = 60  # in a report, whatever a birth has told
_MOST_REPORTS = 2**32 - 1  # of a stream
_EVER = -(2**62)
_CLOCK_S = 300  # by which a device's clock may be off


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


class Outage(NamedTuple):
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


class Interval(NamedTuple):
    """The state of a slot from begin to end."""

    slot: str
    begin: int
    end: int
    state: str


class Usage(NamedTuple):
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
    """What the derivation has found in a stream; kinds as `derive` names them."""

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

    @property
    def count(self) -> int:
        """How many it stands for."""
        return int(self.detail.get("findings", 1))


class Change(NamedTuple):
    """From t on a slot has had a state; before: the state until then, None: it is its first."""

    id: int
    slot: str
    t: int
    state: str
    before: str | None


def slots(db: Database) -> list[str]:
    """Every slot that has ever sent something signed."""
    return [slot for (slot,) in db.all("SELECT slot FROM slots ORDER BY slot")]


def _slots_of(db: Database, village: str | None, slot: str | None) -> dict[int, tuple[str, str]]:
    """Id to slot and village; of one village or slot, or of all."""
    rows = db.all("SELECT id, slot, village FROM slots ORDER BY slot")
    return {
        row[0]: (row[1], row[2])
        for row in rows
        if village in (None, row[2]) and slot in (None, row[1])
    }


# ---- now ---------------------------------------------------------------------------------


def status(db: Database, now: float, village: str | None = None) -> list[SlotStatus]:
    """Each slot as of now, in the order of their names."""
    today = (int(now) + _WITA_S) // _DAY_S * _DAY_S - _WITA_S
    rows = db.all(
        "SELECT slots.id, slot, village, received_at, latest.t_end, step, rtt, loss, clients, "
        "journal_fill, (SELECT samples FROM births WHERE births.stream_id = latest.stream_id "
        "ORDER BY boot DESC, conn DESC LIMIT 1), (SELECT next_seq FROM births WHERE "
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
        (today, today + _DAY_S, village, village),
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
        interval_s = (step or 60) * min(samples or _SAMPLES_PER_REPORT, _MOST_SAMPLES)
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
    """The id of the newest change, 0 if there is none."""
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


# ---- the past ----------------------------------------------------------------------------


def recent_states(db: Database, since: int) -> dict[str, list[tuple[int, int, str]]]:
    """By slot: begin, end and state of what reaches beyond a time, in the order of time."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for slot, *span in db.iterate(
        f"SELECT slot, t_begin, t_end, state FROM slots {THEN_JOIN} intervals "
        "ON slot_id = slots.id AND t_begin >= coalesce((SELECT max(earlier.t_begin) FROM "
        "intervals AS earlier WHERE earlier.slot_id = slots.id AND earlier.t_begin <= ?), ?) "
        "ORDER BY slots.id, t_begin",
        (since, _EVER),
    ):
        begin, end, state = span
        if end > since:
            found.setdefault(slot, []).append((begin, end, state))
    return found


def ended_outages(
    db: Database,
    *,
    before: int,
    since: int,
    limit: int,
    wanted: Callable[[str, str], bool] = lambda slot, cause: True,
    read: int = 10_000,
) -> tuple[list[Outage], int | None]:
    """Outages that ended in a time, those that ended last first.

    Args:
        before: they ended before then.
        limit: at most so many.
        wanted: of slot and cause: whether it is one of them.
        read: look at so many at most.

    Returns:
        They, and the `before` that leads to older ones; None: there are none.
    """
    named = _slots_of(db, None, None)
    found: list[Outage] = []
    seen = 0
    for slot_id, cause, begin, end, flaps, cut, evidence in db.iterate(
        "SELECT slot_id, cause, t_begin, t_end, flaps, interrupted, evidence FROM outages "
        "WHERE t_end < ? AND t_end >= ? ORDER BY t_end DESC",
        (before, since),
    ):
        slot, village = named[slot_id]
        name = state_name(cause)
        if wanted(slot, name):
            its = (slot, village, name, begin, end, flaps, bool(cut), _evidence(evidence))
            found.append(Outage(*its))
        seen += 1
        if len(found) == limit or seen == read:
            # Those that ended in the same second are read twice, and none is left out.
            return found, end + 1 if end + 1 < before else end
    return found, None


def outages(
    db: Database,
    *,
    village: str | None = None,
    slot: str | None = None,
    since: float | None = None,
    until: float | None = None,
    now: float | None = None,
    limit: int | None = None,
    silent: Collection[str] | None = None,
) -> list[Outage]:
    """Outages that lasted into the time since, in the order of their beginning.

    Args:
        until: only those that began before.
        now: tells which slots are silent; without it none is.
        limit: at most so many, those that ended last and those that last.
        silent: the slots that are silent, for a caller who knows; `now` is not needed then.
    """
    named = _slots_of(db, village, slot)
    columns = (
        "SELECT slot_id, cause, t_begin, t_end, flaps, interrupted, evidence, stream_id, boot "
        "FROM outages WHERE"
    )
    start = _EVER if since is None else since
    most = ALL if limit is None else limit
    ended = "t_end >= ? ORDER BY t_end DESC LIMIT ?"
    lasting = "t_end IS NULL AND t_begin IS NOT NULL ORDER BY t_begin DESC LIMIT ?"
    if village is None and slot is None:
        rows = db.all(f"{columns} {lasting}", (most,))
        rows += db.all(f"{columns} {ended}", (start, most))
    else:
        rows = []
        for slot_id in named:
            rows += db.all(f"{columns} slot_id = ? AND {lasting}", (slot_id, most))
            rows += db.all(f"{columns} slot_id = ? AND {ended}", (slot_id, start, most))
    if limit is not None and len(rows) > limit:
        rows.sort(key=lambda row: (row[3] is None, row[3]), reverse=True)
        rows = rows[:limit]
    if silent is None:
        silent = set()
    if now is not None and any(row[3] is None for row in rows):
        silent = {its.slot for its in status(db, now, village) if not its.fresh}
    found = []
    for slot_id, cause, begin, end, flaps, cut, evidence, stream_id, boot in rows:
        if until is not None and begin >= until:
            continue
        its_slot, its_village = named[slot_id]
        known = None
        if end is None and its_slot in silent:
            run = Derived(db).boot(stream_id, boot)
            known = max(begin, (run.last_t if run else None) or begin)
        found.append(
            Outage(
                its_slot,
                its_village,
                state_name(cause),
                begin,
                end,
                flaps,
                bool(cut),
                _evidence(evidence),
                known,
            )
        )
    return sorted(found, key=attrgetter("begin", "slot"))


@lru_cache(1000)
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
        "SELECT t_begin, t_end, state FROM intervals WHERE slot_id = "
        "(SELECT id FROM slots WHERE slot = ?) AND (? IS NULL OR t_end > ?) "
        "AND (? IS NULL OR t_begin < ?) ORDER BY t_begin",
        (slot, begin, begin, end, end),
    )
    return [Interval(slot, *row) for row in rows]


def usage(
    db: Database,
    *,
    by: str = "day",
    village: str | None = None,
    since: float | None = None,
    limit: int | None = None,
) -> list[Usage]:
    """Usage by the `hour` or by the `day` (of WITA), in the order of time.

    Args:
        since: the hour or day in which it lies is summed whole: a part would look like the whole.
        limit: at most so many, the newest.
    """
    length = {"hour": 3600, "day": _DAY_S}[by]
    start: float = _EVER
    if since is not None:
        start = (since + _WITA_S) // length * length - _WITA_S
    values = "measured_s, bytes_down, bytes_up, clients_peak, clients_day"
    if by == "day" and village is None:
        rows = db.iterate(
            f"SELECT slot, village, day, {values} FROM usage_days JOIN slots ON slots.id = "
            "slot_id WHERE day >= ? ORDER BY day DESC, slot DESC LIMIT ?",
            (start, ALL if limit is None else limit),
        )
        return list(map(Usage._make, rows))[::-1]
    sql = f"SELECT ?, ?, hour, {values} FROM usage_hours WHERE slot_id = ? AND hour >= ? "
    if by == "day":
        sql = (
            f"SELECT ?, ?, (hour + {_WITA_S}) / {_DAY_S} * {_DAY_S} - {_WITA_S} AS day, "
            "sum(measured_s), sum(bytes_down), sum(bytes_up), max(clients_peak), "
            "max(clients_day) FROM usage_hours WHERE slot_id = ? AND hour >= ? GROUP BY day "
        )
    # Of each slot no more is read than is shown.
    newest_first = f"{sql}ORDER BY 3 DESC"
    each = [
        db.iterate(newest_first, (*names, slot_id, start))
        for slot_id, names in _slots_of(db, village, None).items()
    ]
    newest = chain(*each) if limit is None else merge(*each, key=itemgetter(2), reverse=True)
    return sorted(map(Usage._make, islice(newest, limit)), key=itemgetter(2, 0))


def slot_hours(
    db: Database, slot: str, begin: int, end: int
) -> list[tuple[int, int, int | None, int | None, int | None, int | None]]:
    """A slot's hours that begin in a time: when, measured_s and what follows it in `Usage`."""
    return db.all(
        "SELECT hour, measured_s, bytes_down, bytes_up, clients_peak, clients_day "
        "FROM usage_hours WHERE slot_id = (SELECT id FROM slots WHERE slot = ?) AND hour >= ? "
        "AND hour < ? ORDER BY hour",
        (slot, begin, end),
    )


def usage_sums(
    db: Database, *, since: float, until: float | None = None, place: str = ""
) -> list[Usage]:
    """The usage of each slot over days (of WITA), with the first of them.

    Args:
        since: the day in which it lies is summed whole.
        until: days that begin before.
        place: the first digits of the slots.
    """
    start = (since + _WITA_S) // _DAY_S * _DAY_S - _WITA_S
    rows = db.all(
        f"SELECT slot, village, min(day), {bounded_sum('measured_s')}, "
        f"{bounded_sum('bytes_down')}, {bounded_sum('bytes_up')}, max(clients_peak), "
        "max(clients_day) FROM usage_days JOIN slots ON slots.id = slot_id WHERE day >= ? AND "
        "day < ? AND substr(slot, 1, ?) = ? GROUP BY slot, village ORDER BY slot",
        (start, -_EVER if until is None else until, len(place), place),
    )
    return [Usage(*row) for row in rows]


_FINDINGS = (
    "SELECT findings.id, kind, slot, village, kid, stream, boot, first_seq, last_seq, "
    "missing, found_at, resolved_at, detail FROM findings "
    "JOIN slots ON slots.id = findings.slot_id JOIN streams ON streams.id = stream_id "
)


def findings(
    db: Database,
    *,
    kinds: Iterable[str] = (),
    village: str | None = None,
    resolved: bool = False,
    limit: int | None = None,
) -> list[Finding]:
    """Findings in the order of the reports that show them.

    Args:
        kinds: only these; all if empty.
        resolved: also those that are resolved.
        limit: at most so many, the newest.
    """
    where, values = _matching(db, kinds, village, resolved)
    rows = db.all(
        f"{_FINDINGS}WHERE {where} ORDER BY found_at DESC, findings.id DESC LIMIT ?",
        (*values, ALL if limit is None else limit),
    )
    return [_finding(row) for row in reversed(rows)]


def count_findings(
    db: Database, *, kinds: Iterable[str] = (), village: str | None = None, resolved: bool = False
) -> int:
    """How many findings there are; see `findings`."""
    where, values = _matching(db, kinds, village, resolved)
    return int(db.value(f"SELECT count(*) FROM findings WHERE {where}", values))


def _matching(
    db: Database, kinds: Iterable[str], village: str | None, resolved: bool
) -> tuple[str, list[Any]]:
    parts = ["TRUE" if resolved else "resolved_at IS NULL"]
    values: list[Any] = []
    its = None if village is None else list(_slots_of(db, village, None))
    for column, wanted in (("kind", list(kinds) or None), ("findings.slot_id", its)):
        if wanted is not None:
            parts.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values += wanted
    return " AND ".join(parts), values


def finding(db: Database, number: int) -> Finding | None:
    """One finding, or None."""
    row = db.one(f"{_FINDINGS}WHERE findings.id = ?", (number,))
    return _finding(row) if row else None


def _finding(row: Row) -> Finding:
    fields: Row = (*row[:-1], json.loads(row[-1]) if row[-1] else {})
    return Finding(*fields)


def overflow(db: Database) -> list[tuple[str, str, int]]:
    """Slot, reason and number of the messages that the quarantine had no room for."""
    return [
        (slot, reason, count)
        for slot, reason, count in db.all(
            "SELECT slot, reason, count FROM quarantine_overflow ORDER BY 1, 2"
        )
    ]


class Said(NamedTuple):
    """A report that says what happened from begin to end: stream in hexadecimal, and seq."""

    begin: int
    end: int
    stream: str
    seq: int


def said(db: Database, slot: str, begin: int, end: int) -> list[Said]:
    """Which reports say of the outages of a slot, and of times in which nothing ran.

    Of an outage it is the report with its beginning, else the one with its end.
    """
    end_of = (
        "(SELECT min(seq) FROM events WHERE events.stream_id = {0}.stream_id "
        "AND events.boot = {0}.boot AND kind = ? AND t = {1})"
    )
    rows = db.all(
        "SELECT t_begin, coalesce(t_end, ?), stream, coalesce(told, "
        + end_of.format("outages", "t_end")
        + ") FROM outages JOIN streams ON streams.id = stream_id WHERE outages.slot_id = "
        "(SELECT id FROM slots WHERE slot = ?) AND t_begin < ? AND (t_end IS NULL OR t_end > ?) "
        "UNION ALL SELECT off_begin, off_end, stream, "
        + end_of.format("boots", "started_t")
        + " FROM boots JOIN streams ON streams.id = stream_id WHERE boots.slot_id = "
        "(SELECT id FROM slots WHERE slot = ?) AND off_begin < ? AND off_end > ? "
        "ORDER BY 1, 2, 3, 4",
        (end, ids.OUTAGE_ENDED, slot, end, begin, ids.BOOTED, slot, end, begin),
    )
    return [Said(b, e, bytes(stream).hex(), seq) for b, e, stream, seq in rows if seq is not None]


def quarantined(db: Database, begin: int, end: int) -> list[tuple[str, str, int, str, str]]:
    """Messages in quarantine that came in a time: slot, reason, how many, who dismissed them, why.

    The last two are empty where nobody has.
    """
    return db.all(
        "SELECT slot, reason, count(*), coalesce(who, ''), coalesce(why, '') FROM quarantine "
        "LEFT JOIN quarantine_notes AS notes ON notes.id = note_id WHERE received_at >= ? "
        "AND received_at < ? GROUP BY slot, reason, who, why ORDER BY slot, reason, who, why",
        (begin, end),
    )


# ---- evidence ----------------------------------------------------------------------------


def stored(db: Database, slot: str) -> dict[bytes, dict[int, bytes]]:
    """Of each stream of a slot each stored seq and the signed bytes as they arrived."""
    found: dict[bytes, dict[int, bytes]] = {}
    for stream, seq, message in db.iterate(
        f"SELECT stream, seq, message FROM slots {THEN_JOIN} streams ON slot_id = slots.id "
        f"{THEN_JOIN} reports ON stream_id = streams.id WHERE slot = ? ORDER BY stream_id, seq",
        (slot,),
    ):
        found.setdefault(stream, {})[seq] = message
    for stream_id, stream in db.all(
        "SELECT streams.id, stream FROM slots JOIN streams ON slot_id = slots.id WHERE slot = ?",
        (slot,),
    ):
        archived = archived_reports(db, stream_id)
        if archived:
            found[stream] = {s: r.message for s, r in archived.items()} | found.get(stream, {})
    return {stream: dict(sorted(reports.items())) for stream, reports in found.items()}


def certificates(db: Database) -> dict[str, str]:
    """By slot, the serial of the TLS certificate that its newest birth names, if it names one."""
    found = {}
    for slot, message in db.iterate(
        "SELECT slot, message FROM slots JOIN births ON births.id = (SELECT newest.id FROM births "
        "AS newest JOIN streams ON streams.id = newest.stream_id WHERE streams.slot_id = slots.id "
        "ORDER BY newest.received_at DESC, newest.id DESC LIMIT 1)",
        (),
    ):
        serial = None
        with contextlib.suppress(Refused):  # its bytes are damaged
            serial = parse_birth(message[split(message)[1] : -66]).certificate
        if serial is not None:
            found[slot] = serial
    return found


def newest_values(db: Database, names: Iterable[str]) -> dict[str, float]:
    """By slot, the last value of the first of some metrics that its newest report has."""
    wanted = tuple(names)
    found = {}
    for slot, message in db.iterate(
        "SELECT slot, message FROM latest JOIN slots ON slots.id = latest.slot_id JOIN reports ON "
        "reports.stream_id = latest.stream_id AND seq = (SELECT max(seq) FROM reports AS newest "
        "WHERE newest.stream_id = latest.stream_id)",
        (),
    ):
        columns = {}
        with contextlib.suppress(Refused):  # its bytes are damaged
            columns = decode_columns(parse_report(message[split(message)[1] : -66]))
        for name in wanted:
            values = [value for value in columns.get(name, ()) if value is not None]
            if values:
                found[slot] = values[-1] / SCALES[name]
                break
    return found


def count_stored(db: Database, slot: str) -> int:
    """How many reports of a slot are stored."""
    return int(
        db.value(
            f"SELECT count(*) FROM slots {THEN_JOIN} streams ON slot_id = slots.id "
            f"{THEN_JOIN} reports ON stream_id = streams.id WHERE slot = ?",
            (slot,),
        )
    ) + count_archived(db, slot)


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
            "SELECT coalesce(sum(missing), 0) FROM findings WHERE slot_id = "
            "(SELECT id FROM slots WHERE slot = ?) AND kind = 'gap' AND resolved_at IS NULL",
            (slot,),
        )
    )
