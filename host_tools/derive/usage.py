"""Usage by the hour. Days and months are sums of hours: WITA's midnights are full hours of UTC.

A sample counts in the hour it begins in. Of samples of a slot that begin in the same second (the
same time told in two streams, for example) the one of the stream that was heard of first counts,
within a stream that of the lower seq, in whatever order its reports came. Samples that overlap
otherwise are added, but no hour has more than an hour of measured time.
"""

from __future__ import annotations

from host_tools.derive.slice import Changes, day_of
from host_tools.store.database import Database
from host_tools.wire.columns import MAX_VALUE

_HOUR_S = 3600
_WHERE = "WHERE day = ? AND slot_id = ? AND samples.t BETWEEN ? AND ?"
# Sums of bytes as floats, which a device's fancy can't make overflow; exact up to 2^53.
_SUMS = (
    "sum(step), sum(1.0 * bytes_down), sum(1.0 * bytes_up), max(peak), max(clients_day), "
    "count(*), count(DISTINCT t)"
)
_COLUMNS = (
    "samples.t AS t, step, bytes_down, bytes_up, coalesce(clients_peak, clients) AS peak, "
    "clients_day"
)
_ALL = f"SELECT {_SUMS} FROM (SELECT {_COLUMNS} FROM samples {_WHERE})"
# SQLite takes the other columns from the row with the least number; a seq has 32 bits.
_FIRST = (
    f"SELECT {_SUMS} FROM (SELECT {_COLUMNS}, min((stream_id << 32) + seq) FROM samples {_WHERE} "
    "GROUP BY samples.t)"
)


def sum_up(db: Database, changes: Changes) -> None:
    """Sum the changed hours anew from their samples; a sample counts in the hour it begins in."""
    for slot_id, hour in changes.hours:
        where = (day_of(hour), slot_id, hour, hour + _HOUR_S - 1)
        row = db.one(_ALL, where)
        if row is not None and row[-2] != row[-1]:
            row = db.one(_FIRST, where)
        if row is None or row[0] is None:
            db.execute("DELETE FROM usage_hours WHERE slot_id = ? AND hour = ?", (slot_id, hour))
            continue
        measured_s, down, up, peak, clients_day, _, _ = row
        db.execute(
            "INSERT OR REPLACE INTO usage_hours VALUES (?, ?, ?, ?, ?, ?, ?)",
            (slot_id, hour, min(measured_s, _HOUR_S), _bytes(down), _bytes(up), peak, clients_day),
        )


def _bytes(total: float | None) -> int | None:
    return None if total is None else min(int(total), MAX_VALUE)
