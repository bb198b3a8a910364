"""What the verbs over the province's database share: opening it, villages' names, times, sizes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click

from host_tools.cli._output import WITA, moment_of
from host_tools.common.errors import DesalinkError

if TYPE_CHECKING:
    from host_tools.cli import Application
    from host_tools.province.registry import Registry
    from host_tools.store import Database

village_option = click.option(
    "--village", metavar="CODE|NAME", help="Only this village, e.g. 6403112001."
)
since_option = click.option(
    "--since", metavar="TIME", help="Since then: 24h, 7d, 2026-11-24 or '2026-11-24 15:00' (WITA)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")

# What a state is called on the screen; causes of being down are told by their name.
_WORDS = {
    "up": "up",
    "degraded": "slow",
    "broker": "no way to the province",
    "no_data": "no data",
    "unknown": "not known yet",
    "power": "no power",
    "agent": "agent off",
}


@contextmanager
def reading(app: Application) -> Iterator[tuple[Registry, Database | None]]:
    """The registry, and the database if there is one yet."""
    from host_tools.province.registry import Registry
    from host_tools.store import StoreMissing, open_database

    with Registry.open(app.province.directory) as registry:
        try:
            database = open_database(app.province.database, readonly=True)
        except StoreMissing:
            if app.province.database.exists():
                raise
            yield registry, None
            return
        with database:
            yield registry, database


def village_code(registry: Registry, text: str | None) -> str | None:
    """The code of the village that a person means, None if they mean all.

    Raises:
        VillageError: there is none.
    """
    from host_tools.province.villages import find_village

    if text is None:
        return None
    named = [v for v in registry.villages() if v.name.casefold() == text.strip().casefold()]
    return named[0].code if len(named) == 1 else find_village(registry, text).code


def names(registry: Registry) -> dict[str, str]:
    """Village code to name."""
    return {village.code: village.name for village in registry.villages()}


def nothing_yet(registry: Registry, code: str | None = None) -> str:
    """What to do where no report has come yet, from a village or from any."""
    active = registry.active_devices()
    if not active:
        return "No device is enrolled yet; enrol one with 'desalink enrol'."
    if code is not None and not any(device.slot.startswith(code) for device in active):
        return (
            f"No device of {names(registry)[code]} ({code}) is enrolled; enrol one with "
            f"'desalink enrol --village {code}'."
        )
    return (
        "No report has come yet; see that 'desalink broker run' and 'desalink ingest' run, and "
        "that the devices reach the broker."
    )


_SPAN = re.compile(r"(\d{1,6})\s*(min|h|d|w)")
_SECONDS = {"min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_since(text: str | None) -> float | None:
    """Unix time of what a person gives as --since.

    Raises:
        DesalinkError: it is neither a span nor a date.
    """
    if text is None:
        return None
    span = _SPAN.fullmatch(text.strip())
    if span:
        return time.time() - int(span[1]) * _SECONDS[span[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise DesalinkError(
            f"'{text}' is not a time; give a span such as 24h or 7d, or a date such as 2026-11-24."
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=WITA)).timestamp()


def iso(unix: float | None) -> str | None:
    """A Unix time for machines: ISO 8601 with WITA's offset, "?" if no calendar has it."""
    if unix is None:
        return None
    moment = moment_of(unix)
    return "?" if moment is None else moment.isoformat(timespec="seconds")


def size(number: int | None) -> str:
    """Bytes for eyes: `12.3 MB`."""
    if number is None:
        return "-"
    if number < 1000:
        return f"{number} B"
    value, units = number / 1000, ["TB", "GB", "MB", "kB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop()
    return f"{value:.1f} {units[-1]}"


def span(seconds: float) -> str:
    """A length of time for eyes: `45 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`."""
    s = int(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60:02d} s"
    if s < 86400:
        return f"{s // 3600} h {s % 3600 // 60:02d} min"
    return f"{s // 86400} d {s % 86400 // 3600} h"


def state_word(state: str) -> str:
    """A state for eyes."""
    return _WORDS.get(state) or f"down: {state}"
