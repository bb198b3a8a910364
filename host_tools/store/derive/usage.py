"""Usage by the hour. Days and months are sums of hours: WITA's midnights are full hours of UTC."""

from __future__ import annotations

from host_tools.store.database import Database
from host_tools.store.derive.slice import Changes, day_of

_HOUR_S = 3600


def sum_up(db: Database, changes: Changes) -> None:
    """Sum the changed hours anew from their samples; a sample counts in the hour it begins in."""
    for slot_id, hour in changes.hours:
        row = db.one(
            "SELECT sum(step), sum(bytes_down), sum(bytes_up), "
            "max(coalesce(clients_peak, clients)), max(clients_day) FROM samples "
            "WHERE day = ? AND slot_id = ? AND t BETWEEN ? AND ?",
            (day_of(hour), slot_id, hour, hour + _HOUR_S - 1),
        )
        if row is None or row[0] is None:
            db.execute("DELETE FROM usage_hours WHERE slot_id = ? AND hour = ?", (slot_id, hour))
        else:
            db.execute(
                "INSERT OR REPLACE INTO usage_hours VALUES (?, ?, ?, ?, ?, ?, ?)",
                (slot_id, hour, *row),
            )
