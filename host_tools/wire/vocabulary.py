"""The vocabulary of the wire, read from the agent's one table (agent/wire/vocabulary.toml)."""

import tomllib
from pathlib import Path
from typing import NamedTuple

from agent.wire import ids


class Metric(NamedTuple):
    """One column of a report: value in `unit` = number on the wire / `scale`."""

    id: int
    name: str
    unit: str
    scale: int
    kind: str  # enum, gauge or count
    meaning: str


class Term(NamedTuple):
    """One number of the wire that stands for something."""

    code: int
    name: str
    meaning: str


_TABLES = tomllib.loads(
    Path(ids.__file__).with_name("vocabulary.toml").read_text(encoding="utf-8")
)


def _terms(name: str) -> tuple[Term, ...]:
    return tuple(Term(*row) for row in _TABLES[name])


METRICS = tuple(Metric(*row) for row in _TABLES["metrics"])
STATES = _terms("states")
EVENTS = _terms("events")
CLOCK_SOURCES = _terms("clock_sources")
RESET_CAUSES = _terms("reset_causes")
DROP_REASONS = _terms("drop_reasons")
STREAM_REASONS = _terms("stream_reasons")
PROBE_RESULTS = _terms("probe_results")
PORTS = _terms("ports")
DISH_OUTAGES = _terms("dish_outages")
DISH_ALERTS = _terms("dish_alerts")

# States that no device reports: they follow from what is missing (docs/wire.md, "The timeline").
NO_DATA = "no_data"
OFF_POWER = "power"
OFF_AGENT = "agent"
# Nothing is known of the link yet but that its device has reached the broker ("Now").
CONNECTED = "connected"

_STATE_NAMES = {state.code: state.name for state in STATES}


def state_name(number: int | None) -> str:
    """The name of a state or cause; one from a newer version goes by its number."""
    if number is None:
        return STATES[0].name
    name = _STATE_NAMES.get(number)
    return f"state_{number}" if name is None else name
