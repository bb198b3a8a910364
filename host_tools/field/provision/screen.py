"""The technician's view: a live table with a row for each board, or lines without a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from host_tools.common.errors import printable
from host_tools.common.i18n import _, number
from host_tools.field.provision.flow import STEPS, step_title
from host_tools.people.kits.model import KitSlot

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

_BAR = 16


class BoardRow:
    """The watcher of one board."""

    def __init__(self, screen: ProvisionScreen, port: str) -> None:
        self._screen = screen
        self.port = port
        self.mac = ""
        self.slot = ""
        self.village = ""
        self.share = 0.0
        self.states: dict[str, str] = {}
        self.ended = ""
        self.failed = False
        self.began = time.monotonic()
        self.seconds: float | None = None

    def step(self, name: str, state: str) -> None:
        self.states[name] = state
        self.share = 0.0
        if name != "find" or state == "failed":
            self._screen.print_line(self, f"{step_title(name)}: {_state_title(state)}")

    def progress(self, share: float) -> None:
        self.share = share

    def known(self, mac: str, slot: KitSlot) -> None:
        self.mac, self.slot, self.village = mac, slot.slot, slot.village.name

    def end(self, text: str, failed: bool) -> None:
        """The work on the board has ended with a result."""
        text = printable(text)  # errors of other libraries too
        self.ended, self.failed = text, failed
        self.seconds = time.monotonic() - self.began
        self._screen.print_line(self, text)


def _state_title(state: str) -> str:
    return {
        "running": _("running"),
        "done": _("done"),
        "already": _("was done already"),
        "elsewhere": _("not reachable here"),
        "failed": _("failed"),
    }[state]


class ProvisionScreen:
    """Rows of boards, shown while `shown` lasts."""

    def __init__(self) -> None:
        self.rows: list[BoardRow] = []
        self.note = ""
        self._live = sys.stdout.isatty()
        self._shown: Live | None = None
        self._lock = threading.Lock()

    def row(self, port: str) -> BoardRow:
        """A new row for the board on a port; it replaces a failed row of the same port."""
        row = BoardRow(self, port)
        with self._lock:
            self.rows = [r for r in self.rows if r.port != port or not r.failed] + [row]
        return row

    def print_line(self, row: BoardRow, text: str) -> None:
        """Print one line, if there is no table."""
        if self._live:
            return
        who = " ".join(part for part in (row.slot, row.mac or row.port) if part)
        with self._lock:
            print(f"{who}  {text}", flush=True)

    def note_that(self, text: str) -> None:
        """The state of the whole run: below the table, or a line when it changes."""
        if text != self.note and not self._live:
            with self._lock:
                print(text, flush=True)
        self.note = text

    def ask(self, question: str, default: str) -> str:
        """Ask the technician for a line; the table pauses, the boards continue.

        Raises:
            click.Abort: the input has ended.
        """
        import click

        if self._shown is not None:
            self._shown.stop()
        try:
            answer: str = click.prompt(question, default=default, err=True)
            return answer
        finally:
            if self._shown is not None:
                self._shown.start(refresh=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table on a terminal until the end of the block."""
        if not self._live:
            yield
            return
        from rich.live import Live

        with Live(get_renderable=self.table, refresh_per_second=8) as live:
            self._shown = live
            yield
            self._shown = None
            live.refresh()

    def table(self) -> Group:
        """The present table, and below it the result of each finished board."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=self.note or None)
        table.add_column(_("Port"), no_wrap=True)
        table.add_column(_("Board"), no_wrap=True)
        table.add_column(_("Village"), overflow="fold")
        table.add_column(_("Step"), no_wrap=True)
        table.add_column(_("Progress"), no_wrap=True)
        table.add_column(_("Seconds"), justify="right", no_wrap=True)
        with self._lock:
            rows = list(self.rows)
        # Below the table, because a sentence needs the whole width.
        results = []
        for row in rows:
            seconds = row.seconds if row.seconds is not None else time.monotonic() - row.began
            style = "red" if row.failed else "green" if row.ended else ""
            port = row.port.rsplit("/", 1)[-1]
            if row.ended:
                results.append(Padding(Text(f"{port}: {row.ended}", style=style), (0, 1, 0, 1)))
            table.add_row(
                Text(port),
                Text(row.mac),
                Text(f"{row.village} {row.slot}"),
                Text(_place(row)),
                Text(_bar(row), style=style),
                Text(number(seconds)),
            )
        return Group(table, *results)


def _place(row: BoardRow) -> str:
    """Such as `3/10 firmware`."""
    last = next((s for s in reversed(STEPS) if s in row.states), STEPS[0])
    failed = next((s for s in STEPS if row.states.get(s) == "failed"), last)
    return f"{STEPS.index(failed) + 1}/{len(STEPS)} {step_title(failed)}"


def _bar(row: BoardRow) -> str:
    over = sum(state not in ("running", "failed") for state in row.states.values())
    full = (over + (0 if row.ended else min(row.share, 1.0))) / len(STEPS)
    return "━" * round(full * _BAR) + "╌" * (_BAR - round(full * _BAR))
