"""What a technician has measured at a site, as the enrolment record holds it (docs/wire.cddl)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from host_tools.wire.columns import MAX_VALUE, NAMES, SCALES
from host_tools.wire.shapes import Form, Shape, boolean, fits, formed, printable, table, uint
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

    def table(self) -> dict[int | str, Any]:
        """As in the record."""
        return _SITE.table(vars(self))

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


_SECONDS = uint(_MOST_SECONDS)
_SITE = Form(
    "site",
    {
        "seconds": _SECONDS,
        "rounds": _SECONDS,
        "up": _SECONDS,
        "state": uint(255),
        "figures": table(uint(65_535), uint(MAX_VALUE, -MAX_VALUE), _MOST_FIGURES),
        "province": printable(40),
        "usage": table(printable(40), boolean, _MOST_SOURCES),
    },
)


site_shape: Shape = fits(formed(_SITE, MeasuredSite), lambda site: site.up <= site.rounds)
"""Of a measured site in a record."""
