"""The derived tables as rows to read and write; what is in them is for `derive` to say.

All that is done here happens within a transaction of the caller's. With a suffix it is done to the
tables of that suffix: so `rebuild` works beside a running ingest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from host_tools.store.database import Database, Row
from host_tools.store.dialect import ALL, REPLACE, UNLESS_KNOWN, greater, or_change, schema
from host_tools.store.ranges import RangeSet
from host_tools.store.schema import CHUNK, DERIVED_TABLES, derived_tables
from host_tools.wire.vocabulary import state_name

Span = tuple[int, int]
State = tuple[int, int, str]  # begin, end, state

MOST_RESOLVED = 100  # findings of a slot and kind that are kept


class Work(NamedTuple):
    """A chunk that is to be derived."""

    stream_id: int
    chunk: int
    first_seq: int
    last_seq: int
    reports: int
    moved: int


class Told(NamedTuple):
    """An event of a boot: `up` seconds after the boot's start; `t` its Unix time, None: no place;
    received_at of its report."""

    seq: int
    number: int
    kind: int
    up: int
    t: int | None
    received_at: int
    detail: dict[int, Any]


class Declared(NamedTuple):
    """A `dropped` event: the reports of a stream that its device has lost."""

    stream_id: int
    seq: int
    number: int
    kid: bytes
    stream: bytes
    first_seq: int
    last_seq: int
    reason: int
    received_at: int


class FindingRow(NamedTuple):
    """A finding of one kind in a stream."""

    boot: int
    first_seq: int
    last_seq: int
    missing: int
    found_at: int
    detail: str


class ClockTrouble(NamedTuple):
    """The reports of a boot without a place in time, or with a clock that is ahead."""

    boot: int
    first_seq: int
    last_seq: int
    received_at: int
    ahead_s: int


class HourRow(NamedTuple):
    """The usage of an hour that begins at `hour`."""

    hour: int
    measured_s: int
    bytes_down: int | None
    bytes_up: int | None
    clients_peak: int | None
    clients_day: int | None


@dataclass(slots=True)
class Piece:
    """A row of `pieces`; the schema says what each field means."""

    stream_id: int
    boot: int
    chunk: int
    slot_id: int
    t_begin: int | None = None
    t_end: int | None = None
    first_anchor: int | None = None
    first_offset: int | None = None
    last_anchor: int | None = None
    last_offset: int | None = None
    clockless: int = 0
    offset: int | None = None
    last_up: int | None = None
    unplaced_first: int | None = None
    unplaced_last: int | None = None
    future_first: int | None = None
    future_last: int | None = None
    ahead: int = 0
    received_at: int = 0


@dataclass(slots=True)
class BootRow:
    """A row of `boots`; the schema says what each field means."""

    stream_id: int
    boot: int
    slot_id: int
    first_t: int | None = None
    last_t: int | None = None
    offset: int | None = None
    started_t: int | None = None
    cause: int | None = None
    alive_boot: int | None = None
    alive_up: int | None = None
    alive_t: int | None = None
    clean: int = 0
    off_begin: int | None = None
    off_end: int | None = None
    off_state: str | None = None
    untold: int = 0
    lasting: int = 0


@dataclass(slots=True)
class OutageRow:
    """A row of `outages` of one boot; the schema says what each field means."""

    begin_up: int
    cause: int
    began_t: int | None = None
    ended_t: int | None = None
    duration: int | None = None
    flaps: int = 0
    evidence: str | None = None
    t_begin: int | None = None
    t_end: int | None = None
    interrupted: int = 0
    told: int | None = None


@dataclass(slots=True)
class LatestRow:
    """A row of `latest`; the schema says what each field means."""

    slot_id: int
    stream_id: int
    received_at: int
    t_end: int | None
    step: int
    rtt: int | None = None
    loss: int | None = None
    clients: int | None = None
    journal_fill: int | None = None
    longest_s: int = 0


def _columns(row: type) -> str:
    return ", ".join(field.name for field in fields(row))


def _values(row: Any) -> list[Any]:
    return [getattr(row, name) for name in row.__slots__]


def _marks(count: int) -> str:
    return ", ".join("?" * count)


_AT_LEAST_ONE = greater("reports", "1")
_OR_MOVED = or_change("slot_id, stream_id, chunk", "moved = 1")
_OR_LONGER = or_change("slot_id, t_begin", f"t_end = {greater('t_end', 'new.t_end')}")
_REACHES = greater("coalesce(last_t, 0)", "t_begin")
_PIECE, _BOOT, _OUTAGE, _LATEST = map(_columns, (Piece, BootRow, OutageRow, LatestRow))


def _replaces(new: FindingRow, old: Row) -> bool:
    """Whether a finding takes the place of an open one (id, boot, first_seq, last_seq, ...)."""
    same_boot = new.boot == old[1] or 0 in (new.boot, old[1])
    return same_boot and new.first_seq <= old[3] and new.last_seq >= old[2]


class Derived:
    """The derived tables of an open database."""

    def __init__(self, db: Database, suffix: str = "") -> None:
        self._db = db
        self._s = suffix

    # ---- what is to be done ----------------------------------------------------------------

    def pending(self) -> int:
        """How much is to be derived, in reports; 0: nothing is."""
        s = self._s
        return int(
            self._db.value(
                f"SELECT (SELECT coalesce(sum({_AT_LEAST_ONE}), 0) FROM dirty{s}) + "
                f"(SELECT count(*) FROM stale{s}) + (SELECT count(*) FROM redo{s})"
            )
        )

    def next_slot(self, after: int) -> int | None:
        """The next slot with something to do, in turns."""
        s = self._s
        for low in (after, -1):
            found: int | None = self._db.value(
                f"SELECT min(slot_id) FROM (SELECT min(slot_id) AS slot_id FROM dirty{s} "
                f"WHERE slot_id > ? UNION ALL "
                f"SELECT min(slot_id) FROM stale{s} WHERE slot_id > ? UNION ALL "
                f"SELECT min(slot_id) FROM redo{s} WHERE slot_id > ?)",
                (low, low, low),
            )
            if found is not None:
                return found
        return None

    def work(self, slot_id: int, limit: int) -> list[Work]:
        """Chunks of a slot to be derived."""
        s = self._s
        found = self._db.all(
            "SELECT stream_id, chunk, first_seq, last_seq, reports, moved "
            f"FROM dirty{s} WHERE slot_id = ? ORDER BY stream_id, chunk LIMIT ?",
            (slot_id, limit),
        )
        return [Work(*row) for row in found]

    def work_done(self, slot_id: int, work: Work) -> None:
        """Count a chunk as derived."""
        self._db.execute(
            f"DELETE FROM dirty{self._s} WHERE slot_id = ? AND stream_id = ? AND chunk = ?",
            (slot_id, work.stream_id, work.chunk),
        )

    def redo(self, slot_id: int, limit: int) -> list[tuple[int, int]]:
        """Boots of a slot whose outages are to be found again; they count as done."""
        s = self._s
        rows = self._db.all(
            f"SELECT stream_id, boot FROM redo{s} WHERE slot_id = ? "
            "ORDER BY stream_id, boot LIMIT ?",
            (slot_id, limit),
        )
        if rows:
            self._db.executemany(
                f"DELETE FROM redo{s} WHERE slot_id = ? AND stream_id = ? AND boot = ?",
                [(slot_id, *row) for row in rows],
            )
        return [(row[0], row[1]) for row in rows]

    def put_redo(self, slot_id: int, boots: Iterable[tuple[int, int]]) -> None:
        """Have outages of boots found again."""
        self._db.executemany(
            f"INSERT INTO redo{self._s} VALUES (?, ?, ?) {UNLESS_KNOWN}",
            [(slot_id, *boot) for boot in boots],
        )

    def redo_untold(self, slot_id: int) -> None:
        """Have the outages of all boots found again that have one whose end was not reported."""
        s = self._s
        self._db.execute(
            f"INSERT INTO redo{s} SELECT slot_id, stream_id, boot FROM boots{s} "
            f"WHERE slot_id = ? AND untold > 0 {UNLESS_KNOWN}",
            (slot_id,),
        )

    def mark_moved(self, slot_id: int, stream_id: int, boot: int, chunk: int) -> None:
        """Have reports without a clock around a chunk placed again: another one in it has, or has
        no more, a clock that is believed."""
        s = self._s
        anchor = f"SELECT chunk FROM pieces{s} WHERE stream_id = ? AND boot = ? AND chunk"
        its = (stream_id, boot)
        self._db.execute(
            f"INSERT INTO dirty{s} SELECT ?, stream_id, chunk, chunk * {CHUNK}, "
            f"chunk * {CHUNK} + {CHUNK - 1}, 0, 1 FROM pieces{s} "
            "WHERE stream_id = ? AND boot = ? AND chunk BETWEEN "
            f"coalesce(({anchor} < ? AND first_anchor IS NOT NULL ORDER BY chunk DESC LIMIT 1), "
            f"0) AND coalesce(({anchor} > ? AND first_anchor IS NOT NULL ORDER BY chunk "
            f"LIMIT 1), {2**32}) AND chunk != ? "
            f"AND clockless > 0 {_OR_MOVED}",
            (slot_id, *its, *its, chunk, *its, chunk, chunk),
        )

    def stale(self, slot_id: int) -> Span | None:
        """The first time of a slot that is to be painted again; it counts as done."""
        s = self._s
        row = self._db.one(
            f"SELECT t_begin, t_end FROM stale{s} WHERE slot_id = ? ORDER BY t_begin LIMIT 1",
            (slot_id,),
        )
        if row is None:
            return None
        self._db.execute(
            f"DELETE FROM stale{s} WHERE slot_id = ? AND t_begin = ?", (slot_id, row[0])
        )
        return row[0], row[1]

    def put_stale(self, slot_id: int, spans: Iterable[Span]) -> None:
        """Have times of a slot painted again."""
        self._db.executemany(
            f"INSERT INTO stale{self._s} VALUES (?, ?, ?) {_OR_LONGER}",
            [(slot_id, *span) for span in spans],
        )

    # ---- pieces and places -----------------------------------------------------------------

    def pieces(self, stream_id: int, chunk: int, boots: Iterable[int]) -> dict[int, Piece]:
        """The pieces of a chunk by boot."""
        found = {}
        for boot in boots:
            row = self._db.one(
                f"SELECT {_PIECE} FROM pieces{self._s} "
                "WHERE stream_id = ? AND boot = ? AND chunk = ?",
                (stream_id, boot, chunk),
            )
            if row:
                found[boot] = Piece(*row)
        return found

    def put_piece(self, piece: Piece) -> None:
        """Write a piece."""
        values = _values(piece)
        self._db.execute(f"{REPLACE} pieces{self._s} VALUES ({_marks(len(values))})", values)

    def anchors_around(self, stream_id: int, boot: int, chunk: int) -> tuple[Any, Any]:
        """The last seq and offset of a boot that know the time before a chunk, the first after."""
        where = (
            f"FROM pieces{self._s} WHERE stream_id = ? AND boot = ? AND first_anchor IS NOT NULL"
        )
        values = (stream_id, boot, chunk)
        return (
            self._db.one(
                f"SELECT last_anchor, last_offset {where} AND chunk < ? "
                "ORDER BY chunk DESC LIMIT 1",
                values,
            ),
            self._db.one(
                f"SELECT first_anchor, first_offset {where} AND chunk > ? ORDER BY chunk LIMIT 1",
                values,
            ),
        )

    def placements(self, stream_id: int, chunk: int) -> dict[int, int]:
        """Seq to place in time of the chunk's reports whose own clock is not believed."""
        return dict(
            self._db.all(
                f"SELECT seq, t FROM placements{self._s} WHERE stream_id = ? "
                "AND seq BETWEEN ? AND ?",
                (stream_id, chunk * CHUNK, chunk * CHUNK + CHUNK - 1),
            )
        )

    def put_placement(self, stream_id: int, seq: int, t: int | None) -> None:
        """Note the place of a report, or that it has none."""
        if t is None:
            self._db.execute(
                f"DELETE FROM placements{self._s} WHERE stream_id = ? AND seq = ?",
                (stream_id, seq),
            )
            return
        self._db.execute(f"{REPLACE} placements{self._s} VALUES (?, ?, ?)", (stream_id, seq, t))

    def chunks_in(
        self, slot_id: int, begin: int, end: int, longest_s: int, limit: int = ALL
    ) -> list[tuple[int, int]]:
        """Stream and chunk of all reports that may have samples between two times.

        Args:
            longest_s: no row of the slot spans more (`longest`).
            limit: no more than so many.
        """
        found = self._db.all(
            f"SELECT DISTINCT stream_id, chunk FROM pieces{self._s} WHERE slot_id = ? "
            "AND t_end >= ? AND t_end <= ? AND t_begin <= ? LIMIT ?",
            (slot_id, begin, end + longest_s, end, limit),
        )
        return [(row[0], row[1]) for row in found]

    def newest_chunk(self, slot_id: int) -> tuple[int, int, int, int] | None:
        """Stream, boot, chunk and end of the samples that end last; of several the last by kid,
        stream, boot and chunk."""
        s = self._s
        row = self._db.one(
            f"SELECT stream_id, boot, chunk, t_end FROM pieces{s} "
            "JOIN streams ON streams.id = stream_id WHERE t_end IS NOT NULL AND "
            f"(pieces{s}.slot_id, t_end) = (SELECT slot_id, t_end FROM pieces{s} "
            "WHERE slot_id = ? AND t_end IS NOT NULL ORDER BY t_end DESC LIMIT 1) "
            "ORDER BY kid DESC, stream DESC, boot DESC, chunk DESC LIMIT 1",
            (slot_id,),
        )
        return None if row is None else (row[0], row[1], row[2], row[3])

    def last_ups(self, stream_id: int, boot: int) -> list[tuple[int, int]]:
        """Each chunk of a boot with samples that say up, and the greatest `up` of those."""
        rows = self._db.all(
            f"SELECT chunk, last_up FROM pieces{self._s} WHERE stream_id = ? AND boot = ? "
            "AND last_up IS NOT NULL ORDER BY chunk",
            (stream_id, boot),
        )
        return [(row[0], row[1]) for row in rows]

    def boot_extent(self, stream_id: int, boot: int) -> tuple[int | None, int | None]:
        """Where the samples of a boot begin and end."""
        row = self._db.one(
            f"SELECT min(t_begin), max(t_end) FROM pieces{self._s} "
            "WHERE stream_id = ? AND boot = ?",
            (stream_id, boot),
        )
        return (None, None) if row is None else (row[0], row[1])

    def newest_offset(self, stream_id: int, boot: int) -> int | None:
        """Unix time of a boot's start by its newest report, by seq, with a place in time."""
        offset: int | None = self._db.value(
            f"SELECT offset FROM pieces{self._s} WHERE stream_id = ? AND boot = ? "
            "AND offset IS NOT NULL ORDER BY chunk DESC LIMIT 1",
            (stream_id, boot),
        )
        return offset

    def clock_troubles(self, stream_id: int, kind: str, limit: int) -> list[ClockTrouble]:
        """The first boots of a stream with reports that are "unplaced", or have a clock from the
        "future"."""
        s = self._s
        ahead = "ahead" if kind == "future" else "0"
        rows = self._db.all(
            f"SELECT boot, {kind}_first, (SELECT {kind}_last FROM pieces{s} AS last "
            f"WHERE last.stream_id = p.stream_id AND last.boot = p.boot "
            f"AND {kind}_first IS NOT NULL ORDER BY chunk DESC LIMIT 1), received_at, {ahead} "
            f"FROM pieces{s} AS p WHERE stream_id = ? AND {kind}_first IS NOT NULL "
            f"AND NOT EXISTS (SELECT 1 FROM pieces{s} AS before "
            "WHERE before.stream_id = p.stream_id AND before.boot = p.boot "
            f"AND before.chunk < p.chunk AND {kind}_first IS NOT NULL) ORDER BY boot LIMIT ?",
            (stream_id, limit),
        )
        return [ClockTrouble(*row) for row in rows]

    def all_clock_troubles(self, stream_id: int, kind: str) -> tuple[int, int, int]:
        """How many boots of a stream there are with such reports, and their first and last seq."""
        row = self._db.one(
            f"SELECT count(DISTINCT boot), min({kind}_first), max({kind}_last) "
            f"FROM pieces{self._s} WHERE stream_id = ? AND {kind}_first IS NOT NULL",
            (stream_id,),
        )
        assert row is not None
        return row[0], row[1], row[2]

    # ---- events ----------------------------------------------------------------------------

    def put_events(self, stream_id: int, boot: int, events: Iterable[Told]) -> None:
        """Note events of a boot."""
        self._db.executemany(
            f"{REPLACE} events{self._s} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(stream_id, boot, e.seq, e.number, e.kind, e.up, e.t, e.received_at),
                    json.dumps(e.detail, default=bytes.hex, separators=(",", ":")),
                )
                for e in events
            ],
        )

    def events(self, stream_id: int, boot: int, kinds: Iterable[int], limit: int) -> list[Told]:
        """The first events of a boot of some kinds."""
        wanted = tuple(kinds)
        rows = self._db.all(
            "SELECT seq, number, kind, up, t, received_at, detail "
            f"FROM events{self._s} WHERE stream_id = ? AND boot = ? "
            f"AND kind IN ({_marks(len(wanted))}) ORDER BY seq, number LIMIT ?",
            (stream_id, boot, *wanted, limit),
        )
        return [
            Told._make((*row[:6], {int(k): value for k, value in json.loads(row[6]).items()}))
            for row in rows
        ]

    def put_declared(self, rows: Iterable[Declared]) -> None:
        """Note what devices say that they have lost."""
        self._db.executemany(
            f"{REPLACE} declared{self._s} "
            "(stream_id, seq, number, kid, stream, first_seq, last_seq, reason, received_at) "
            f"VALUES ({_marks(9)})",
            rows,
        )

    def declared(self, kid: bytes, stream: bytes) -> list[Declared]:
        """What a device says that it has lost of a stream."""
        return [
            Declared(*row)
            for row in self._db.all(
                "SELECT stream_id, seq, number, kid, stream, first_seq, last_seq, reason, "
                f"received_at FROM declared{self._s} WHERE kid = ? AND stream = ?",
                (kid, stream),
            )
        ]

    # ---- boots -----------------------------------------------------------------------------

    def boot(self, stream_id: int, boot: int) -> BootRow | None:
        """The row of a boot."""
        return self._boot("boot = ?", stream_id, boot)

    def boot_before(self, stream_id: int, boot: int) -> BootRow | None:
        """The boot of the stream before this one, of those that are known."""
        return self._boot("boot < ? ORDER BY boot DESC LIMIT 1", stream_id, boot)

    def boot_after(self, stream_id: int, boot: int) -> BootRow | None:
        """The boot of the stream after this one, of those that are known."""
        return self._boot("boot > ? ORDER BY boot LIMIT 1", stream_id, boot)

    def _boot(self, where: str, stream_id: int, boot: int) -> BootRow | None:
        row = self._db.one(
            f"SELECT {_BOOT} FROM boots{self._s} WHERE stream_id = ? AND {where}",
            (stream_id, boot),
        )
        return BootRow(*row) if row else None

    def put_boot(self, boot: BootRow) -> None:
        """Write the row of a boot."""
        values = _values(boot)
        self._db.execute(f"{REPLACE} boots{self._s} VALUES ({_marks(len(values))})", values)

    def lasting_boots(self, slot_id: int) -> list[tuple[int, int]]:
        """The boots of a slot with outages that last."""
        rows = self._db.all(
            f"SELECT stream_id, boot FROM boots{self._s} WHERE slot_id = ? AND lasting > 0",
            (slot_id,),
        )
        return [(row[0], row[1]) for row in rows]

    def lasting_since(self, stream_id: int, boot: int) -> int | None:
        """When the first outage of a boot that lasts began."""
        begin: int | None = self._db.value(
            f"SELECT min(t_begin) FROM outages{self._s} WHERE stream_id = ? AND boot = ? "
            "AND t_end IS NULL",
            (stream_id, boot),
        )
        return begin

    def last_of_others(self, slot_id: int, stream_id: int, boot: int) -> int | None:
        """The latest end of a sample of the slot's other boots."""
        found: int | None = self._db.value(
            f"SELECT last_t FROM boots{self._s} WHERE slot_id = ? AND last_t IS NOT NULL "
            "AND NOT (stream_id = ? AND boot = ?) ORDER BY last_t DESC LIMIT 1",
            (slot_id, stream_id, boot),
        )
        return found

    def offs(
        self, slot_id: int, begin: int, end: int, longest_s: int, limit: int
    ) -> list[tuple[int, int, State]]:
        """Stream, boot and time in which nothing ran before it, between two times."""
        rows = self._db.all(
            "SELECT stream_id, boot, off_begin, off_end, off_state "
            f"FROM boots{self._s} WHERE slot_id = ? AND off_end >= ? AND off_end <= ? "
            "AND off_begin <= ? LIMIT ?",
            (slot_id, begin, end + longest_s, end, limit),
        )
        return [(row[0], row[1], row[2:]) for row in rows]

    # ---- outages ---------------------------------------------------------------------------

    def outages_of_boot(self, stream_id: int, boot: int) -> list[OutageRow]:
        """The outages of a boot in the order of their beginning."""
        rows = self._db.all(
            f"SELECT {_OUTAGE} FROM outages{self._s} WHERE stream_id = ? AND boot = ? "
            "ORDER BY begin_up, cause",
            (stream_id, boot),
        )
        return [OutageRow(*row) for row in rows]

    def change_outages(
        self,
        slot_id: int,
        stream_id: int,
        boot: int,
        gone: Iterable[OutageRow],
        new: Iterable[OutageRow],
    ) -> None:
        """Exchange outages of a boot."""
        self._db.executemany(
            f"DELETE FROM outages{self._s} WHERE stream_id = ? AND boot = ? AND begin_up = ? "
            "AND cause = ?",
            [(stream_id, boot, o.begin_up, o.cause) for o in gone],
        )
        self._db.executemany(
            f"INSERT INTO outages{self._s} (stream_id, boot, slot_id, {_OUTAGE}) "
            f"VALUES ({_marks(14)})",
            [(stream_id, boot, slot_id, *_values(o)) for o in new],
        )

    def outages_in(
        self, slot_id: int, begin: int, end: int, longest_s: int, limit: int
    ) -> list[tuple[int, int, int, int, int, int]]:
        """Stream, boot, begin, end, begin_up and cause of the outages between two times; one that
        lasts reaches to the last sample of its boot."""
        s = self._s
        columns = "o.stream_id, o.boot, o.t_begin"
        return self._db.all(
            f"SELECT {columns}, o.t_end, begin_up, o.cause FROM outages{s} AS o "
            "WHERE slot_id = ? AND t_end >= ? AND t_end <= ? AND t_begin <= ? LIMIT ?",
            (slot_id, begin, end + longest_s, end, limit),
        ) + self._db.all(
            f"SELECT {columns}, {_REACHES}, begin_up, o.cause "
            f"FROM outages{s} AS o JOIN boots{s} USING (stream_id, boot) WHERE o.slot_id = ? "
            "AND t_end IS NULL AND t_begin IS NOT NULL AND t_begin <= ? "
            f"AND {_REACHES} >= ? LIMIT ?",
            (slot_id, end, begin, limit),
        )

    # ---- the slot --------------------------------------------------------------------------

    def latest(self, slot_id: int) -> LatestRow | None:
        """The newest that is known of a slot."""
        row = self._db.one(f"SELECT {_LATEST} FROM latest{self._s} WHERE slot_id = ?", (slot_id,))
        return LatestRow(*row) if row else None

    def put_latest(self, latest: LatestRow) -> None:
        """Write the newest that is known of a slot."""
        values = _values(latest)
        self._db.execute(f"{REPLACE} latest{self._s} VALUES ({_marks(len(values))})", values)

    def longest(self, slot_id: int) -> int:
        """The longest time that a row of the slot spans: how far a search has to reach."""
        return int(
            self._db.value(f"SELECT longest_s FROM latest{self._s} WHERE slot_id = ?", (slot_id,))
            or 0
        )

    def extent(self, slot_id: int) -> Span | None:
        """Begin and end of all intervals of a slot."""
        s = self._s
        row = self._db.one(
            f"SELECT (SELECT t_begin FROM intervals{s} WHERE slot_id = ? "
            f"ORDER BY t_begin LIMIT 1), (SELECT t_end FROM intervals{s} WHERE slot_id = ? "
            "ORDER BY t_begin DESC LIMIT 1)",
            (slot_id, slot_id),
        )
        return None if row is None or row[0] is None else (row[0], row[1])

    def intervals(self, slot_id: int, begin: int, end: int) -> list[State]:
        """The intervals that overlap or touch a time."""
        s = self._s
        return self._db.all(
            f"SELECT t_begin, t_end, state FROM intervals{s} WHERE slot_id = ? AND t_begin >= "
            f"coalesce((SELECT max(t_begin) FROM intervals{s} WHERE slot_id = ? AND t_begin < ?), "
            "?) AND t_begin <= ? AND t_end >= ? ORDER BY t_begin",
            (slot_id, slot_id, begin, begin, end, begin),
        )

    def change_intervals(self, slot_id: int, gone: Iterable[State], new: Iterable[State]) -> None:
        """Exchange intervals of a slot."""
        self._db.executemany(
            f"DELETE FROM intervals{self._s} WHERE slot_id = ? AND t_begin = ?",
            [(slot_id, begin) for begin, _, _ in gone],
        )
        self._db.executemany(
            f"INSERT INTO intervals{self._s} VALUES (?, ?, ?, ?)",
            [(slot_id, *interval) for interval in new],
        )

    def now(self, slot_id: int) -> tuple[int, str] | None:
        """Since when a slot has its newest state, and the state."""
        last = self.last_interval(slot_id)
        lasting = self._db.one(
            f"SELECT t_begin, cause FROM outages{self._s} WHERE slot_id = ? AND t_end IS NULL "
            "AND t_begin IS NOT NULL ORDER BY t_begin DESC LIMIT 1",
            (slot_id,),
        )
        # An outage may be reported before its first sample is.
        if lasting is not None and (last is None or lasting[0] >= last[0]):
            return lasting[0], state_name(lasting[1])
        return None if last is None else (last[0], last[2])

    def last_interval(self, slot_id: int) -> State | None:
        """The newest interval of a slot."""
        row = self._db.one(
            f"SELECT t_begin, t_end, state FROM intervals{self._s} WHERE slot_id = ? "
            "ORDER BY t_begin DESC LIMIT 1",
            (slot_id,),
        )
        return (row[0], row[1], row[2]) if row else None

    def note_change(self, slot_id: int, t: int, state: str) -> None:
        """Note the state of a slot as of now, if it is another one than before."""
        before = self._db.value(
            "SELECT state FROM changes WHERE slot_id = ? ORDER BY id DESC LIMIT 1", (slot_id,)
        )
        if before != state:
            self._db.execute(
                "INSERT INTO changes (slot_id, t, state, before) VALUES (?, ?, ?, ?)",
                (slot_id, t, state, before),
            )

    def put_hours(self, slot_id: int, begin: int, end: int, rows: Iterable[HourRow]) -> set[int]:
        """Exchange the hours of a slot from begin to end; returns those that have changed."""
        s = self._s
        old = {
            row[0]: HourRow(*row)
            for row in self._db.all(
                "SELECT hour, measured_s, bytes_down, bytes_up, clients_peak, clients_day "
                f"FROM usage_hours{s} WHERE slot_id = ? AND hour >= ? AND hour < ?",
                (slot_id, begin, end),
            )
        }
        new = {row.hour: row for row in rows}
        changed = {hour for hour in old.keys() | new.keys() if old.get(hour) != new.get(hour)}
        self._db.executemany(
            f"DELETE FROM usage_hours{s} WHERE slot_id = ? AND hour = ?",
            [(slot_id, hour) for hour in old.keys() - new.keys()],
        )
        self._db.executemany(
            f"{REPLACE} usage_hours{s} VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(slot_id, *new[hour]) for hour in changed & new.keys()],
        )
        return changed

    def sum_day(self, slot_id: int, day: int, end: int) -> None:
        """Sum up the hours of a day."""
        s = self._s
        row = self._db.one(
            "SELECT sum(measured_s), sum(bytes_down), sum(bytes_up), max(clients_peak), "
            f"max(clients_day) FROM usage_hours{s} WHERE slot_id = ? AND hour >= ? AND hour < ?",
            (slot_id, day, end),
        )
        if row is None or row[0] is None:
            self._db.execute(
                f"DELETE FROM usage_days{s} WHERE day = ? AND slot_id = ?", (day, slot_id)
            )
            return
        self._db.execute(
            f"{REPLACE} usage_days{s} VALUES (?, ?, ?, ?, ?, ?, ?)",
            (day, slot_id, *row),
        )

    # ---- findings --------------------------------------------------------------------------

    def settle(
        self, kind: str, slot_id: int, stream_id: int, wanted: Iterable[FindingRow], now: int
    ) -> None:
        """Make the findings of a kind in a stream what is wanted.

        One that is not wanted any more is resolved, unless another one takes its place.
        """
        s = self._s
        known = {
            (row[1], row[2], row[6]): row
            for row in self._db.all(
                "SELECT id, boot, first_seq, last_seq, missing, found_at, detail "
                f"FROM findings{s} WHERE stream_id = ? AND kind = ? AND resolved_at IS NULL",
                (stream_id, kind),
            )
        }
        new = {(row.boot, row.first_seq, row.detail): row for row in wanted}
        gone = []
        for key, row in known.items():
            found = new.pop(key, None)
            if found is None:
                gone.append(row)
            elif found[:5] != row[1:6]:
                self._db.execute(
                    f"UPDATE findings{s} SET last_seq = ?, missing = ?, found_at = ? WHERE id = ?",
                    (found.last_seq, found.missing, found.found_at, row[0]),
                )
        replaced = [row for row in gone if any(_replaces(n, row) for n in new.values())]
        self._db.executemany(
            f"DELETE FROM findings{s} WHERE id = ?", [(row[0],) for row in replaced]
        )
        resolved = [(now, row[0]) for row in gone if row not in replaced]
        if resolved:
            self._db.executemany(
                f"UPDATE findings{s} SET missing = 0, resolved_at = ? WHERE id = ?", resolved
            )
            self._db.execute(
                f"DELETE FROM findings{s} WHERE id IN (SELECT id FROM findings{s} WHERE "
                "slot_id = ? AND kind = ? AND resolved_at IS NOT NULL "
                "ORDER BY resolved_at DESC, id DESC LIMIT ? OFFSET ?)",
                (slot_id, kind, ALL, MOST_RESOLVED),
            )
        self._db.executemany(
            f"INSERT INTO findings{s} (kind, slot_id, stream_id, boot, first_seq, last_seq, "
            f"missing, found_at, detail) VALUES ({_marks(9)})",
            [(kind, slot_id, stream_id, *row) for row in new.values()],
        )

    def open_findings(self) -> list[tuple[int, str, int, str]]:
        """Slot, kind, stream and detail of each finding that is not resolved."""
        return self._db.all(
            f"SELECT slot_id, kind, stream_id, detail FROM findings{self._s} "
            "WHERE resolved_at IS NULL"
        )

    def put_batch(self, kind: str, stream_id: int, chunk: int, rows: list[FindingRow]) -> None:
        """Note the findings in the reports of a chunk, each of one report."""
        if not rows:
            self._db.execute(
                f"DELETE FROM batch_findings{self._s} WHERE stream_id = ? AND kind = ? "
                "AND chunk = ?",
                (stream_id, kind, chunk),
            )
            return
        listed = json.dumps([(row.first_seq, row.found_at, row.detail) for row in rows])
        self._db.execute(
            f"{REPLACE} batch_findings{self._s} VALUES (?, ?, ?, ?, ?)",
            (stream_id, kind, chunk, len(rows), listed),
        )

    def with_batches(self) -> set[tuple[int, str]]:
        """Streams that have findings in chunks, with their kinds."""
        rows = self._db.all(f"SELECT DISTINCT stream_id, kind FROM batch_findings{self._s}")
        return {(row[0], row[1]) for row in rows}

    def of_batches(self, kind: str, stream_id: int, most: int) -> tuple[int, list[FindingRow]]:
        """How many findings the chunks of a stream have; and all of them in the order of seq, or,
        if they are too many, those of the first and the last chunk."""
        its = (stream_id, kind)
        of_stream = f"FROM batch_findings{self._s} WHERE stream_id = ? AND kind = ?"
        number = int(self._db.value(f"SELECT coalesce(sum(number), 0) {of_stream}", its))
        chunks = (
            f"{of_stream} AND chunk IN ((SELECT min(chunk) {of_stream}), "
            f"(SELECT max(chunk) {of_stream}))"
            if number > most
            else of_stream
        )
        rows = self._db.all(
            f"SELECT listed {chunks} ORDER BY chunk", its * (3 if number > most else 1)
        )
        return number, [
            FindingRow(0, seq, seq, 0, found_at, detail)
            for (listed,) in rows
            for seq, found_at, detail in json.loads(listed)
        ]

    # ---- rebuilding ------------------------------------------------------------------------

    def create(self, generation: int) -> None:
        """Make the tables of this suffix, empty."""
        for statement in schema(derived_tables(self._s, generation)):
            self._db.execute(statement)

    def drop(self) -> None:
        """Remove the tables of this suffix."""
        for table in DERIVED_TABLES:
            self._db.execute(f"DROP TABLE IF EXISTS {table}{self._s}")

    def exists(self) -> bool:
        """Whether the tables of this suffix are there."""
        return self._db.has_table(f"dirty{self._s}")

    def mark_stream(self, slot_id: int, stream_id: int, seqs: RangeSet) -> None:
        """Have all of a stream derived, whose seqs are given."""
        chunks = {
            chunk: (chunk * CHUNK, chunk * CHUNK + CHUNK - 1)
            for first, last in seqs
            for chunk in range(first // CHUNK, last // CHUNK + 1)
        }
        self._db.executemany(
            f"INSERT INTO dirty{self._s} VALUES (?, ?, ?, ?, ?, ?, 0) {UNLESS_KNOWN}",
            (
                (slot_id, stream_id, chunk, *span, seqs.count(*span))
                for chunk, span in sorted(chunks.items())
            ),
        )

    def take_place(self) -> None:
        """Put these tables in the place of those without a suffix. Resolved findings stay; what
        the others still had to derive is still to be derived."""
        db, s = self._db, self._s
        db.execute(
            f"INSERT INTO findings{s} (kind, slot_id, stream_id, boot, first_seq, last_seq, "
            "missing, found_at, resolved_at, detail) SELECT kind, slot_id, stream_id, boot, "
            "first_seq, last_seq, missing, found_at, resolved_at, detail FROM findings "
            "WHERE resolved_at IS NOT NULL"
        )
        db.execute(f"{REPLACE} dirty{s} SELECT * FROM dirty")
        for table in DERIVED_TABLES:
            db.execute(f"DROP TABLE {table}")
            db.execute(f"ALTER TABLE {table}{s} RENAME TO {table}")
