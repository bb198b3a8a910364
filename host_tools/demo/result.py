"""The result of a demo: the devices' own counts beside the province's, faults beside outages."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from agent.wire import ids
from host_tools.common.files import write_file
from host_tools.common.times import clock_time, iso
from host_tools.demo import faults, journals
from host_tools.demo.faults import Fault
from host_tools.demo.plant import Station
from host_tools.demo.run import Demo
from host_tools.demo.view import View
from host_tools.store import queries
from host_tools.store.queries import Interval, Outage
from host_tools.wire.vocabulary import OFF_AGENT, OFF_POWER, state_name

# Rounds of reachability are a second apart and two in a row count; the rest is a slow machine's.
_TOLERANCE_S = 5.0

_PROVIDER = state_name(ids.DOWN_PROVIDER)


@dataclass
class SlotResult:
    """One village. journaled: reports on the device's own medium; stored: those of them that the
    province holds byte for byte; gaps: seqs that it lacks and of which it holds later ones; stops:
    when nothing ran between two starts of the agent."""

    slot: str
    name: str
    journaled: int
    stored: int
    duplicates: int
    gaps: int
    outages: list[Outage]
    stops: list[Interval]
    problems: list[str] = field(default_factory=list)


def slot_result(station: Station, view: View) -> SlotResult:
    """Compare a device's journal with what the province holds of it."""
    journal = journals.reports(station.journal)
    db, slot = view.database(), station.slot
    evidence = queries.stored(db, slot)
    result = SlotResult(
        slot,
        station.name,
        sum(map(len, journal.values())),
        sum(
            evidence.get(stream, {}).get(seq) == report
            for stream, held in journal.items()
            for seq, report in held.items()
        ),
        queries.count_duplicates(db, slot),
        queries.count_missing(db, slot),
        queries.outages(db, slot=slot),
        [i for i in queries.intervals(db, slot) if i.state in (OFF_AGENT, OFF_POWER)],
    )
    if not result.journaled:
        result.problems.append(f"{station.name}: the device has no journal.")
    if result.stored != result.journaled:
        result.problems.append(
            f"{station.name}: {result.journaled - result.stored} of {result.journaled} reports in "
            "the device's journal are not stored."
        )
    if result.gaps:
        result.problems.append(f"{station.name}: {result.gaps} reports are missing in the chain.")
    return result


def _unreported(fault: Fault, result: SlotResult) -> str | None:
    """Why the province has not seen a fault; None if it has."""
    began, ended = fault.began or 0.0, fault.ended or 0.0
    when = f"{clock_time(began)} to {clock_time(ended)} WITA"
    if fault.kind == faults.CUT:
        for outage in result.outages:
            if (
                outage.cause == _PROVIDER
                and outage.end is not None
                and abs(outage.begin - began) <= _TOLERANCE_S
                and abs(outage.end - ended) <= _TOLERANCE_S
            ):
                return None
        return (
            f"{result.name}: the upstream was cut from {when}, and no such outage with cause "
            "provider was reported."
        )
    if fault.kind == faults.AGENT_KILL:
        if any(stop.begin <= ended and stop.end >= began for stop in result.stops):
            return None
        return (
            f"{result.name}: the agent did not run from {when}, and the province has not noticed."
        )
    return None


class DemoResult:
    """The whole demo's outcome. `problems`: sentences; empty when all is well."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self.slots = [slot_result(station, demo.view) for station in demo.stations]
        self.problems = [problem for slot in self.slots for problem in slot.problems]
        for fault in demo.faults:
            station = demo.station(fault)
            for slot in self.slots:
                if station is not None and station.slot == slot.slot:
                    problem = _unreported(fault, slot)
                    self.problems += [problem] if problem else []

    def _injected(self) -> list[dict[str, Any]]:
        injected = []
        for fault in self._demo.faults:
            station = self._demo.station(fault)
            injected.append(
                {
                    "fault": fault.kind,
                    "slot": station.slot if station else None,
                    "begin": iso(fault.began),
                    "end": iso(fault.ended),
                }
            )
        return injected

    def as_json(self) -> dict[str, Any]:
        """The summary; times are ISO 8601 in WITA, an outage's end null while it lasts."""
        return {
            "slots": {
                slot.slot: {
                    "journaled": slot.journaled,
                    "stored": slot.stored,
                    "duplicates": slot.duplicates,
                    "gaps": slot.gaps,
                    "outages": [
                        {"cause": o.cause, "begin": iso(o.begin), "end": iso(o.end)}
                        for o in slot.outages
                    ],
                    "village": slot.name,
                    "stops": [
                        {"reason": s.state, "begin": iso(s.begin), "end": iso(s.end)}
                        for s in slot.stops
                    ],
                }
                for slot in self.slots
            },
            "injected": self._injected(),
            "problems": self.problems,
        }

    def save(self, file: Path) -> None:
        """Write the summary as JSON."""
        write_file(file, json.dumps(self.as_json(), ensure_ascii=False, indent=2).encode() + b"\n")

    def table(self) -> Table:
        """What happened, per village."""
        made = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, show_edge=False)
        made.add_column("Village", no_wrap=True)
        for title in ("Journaled", "Stored", "Duplicates", "Gaps"):
            made.add_column(title, justify="right", no_wrap=True)
        made.add_column("What happened (WITA)")
        for slot in self.slots:
            lost = slot.stored != slot.journaled
            made.add_row(
                Text(slot.name, "bold"),
                str(slot.journaled),
                Text(str(slot.stored), "bold red" if lost else "green"),
                str(slot.duplicates),
                Text(str(slot.gaps), "bold red" if slot.gaps else "green"),
                "\n".join(_happenings(slot)) or "nothing",
            )
        return made


def _happenings(slot: SlotResult) -> list[str]:
    lines = [
        (o.begin, f"outage, cause {o.cause}, " + _length(o.begin, o.end)) for o in slot.outages
    ] + [(s.begin, f"{s.state} off, " + _length(s.begin, s.end)) for s in slot.stops]
    return [f"{clock_time(begin)} {text}" for begin, text in sorted(lines)]


def _length(begin: float, end: float | None) -> str:
    return "and it lasts" if end is None else f"{end - begin:.0f} s"
