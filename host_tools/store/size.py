"""How much the evidence takes, how fast it grows, and when the disk will be full."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from host_tools.archive.chain import DIRECTORY
from host_tools.store.database import Database
from host_tools.store.evidence import last_before, newest_report, received_after

_DAY_S = 86400
_DAYS = 7  # of the past, by which growth is measured
_LARGER = 2.5  # times as much does a report take in the database as in the archive


@dataclass(frozen=True)
class Size:
    """Bytes of the database, unused ones within it, of the archive, and free ones of the disk.

    bytes_per_day: by which the database grows while nothing is archived.
    days_left: until it has used up what is free; None: it does not grow.
    """

    bytes: int
    unused: int
    archive: int
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
    unused = db.unused()
    archive = sum(path.stat().st_size for path in (db.path.parent / DIRECTORY).glob("*.parquet"))
    free = shutil.disk_usage(db.path.parent).free
    newest = newest_report(db)
    if not newest:
        return Size(used, unused, archive, free, 0.0, None)
    since = max(now - _DAYS * _DAY_S, received_after(db, 0))
    days = max(now - since, 3600) / _DAY_S
    # Of all reports ever, as if none were archived.
    each = (used - unused + archive * _LARGER) / newest
    archived = int(db.value("SELECT min(id) FROM reports")) - 1
    per_day = (newest - max(archived, last_before(db, since, newest))) / days * each
    left = (free + unused) / per_day if per_day else None
    return Size(used, unused, archive, free, per_day, left)
