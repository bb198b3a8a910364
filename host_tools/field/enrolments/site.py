"""What a technician has measured at a site, as the enrolment record holds it (docs/wire.cddl)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from host_tools.wire.columns import MAX_VALUE, NAMES, SCALES
from host_tools.wire.reasons import malformed
from host_tools.wire.vocabulary import state_name

_MOST_SECONDS = 86_400
_MOST_FIGURES = 64
_MOST_SOURCES = 16


def named(figures: Mapping[int, int]) -> dict[str, float]:
    """Figures by name and in their units; `figures`: metric -> value as on the wire."""
    return {
        NAMES[metric]: value if SCALES[NAMES[metric]] == 1 else value / SCALES[NAMES[metric]]
        for metric, value in sorted(figures.items())
        if metric in NAMES
    }


@dataclass(frozen=True)
class MeasuredSite:
    """A measured site.

    seconds: how long; rounds: how many, `up` of them with the internet; state: by the ladder, as
    in reports; figures: metric -> value as on the wire; province: result of the network test;
    usage: source -> whether it answers.
    """

    seconds: int
    rounds: int
    up: int
    state: int
    figures: dict[int, int]
    province: str
    usage: dict[str, bool]

    def value(self, name: str) -> float | None:
        """A figure in its unit, None if it was not measured."""
        return named(self.figures).get(name)

    def table(self) -> dict[int, Any]:
        """As in the record."""
        values = (self.seconds, self.rounds, self.up, self.state)
        return {
            **dict(enumerate(values, 1)),
            5: self.figures,
            6: self.province,
            7: self.usage,
        }

    def as_json(self) -> dict[str, Any]:
        """For programs, with names and units of docs/metrics.md."""
        return {
            "seconds": self.seconds,
            "rounds": self.rounds,
            "rounds_up": self.up,
            "state": state_name(self.state),
            "figures": named(self.figures),
            "province": self.province,
            "usage": self.usage,
        }


def parse_site(table: Any) -> MeasuredSite:
    """Read the table of a record.

    Raises:
        Refused: it is malformed.
    """
    if type(table) is not dict:
        raise malformed("site (14) of the enrolment record is not valid")
    values: list[Any] = [table.get(number) for number in range(1, 8)]
    seconds, rounds, up, state, figures, province, usage = values
    valid = (
        _number(seconds, _MOST_SECONDS)
        and _number(rounds, _MOST_SECONDS)
        and _number(up, rounds)
        and _number(state, 255)
        and type(figures) is dict
        and len(figures) <= _MOST_FIGURES
        and all(_number(key, 65_535) for key in figures)
        and all(type(value) is int and abs(value) <= MAX_VALUE for value in figures.values())
        and _name(province)
        and type(usage) is dict
        and len(usage) <= _MOST_SOURCES
        and all(_name(key) and type(said) is bool for key, said in usage.items())
    )
    if not valid:
        raise malformed("site (14) of the enrolment record is not valid")
    return MeasuredSite(*values)


def _number(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 40 and value.isprintable()
