"""Outages, states and usage of a time that is over."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import lru_cache
from heapq import merge
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import NamedTuple

from agent.wire import ids
from host_tools.store.database import Database
from host_tools.store.dialect import ALL, THEN_JOIN, bounded_sum
from host_tools.store.queries.common import DAY_S, WITA_S, slots_of
from host_tools.store.queries.now import silent_slots
from host_tools.wire.vocabulary import state_name

_EVER = -(2**62)


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

    def known_duration(self, now: float) -> int | None:
        """The same; None: only its beginning is known."""
        seconds = self.duration(now)
        return None if self.interrupted and seconds == 0 else seconds


class Interval(NamedTuple):
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
    wanted: Callable[[str], bool] = lambda slot: True,
    cause: int | None = None,
    read: int = 10_000,
) -> tuple[list[Outage], int | None]:
    """Outages that ended in a time, those that ended last first.

    Args:
        before: they ended before then.
        limit: at most so many.
        wanted: whether a slot is one of them.
        cause: the number of a state; None: any.
        read: look at so many at most.

    Returns:
        They, and the `before` that leads to older ones; None: there are none.
    """
    named = slots_of(db, None, None)
    meant = ", ".join(str(slot_id) for slot_id, its in named.items() if wanted(its[0])) or "NULL"
    newest = "FROM outages WHERE t_end < ? AND t_end >= ? ORDER BY t_end DESC LIMIT ?"
    # What is not wanted is left out where it costs least.
    rows = db.all(
        f"SELECT * FROM (SELECT slot_id, cause, t_begin, t_end, flaps, interrupted, evidence "
        f"{newest}) AS bounded WHERE (? IS NULL OR cause = ?) AND slot_id IN ({meant}) "
        "ORDER BY t_end DESC LIMIT ?",
        (before, since, read, cause, cause, limit),
    )
    found = [
        Outage(*named[slot_id], state_name(its), begin, end, flaps, bool(cut), _evidence(text))
        for slot_id, its, begin, end, flaps, cut, text in rows
    ]
    if len(rows) == limit:
        last = rows[-1][3]
    else:
        count, last = db.all(
            f"SELECT count(*), min(t_end) FROM (SELECT t_end {newest}) AS bounded",
            (before, since, read),
        )[0]
        if count < read:
            return found, None
    # Those that ended in the same second are read twice, and none is left out.
    return found, last + 1 if last + 1 < before else last


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
    named = slots_of(db, village, slot)
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
        silent = silent_slots(db, now)
    found = []
    for slot_id, cause, begin, end, flaps, cut, evidence, stream_id, boot in rows:
        if until is not None and begin >= until:
            continue
        its_slot, its_village = named[slot_id]
        known = None
        if end is None and its_slot in silent:
            last = db.value(
                "SELECT last_t FROM boots WHERE stream_id = ? AND boot = ?", (stream_id, boot)
            )
            known = max(begin, last or begin)
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
    length = {"hour": 3600, "day": DAY_S}[by]
    start: float = _EVER
    if since is not None:
        start = (since + WITA_S) // length * length - WITA_S
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
            f"SELECT ?, ?, (hour + {WITA_S}) / {DAY_S} * {DAY_S} - {WITA_S} AS day, "
            "sum(measured_s), sum(bytes_down), sum(bytes_up), max(clients_peak), "
            "max(clients_day) FROM usage_hours WHERE slot_id = ? AND hour >= ? GROUP BY day "
        )
    # Of each slot no more is read than is shown.
    newest_first = f"{sql}ORDER BY 3 DESC"
    each = [
        db.iterate(newest_first, (*names, slot_id, start))
        for slot_id, names in slots_of(db, village, None).items()
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
    start = (since + WITA_S) // DAY_S * DAY_S - WITA_S
    rows = db.all(
        f"SELECT slot, village, min(day), {bounded_sum('measured_s')}, "
        f"{bounded_sum('bytes_down')}, {bounded_sum('bytes_up')}, max(clients_peak), "
        "max(clients_day) FROM usage_days JOIN slots ON slots.id = slot_id WHERE day >= ? AND "
        "day < ? AND substr(slot, 1, ?) = ? GROUP BY slot, village ORDER BY slot",
        (start, -_EVER if until is None else until, len(place), place),
    )
    return [Usage(*row) for row in rows]


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
