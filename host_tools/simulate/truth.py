"""The truth of a simulation: the states of each village, and which times were reported.

The file has JSON lines; docs/simulate.md describes them.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import _
from host_tools.simulate import regimes as r
from host_tools.simulate.reports import Made, last_alive
from host_tools.simulate.world import UP, Run, SimulatedVillage, SimulationSettings

FILE = "truth.jsonl"


class Truth:
    """What is true of a village; `arrived` notes what the province has received."""

    def __init__(self, village: SimulatedVillage) -> None:
        self._village = village
        self._ends = [spell.end for spell in village.spells]
        self._known: list[int | None] = [None] * len(self._ends)
        self._told: list[list[int]] = []
        self._sampled: list[list[int]] = []
        # The end of the first sample of a report, by its begin, where none was known before it.
        self._firsts: dict[int, int] = {}
        self._hours: dict[int, list[int]] = {}
        self._reports = 0
        # Reports of runs without any report that knows the time: their time is unknown.
        self._timeless: dict[Run, list[Made]] = {}
        self._timed: set[Run] = set()

    def arrived(self, made: Made, at: int) -> None:
        """A report has arrived at a moment, for the first time."""
        self._reports += 1
        if made.start is not None and made.run not in self._timed:
            self._timed.add(made.run)
            for earlier in self._timeless.pop(made.run, ()):
                self._tell(earlier, at)
        if made.run in self._timed:
            self._tell(made, at)
        else:
            self._timeless.setdefault(made.run, []).append(made)

    def _tell(self, made: Made, at: int) -> None:
        for number in range(
            bisect_right(self._ends, made.since), bisect_right(self._ends, made.at)
        ):
            if self._known[number] is None:
                self._known[number] = at
        _cover(self._told, made.begin, made.end)
        first, first_end = made.first_sample
        if first < first_end:
            if not self._sampled or self._sampled[-1][1] != first:
                self._firsts[first] = first_end
            _cover(self._sampled, first, made.end)
        for hour in made.hours:
            sums = self._hours.setdefault(hour.hour, [0, 0, 0, 0])
            sums[0] += hour.down
            sums[1] += hour.up
            sums[2] = max(sums[2], hour.clients_peak)
            sums[3] = max(sums[3], hour.clients_day)

    def _told_of(self) -> list[list[int]]:
        """The times of which reports tell.

        A first sample that ends in an outage tells nothing but the outage.
        """
        told, spells = merged(self._told), self._village.spells
        for begin, *_end in merged(self._sampled):
            end = self._firsts[begin]
            shown = bisect_right(self._ends, end - r.LAG_S)
            if spells[shown].state == UP:
                continue
            first = bisect_right(self._ends, begin)
            for number, spell in enumerate(spells[first : shown + 2], first):
                unknown = spell.state == UP or (self._known[number] is None and number != shown)
                if unknown and spell.begin < end:
                    told = _without(told, max(begin, spell.begin), min(end, spell.end))
        return told

    def line(self) -> str:
        """The village's line of the file."""
        village = self._village
        return json.dumps(
            {
                "slot": village.slot,
                "link": village.link,
                "provider": village.provider,
                "power": village.power,
                "special": village.special,
                "clock_right": village.wrong_clock is None,
                "reports": self._reports,
                "spells": [
                    [*spell, known]
                    for spell, known in zip(village.spells, self._known, strict=True)
                ],
                "told": self._told_of(),
                "runs": [[run.begin, last_alive(run)] for run in village.runs],
                "hours": [[hour, *sums] for hour, sums in sorted(self._hours.items())],
            },
            separators=(",", ":"),
        )


def _cover(spans: list[list[int]], begin: int, end: int) -> None:
    """Add a time to spans; many of them touch the last one."""
    if begin >= end:
        return
    # Live reports go on where the last one ended; a backlog comes newest first.
    if spans and spans[-1][1] == begin:
        spans[-1][1] = end
    elif spans and spans[-1][0] == end:
        spans[-1][0] = begin
    else:
        spans.append([begin, end])


def _without(spans: list[list[int]], begin: int, end: int) -> list[list[int]]:
    """Spans without a time."""
    parts = [part for b, e in spans for part in ([b, min(e, begin)], [max(b, end), e])]
    return [part for part in parts if part[0] < part[1]]


def merged(spans: list[list[int]]) -> list[list[int]]:
    """Spans in the order of time, those that touch or overlap joined."""
    result: list[list[int]] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1][1] = max(result[-1][1], end)
        else:
            result.append([begin, end])
    return result


@dataclass(frozen=True)
class VillageTruth:
    """A line of the file, read back."""

    slot: str
    link: str
    provider: str
    power: str
    special: str
    clock_right: bool
    reports: int
    spells: list[tuple[int, int, str, int | None]]
    told: list[tuple[int, int]]
    hours: list[tuple[int, int, int, int, int]]
    runs: list[tuple[int, int]] = field(default_factory=list)


def write(path: Path, settings: SimulationSettings, lines: list[str]) -> None:
    """Write the file: the settings, then a line for each village."""
    with path.open("w") as file:
        file.write(json.dumps({"format": 1, **asdict(settings)}) + "\n")
        file.writelines(line + "\n" for line in lines)


def read(path: Path) -> Iterator[VillageTruth]:
    """The villages of the file, one after the other.

    Raises:
        ProvinceError: there is no such file.
    """
    try:
        file = path.open()
    except FileNotFoundError:
        raise ProvinceError(
            _(
                "There is no {path}; only a province that 'desalink simulate' has filled has one."
            ).format(path=path)
        ) from None
    with file:
        next(file, None)
        for line in file:
            fields: dict[str, Any] = json.loads(line)
            for name in ("spells", "told", "hours", "runs"):
                fields[name] = [tuple(item) for item in fields.get(name, ())]
            yield VillageTruth(**fields)
