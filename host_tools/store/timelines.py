"""A slot's newest values, its states and its usage as rows.

Within a transaction of the caller's, as in `derived`.
"""

from __future__ import annotations

from collections.abc import Iterable

from host_tools.store.database import Database
from host_tools.store.derived_rows import HourRow, LatestRow, Span, State, columns, marks, values
from host_tools.store.dialect import REPLACE
from host_tools.wire.vocabulary import state_name

_LATEST = columns(LatestRow)


class Timelines:
    """What an open database knows of slots as a whole."""

    def __init__(self, db: Database, suffix: str = "") -> None:
        self._db = db
        self._s = suffix

    def latest(self, slot_id: int) -> LatestRow | None:
        """The newest that is known of a slot."""
        row = self._db.one(f"SELECT {_LATEST} FROM latest{self._s} WHERE slot_id = ?", (slot_id,))
        return LatestRow(*row) if row else None

    def put_latest(self, latest: LatestRow) -> None:
        row = values(latest)
        self._db.execute(f"{REPLACE} latest{self._s} VALUES ({marks(len(row))})", row)

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
        come = {interval[0]: interval for interval in new}
        self._db.executemany(
            f"DELETE FROM intervals{self._s} WHERE slot_id = ? AND t_begin = ?",
            [(slot_id, begin) for begin, _, _ in gone if begin not in come],
        )
        self._db.executemany(
            f"{REPLACE} intervals{self._s} VALUES (?, ?, ?, ?)",
            [(slot_id, *interval) for interval in come.values()],
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
