"""Times as the province reads and writes them: WITA, in one place.

Inside, every time is Unix seconds.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

DAY_S = 86_400
WITA_S = 8 * 3600
# Kalimantan's time zone; it has no summer time, so a fixed offset needs no database of zones.
WITA = timezone(timedelta(seconds=WITA_S), "WITA")

PROGRAMME = 1_735_660_800
"""2025-01-01 in WITA: no device ran before the programme began."""

_SPAN = re.compile(r"(\d{1,6})\s*(min|h|d|w)")
_SECONDS = {"min": 60, "h": 3600, "d": DAY_S, "w": 7 * DAY_S}


def moment_of(unix: float) -> datetime | None:
    """A Unix time in WITA; None if it is beyond the calendar, as a device's clock may have it."""
    try:
        return datetime.fromtimestamp(unix, WITA)
    except (ValueError, OverflowError, OSError):
        return None


def _written(unix: float | None, form: str) -> str:
    moment = None if unix is None else moment_of(unix)
    if moment is None:
        return "" if unix is None else "?"
    return moment.strftime(form)


def wita(unix: float | None) -> str:
    """A Unix time for people, with its zone; empty if there is none, "?" if no calendar has it."""
    return _written(unix, "%Y-%m-%d %H:%M WITA")


def day(unix: float | None) -> str:
    """Its date in WITA."""
    return _written(unix, "%Y-%m-%d")


def clock_time(unix: float | None) -> str:
    """Its time of the day in WITA, with seconds."""
    return _written(unix, "%H:%M:%S")


def iso(unix: float | None) -> str | None:
    """A Unix time for machines: ISO 8601 with WITA's offset, "?" if no calendar has it."""
    if unix is None:
        return None
    moment = moment_of(unix)
    return "?" if moment is None else moment.isoformat(timespec="seconds")


def span(seconds: float | None) -> str:
    """A length of time for people: `45 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`; a dash: it is
    not known."""
    if seconds is None:
        return "-"
    s = int(seconds)
    if s < 60:
        return _("{seconds} s").format(seconds=s)
    if s < 3600:
        return _("{minutes} min {seconds:02d} s").format(minutes=s // 60, seconds=s % 60)
    if s < DAY_S:
        return _("{hours} h {minutes:02d} min").format(hours=s // 3600, minutes=s % 3600 // 60)
    return _("{days} d {hours} h").format(days=s // DAY_S, hours=s % DAY_S // 3600)


def parse_since(text: str | None, now: float | None = None) -> float | None:
    """Unix time of what a person gives as --since.

    Args:
        now: Unix time from which spans count back; the present if None.

    Raises:
        DesalinkError: it is neither a span nor a date.
    """
    if text is None:
        return None
    found = _SPAN.fullmatch(text.strip())
    if found:
        return (time.time() if now is None else now) - int(found[1]) * _SECONDS[found[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise DesalinkError(
            _(
                "'{text}' is not a time; give a span such as 24h or 7d, or a date such as "
                "2026-11-24."
            ).format(text=text)
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=WITA)).timestamp()
