"""The laboratory's results: as tables for people, as JSON for programs."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.lab.confusion import Matrix
from tests.lab.judge import Verdict
from tests.lab.quiet import Silence
from tests.lab.usage import Usage
from tests.lab.world import SPEED


@dataclass
class Results:
    """What was found so far."""

    verdicts: list[Verdict] = field(default_factory=list)
    silence: list[Silence] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    matrix: Matrix | None = None
    seconds: int = 0

    @property
    def ok(self) -> bool:
        """Whether all of it is as it must be."""
        parts = [*self.verdicts, *self.silence, *self.usage]
        return all(part.ok for part in parts) and (self.matrix is None or self.matrix.ok)

    def row(self) -> dict[str, Any]:
        """For the file."""
        return {
            "ok": self.ok,
            "seconds": self.seconds,
            "speed": SPEED,
            "faults": [verdict.row() for verdict in self.verdicts],
            "quiet": [silence.row() for silence in self.silence],
            "usage": [usage.row() for usage in self.usage],
            "confusion": self.matrix.row() if self.matrix else None,
        }

    def show(self) -> None:
        """Print it."""
        console = Console(width=None if sys.stdout.isatty() else 140)
        if self.matrix:
            _show_matrix(console, self.matrix)
        if self.verdicts:
            console.print(_faults(self.verdicts))
        for silence in self.silence:
            console.print(
                f"quiet for {silence.seconds / 3600:.1f} h of the agent's rhythm on "
                f"{silence.interpreter}: {silence.outages} outages reported"
            )
        if self.usage:
            console.print(_usage(self.usage))
        right = sum(verdict.ok for verdict in self.verdicts)
        console.print(f"{right} of {len(self.verdicts)} right, in {self.seconds} s")


def _mark(ok: bool) -> str:
    return "ok" if ok else "[bold red]WRONG[/]"


def _faults(verdicts: list[Verdict]) -> Table:
    table = Table(
        title="Faults injected, and what the province shows",
        caption="rounds of 1 s instead of 10 s; errors of begin and end in seconds, "
        "positive is late",
    )
    for heading in ("fault", "agent on", "expected", "reported", "begin", "end", "evidence", ""):
        table.add_column(heading, justify="right" if heading in ("begin", "end") else "left")
    for v in verdicts:
        errors = ["" if e is None else f"{e:+.1f}" for e in (v.begin_error, v.end_error)]
        table.add_row(
            v.fault, v.interpreter, v.expected, v.reported, *errors, v.evidence, _mark(v.ok)
        )
    return table


def _usage(usage: list[Usage]) -> Table:
    table = Table(title="Bytes shown by the province, beside the packet filter's count")
    for heading in ("transfer", "agent on", "direction", "truth", "shown", "error", ""):
        table.add_column(
            heading, justify="right" if heading in ("truth", "shown", "error") else "left"
        )
    for u in usage:
        error = (u.shown - u.truth) / max(u.truth, 1)
        table.add_row(
            u.what,
            u.interpreter,
            u.direction,
            f"{u.truth:,}",
            f"{u.shown:,}",
            f"{error:+.2%}",
            _mark(u.ok),
        )
    return table


def _show_matrix(console: Console, matrix: Matrix) -> None:
    causes = sorted({cause for cell in matrix.cells for cause in cell})
    size = f"{matrix.total} outages in {matrix.sequences} sequences"
    table = Table(title=f"Confusion matrix: {size}")
    table.add_column("injected \\ reported")
    for cause in causes:
        table.add_column(cause, justify="right")
    for wanted in causes:
        cells = [matrix.cells.get((wanted, told), 0) for told in causes]
        if any(cells):
            table.add_row(wanted, *(str(cell) if cell else "" for cell in cells))
    console.print(table)
    console.print(
        f"right {matrix.right:.2%}, missed {matrix.missed}, invented {matrix.invented}, "
        f"begin or end not within the limit: {matrix.late.total()}"
    )
