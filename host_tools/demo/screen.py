"""What the demo shows: a live table on a terminal, plain lines for whatever else reads it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agent.wire import ids
from host_tools.common.sizes import size
from host_tools.wire.vocabulary import NO_DATA, OFF_AGENT, OFF_POWER, state_name

UP, UNKNOWN = state_name(ids.UP), state_name(ids.UNKNOWN)

# Title, least width (so that the table does not jump as values change), side.
_COLUMNS = (
    ("Village", 13, "<"),
    ("Device", 11, "<"),
    ("State", 16, "<"),
    ("RTT", 7, ">"),
    ("Loss", 5, ">"),
    ("Today", 8, ">"),
    ("Clients", 7, ">"),
    ("Report", 8, ">"),
    ("Backlog", 7, ">"),
)

_HAPPENINGS = 7  # as many of the newest lines stay on the screen
_PLAIN_EVERY_S = 10.0
WIDTH = 100  # where there is no terminal
_NARROW = 98


@dataclass(frozen=True)
class VillageRow:
    """One village as the province sees it, and the device's own backlog.

    rtt: milliseconds; loss: per cent; age: seconds since the last report arrived; used: bytes
    both ways since midnight WITA. None is "not measured".
    """

    name: str
    device: str
    state: str
    rtt: float | None
    loss: float | None
    used: int | None
    clients: int | None
    age: float | None
    backlog: int


def clock(seconds: float) -> str:
    """Time since the demo's start, `01:05`."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _time(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    return f"{milliseconds:.1f} ms" if milliseconds else "<0.1 ms"


def _state(state: str, narrow: bool) -> Text:
    if state == UP:
        return Text("● up", "green")
    if state in (NO_DATA, OFF_AGENT, OFF_POWER, UNKNOWN):
        return Text(f"○ {state.replace('_', ' ')}", "yellow")
    return Text(f"● {state}" if narrow else f"● down: {state}", "bold red")


def table(rows: Sequence[VillageRow], columns: int = WIDTH) -> Table:
    """The table of all villages, for a screen of so many columns."""
    made = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, show_edge=False)
    narrow = columns < _NARROW
    for title, width, side in _COLUMNS:
        if title != "Device" or not narrow:
            made.add_column(
                title,
                justify="right" if side == ">" else "left",
                min_width=0 if narrow else width,
                no_wrap=True,
            )
    for row in rows:
        made.add_row(
            Text(row.name, "bold"),
            *([] if narrow else [row.device]),
            _state(row.state, narrow),
            _time(row.rtt),
            "-" if row.loss is None else f"{row.loss:.0f} %",
            size(row.used),
            "-" if row.clients is None else str(row.clients),
            "-" if row.age is None else f"{row.age:.0f} s ago",
            Text(str(row.backlog), "yellow" if row.backlog else ""),
        )
    return made


class DemoScreen:
    """Shows rows and events until `close`."""

    def __init__(self, title: str, seconds: float) -> None:
        """seconds: how long the demo runs after `begin`."""
        self._console = Console()
        if not self._console.is_terminal:
            self._console = Console(width=WIDTH)
        self._title = title
        self._seconds = seconds
        self._began: float | None = None
        self._lines: deque[Text] = deque(maxlen=_HAPPENINGS)
        self._rows: Sequence[VillageRow] = ()
        self._shown = 0.0
        self._live: Live | None = None

    @property
    def elapsed(self) -> float:
        return 0.0 if self._began is None else time.monotonic() - self._began

    def begin(self) -> None:
        """Start the clock and, on a terminal, the live table."""
        self._began = self._shown = time.monotonic()
        self._lines.clear()  # the lines before it stay above
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()

    def tell(self, sentence: str, style: str = "") -> None:
        """Show an event that happens now."""
        line = Text.assemble((f"{clock(self.elapsed)} ", "dim"), (sentence, style))
        self._lines.append(line)
        if self._live is None:
            self._console.print(line if self._console.is_terminal else line.plain, highlight=False)
        else:
            self._live.update(self._frame(), refresh=True)

    def show(self, rows: Sequence[VillageRow]) -> None:
        self._rows = rows
        if self._live is not None:
            self._live.update(self._frame(), refresh=True)
        elif not self._console.is_terminal and time.monotonic() - self._shown >= _PLAIN_EVERY_S:
            self._shown = time.monotonic()
            self._console.print("", table(rows, self._console.width), sep="\n")
            self._console.print()

    def print(self, *things: object) -> None:
        """Print something that stays below everything else."""
        self._console.print(*things, sep="\n", highlight=False)

    def close(self) -> None:
        """End the live table; what it showed last stays."""
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def _frame(self) -> Group:
        head = Text.assemble(
            (self._title, "bold"), f"   {clock(min(self.elapsed, self._seconds))}",
            (f" of {clock(self._seconds)}", "dim"), ("   Ctrl-C ends it", "dim"),
        )  # fmt: skip
        return Group(head, "", table(self._rows, self._console.width), "", *self._lines)

    def picture(self, file: Path) -> None:
        """Save what a terminal would show now, as SVG."""
        from host_tools.demo.picture import save

        save(self._frame(), file)
