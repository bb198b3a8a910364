"""Times as people of the province read them: WITA."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

# Kalimantan's time zone; it has no summer time, so a fixed offset needs no database of zones.
WITA = timezone(timedelta(hours=8), "WITA")


def moment_of(unix: float) -> datetime | None:
    """A Unix time in WITA; None if it is beyond the calendar, as a device's clock may have it."""
    try:
        return datetime.fromtimestamp(unix, WITA)
    except (ValueError, OverflowError, OSError):
        return None


def wita(unix: float | None) -> str:
    """A Unix time with its zone; empty if there is none, "?" if no calendar has it."""
    if unix is None:
        return ""
    moment = moment_of(unix)
    return "?" if moment is None else moment.strftime("%Y-%m-%d %H:%M WITA")
