"""How every slot is now, and what has changed last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from agent.wire import ids
from host_tools.common.times import PROGRAMME
from host_tools.store.database import Database
from host_tools.store.queries.common import DAY_S, WITA_S
from host_tools.store.sessions import Hearing, hearing
from host_tools.wire import parse_birth
from host_tools.wire.columns import SCALES
from host_tools.wire.envelope import split
from host_tools.wire.vocabulary import CONNECTED, NO_DATA, state_name

# A slot is silent after so many report intervals without a report.
_SILENT_REPORTS = 3
_SAMPLES_PER_REPORT = 5  # while no birth has told
_MOST_SAMPLES = 60  # in a report, whatever a birth has told
_MOST_REPORTS = 2**32 - 1  # of a stream
_CLOCK_S = 300  # by which a device's clock may be off
UP = state_name(ids.UP)
# What is over once a device has reached the province. The others may last meanwhile.
_ENDED_BY_BIRTH = {
    NO_DATA,
    *map(
        state_name,
        (ids.UNKNOWN, ids.DOWN_INTERFACE, ids.DOWN_GATEWAY, ids.DOWN_PROVIDER, ids.DOWN_BROKER),
    ),
}
_SAMPLES = (
    "(SELECT samples FROM births WHERE births.stream_id = latest.stream_id "
    "ORDER BY boot DESC, conn DESC LIMIT 1)"
)


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """A slot as of now.

    state: of docs/metrics.md, or `power`, `agent`, `no_data`, `connected`; since: Unix time, None:
    never heard. fresh: the device was heard within three report intervals.
    journal_fill: % of the device's journal that holds what is not stored. backlog: reports that
    the device has made and the province lacks; gaps: those of them in the middle, of all streams.
    interval_s: seconds between its reports. due: when the first one is after a new connection,
    None: there is none, or it came.
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
    due: int | None = None


class Change(NamedTuple):
    """From t on a slot has had a state; before: the state until then, None: it is its first."""

    id: int
    slot: str
    t: int
    state: str
    before: str | None


def status(db: Database, now: float, village: str | None = None) -> list[SlotStatus]:
    """Each slot as of now, in the order of their names.

    While the province can't hear its villages, `now` is when it last could.
    """
    heard = hearing(db, now)
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
    signs = _Signs(db)
    found = []
    for row in rows:
        slot_id, slot, its_village, received, t_end, step, rtt, loss, clients, fill = row[:10]
        samples, next_seq, newest, archived, used, begin, end, state = row[10:]
        interval_s = _interval_s(step, samples)
        fresh = _fresh(heard, received, t_end, interval_s)
        since = begin
        if slot_id in lasting and (begin is None or lasting[slot_id][0] >= begin):
            # An outage may be reported before its first sample is.
            since, state = lasting[slot_id][0], state_name(lasting[slot_id][1])
        last_known = since
        if not fresh or state is None:
            since, state = (t_end if end is None else end), NO_DATA
        if not fresh:
            rtt = loss = clients = fill = None
        waiting = signs.waiting.get(slot_id)
        if waiting is not None:
            received = max(received or 0, waiting)
        due = None
        if state in _ENDED_BY_BIRTH:
            sign = signs.newest_birth(slot_id, max(t_end or 0, last_known or 0))
            session = signs.sessions.get(slot, 0)
            if sign is not None and state == NO_DATA:
                since = sign.at
            if sign is not None and heard.is_within(_SILENT_REPORTS * sign.interval_s, sign.at):
                since, state, fresh = sign.at, UP, True
                due = sign.at + sign.interval_s
            elif state != NO_DATA:
                pass  # it was told, and is of now
            elif waiting is not None and heard.is_within(_SILENT_REPORTS * interval_s, waiting):
                since, state, fresh = waiting, CONNECTED, True
            elif session > (since or 0) and heard.is_within(interval_s, session):
                since, state, due = session, CONNECTED, session + interval_s
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
                due,
            )
        )
    return found


class _Sign(NamedTuple):
    """A birth: when its device was connected, and the seconds between its reports."""

    at: int
    interval_s: int


class _Signs:
    """What has come from slots beside the reports that are derived.

    Attributes:
        waiting: by slot id, when the newest report came that is not derived yet.
        sessions: by slot, since when its device is connected, as the broker says.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._streams_of: dict[int, list[int]] = {}
        self.waiting: dict[int, int] = dict(
            db.all(
                "SELECT dirty.slot_id, max(reports.received_at) FROM dirty JOIN reports "
                "ON reports.stream_id = dirty.stream_id AND seq = last_seq "
                "WHERE dirty.reports > 0 GROUP BY dirty.slot_id"
            )
        )
        self.sessions: dict[str, int] = dict(
            db.all("SELECT slot, since FROM sessions WHERE online <> 0")
        )

    def newest_birth(self, slot_id: int, after: int) -> _Sign | None:
        """The last of the newest births of a slot's streams, if it is after a time."""
        signs = []
        for stream_id in self._streams().get(slot_id, ()):
            birth = self._db.one(
                "SELECT id, received_at, sample_s, samples FROM births WHERE stream_id = ? "
                "ORDER BY boot DESC, conn DESC LIMIT 1",
                (stream_id,),
            )
            if birth is not None and birth[1] > after:
                at = self._moment(*birth[:2])
                if at > after:
                    signs.append(_Sign(at, _interval_s(*birth[2:])))
        return max(signs, default=None)

    def _streams(self) -> dict[int, list[int]]:
        """The streams of each slot, read once they are asked for."""
        if not self._streams_of:
            for slot_id, stream_id in self._db.all("SELECT slot_id, id FROM streams"):
                self._streams_of.setdefault(slot_id, []).append(stream_id)
        return self._streams_of

    def _moment(self, birth_id: int, received: int) -> int:
        """When a birth was made; a broker may have kept it for long."""
        message = self._db.value("SELECT message FROM births WHERE id = ?", (birth_id,))
        told = parse_birth(message[split(message)[1] : -66]).time
        return received if told is None or told < PROGRAMME else min(received, told)


def silent_slots(db: Database, now: float) -> set[str]:
    """The slots that have sent nothing for three report intervals."""
    heard = hearing(db, now)
    return {
        slot
        for slot, received, t_end, step, samples in db.all(
            f"SELECT slot, received_at, latest.t_end, step, {_SAMPLES} FROM slots "
            "LEFT JOIN latest ON latest.slot_id = slots.id"
        )
        if not _fresh(heard, received, t_end, _interval_s(step, samples))
    }


def _interval_s(step: int | None, samples: int | None) -> int:
    """Seconds between reports."""
    return (step or 60) * min(samples or _SAMPLES_PER_REPORT, _MOST_SAMPLES)


def _fresh(heard: Hearing, received: int | None, t_end: int | None, interval_s: int) -> bool:
    """Whether what is known is of now. Old reports that come in late are not."""
    if received is None or t_end is None:
        return False
    silent_s = _SILENT_REPORTS * interval_s
    return heard.is_within(silent_s, received) and heard.is_within(silent_s + _CLOCK_S, t_end)


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


def slots_with_clock_ahead(db: Database) -> set[str]:
    """The slots with reports that were made in what is the future here."""
    rows = db.all(
        "SELECT DISTINCT slot FROM findings JOIN slots ON slots.id = slot_id "
        "WHERE resolved_at IS NULL AND kind = 'future_clock'"
    )
    return {slot for (slot,) in rows}


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
