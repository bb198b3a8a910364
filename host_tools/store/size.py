"""How large the database is, how fast it grows, and when its disk will be full."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from host_tools.store.database import Database
from host_tools.store.evidence import newest_report

_DAY_S = 86400
_DAYS = 7  # of the past, by which growth is measured


@dataclass(frozen=True)
class Size:
    """Bytes of the database and free ones of its disk; growth in bytes a day.

    days_left: until the disk is full; None: it does not grow.
    """

    bytes: int
    free: int
    bytes_per_day: float
    days_left: float | None


def size(db: Database, now: float) -> Size:
    """The size now, and its growth by the reports of the last seven days."""
    used = sum(
        path.stat().st_size
        for path in (db.path, db.path.with_name(f"{db.path.name}-wal"))
        if path.exists()
    )
    free = shutil.disk_usage(db.path.parent).free
    newest = newest_report(db)
    if not newest:
        return Size(used, free, 0.0, None)
    since = max(now - _DAYS * _DAY_S, _received(db, 0))
    days = max(now - since, 3600) / _DAY_S
    per_day = (newest - _last_before(db, since, newest)) / days * (used / newest)
    return Size(used, free, per_day, free / per_day if per_day else None)


def _received(db: Database, after: int) -> int:
    """When the first report after an id arrived."""
    return int(
        db.value("SELECT received_at FROM reports WHERE id > ? ORDER BY id LIMIT 1", (after,)) or 0
    )


def _last_before(db: Database, since: float, newest: int) -> int:
    """The id of the last report that arrived before a moment; 0 if there is none."""
    low, high = 0, newest
    while low < high:
        middle = (low + high) // 2
        if _received(db, middle) < since:
            low = middle + 1
        else:
            high = middle
    return low
