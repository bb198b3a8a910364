"""The table of `desalink status`: counts, then slots, in as many columns as fit."""

from __future__ import annotations

import sys
import time
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from host_tools.common.i18n import _, marked, number
from host_tools.common.sizes import size
from host_tools.common.times import clock_time, span, wita
from host_tools.listings.model import Column, Listing
from host_tools.listings.terminal import print_pages, print_table
from host_tools.states.words import state_word

if TYPE_CHECKING:
    from host_tools.situation.overview import Overview
    from host_tools.store.queries import SlotStatus
    from host_tools.store.size import Size

_COLUMNS = (
    marked("village"),
    marked("slot"),
    marked("state"),
    marked("since"),
    marked("RTT"),
    marked("loss"),
    marked("today"),
    marked("clients"),
    marked("last report"),
    marked("journal"),
    marked("backlog"),
    marked("gaps"),
)
_RIGHT = ("RTT", "loss", "today", "clients", "journal", "backlog", "gaps")
# What is left out first where the terminal is narrow.
_LEAVE_OUT = (
    *("journal", "slot", "clients", "gaps", "loss", "backlog", "today", "RTT"),
    *("last report", "since"),
)
_COLOURS = {
    "up": "green",
    "no_data": "yellow",
    "connected": "yellow",
    "unknown": "yellow",
    "degraded": "yellow",
}
_FIRST = ("up", "degraded")
_LAST = ("connected", "no_data", "unknown")


def counts_line(found: Overview) -> str:
    """`760 up, 12 slow, 9 down: provider, 19 no data`, and what does not run."""
    counts = found.counts()
    revoked = counts.pop("revoked", 0)
    middle = sorted(set(counts) - {*_FIRST, *_LAST}, key=lambda state: (-counts[state], state))
    order = [state for state in (*_FIRST, *middle, *_LAST) if counts[state]]
    line = ", ".join(f"{counts[state]} {state_word(state)}" for state in order) or _("no slot")
    if revoked:
        line += _("; {count} revoked").format(count=revoked)
    if found.lost:
        line += _("; {count} with a lost session").format(count=len(found.lost))
    return line + "."


def heading(found: Overview) -> str:
    """How much of the province is installed, and how it is."""
    line = _("{installed} of {villages} villages are installed, {empty} never had a device.")
    line = line.format(installed=found.installed, villages=found.villages, empty=len(found.empty))
    return f"{line}\n{counts_line(found)}\n"


def disk_line(its: Size) -> str:
    """How much the evidence takes, and for how long there is room."""
    line = _("Database {size}").format(size=size(its.bytes))
    if its.archive:
        line += _(", archives {size}").format(size=size(its.archive))
    line += _(", free on the disk {size}").format(size=size(its.free))
    if its.days_left is not None:
        growth = size(int(its.bytes_per_day))
        line += _("; grows by {growth} a day, room for {days_left} days").format(
            growth=growth, days_left=number(its.days_left)
        )
    return f"{line}."


def show(found: Overview, slots: list[SlotStatus]) -> None:
    """Print it; on a terminal it goes through a pager where it does not fit."""

    if not sys.stdout.isatty():
        click.echo(heading(found))
        if slots:
            columns = [
                Column("", _(heading), of=itemgetter(number), right=heading in _RIGHT)
                for number, heading in enumerate(_COLUMNS)
            ]
            rows = [_cells(found, slot) for slot in slots]
            print_table(Listing("status", columns, rows))
        return
    from rich.console import Console

    console = Console()
    with console.capture() as shown:
        console.print(heading(found), highlight=False, end="")
        if slots:
            console.print(table(found, slots, console.width))
    print_pages(shown.get())


def _cells(found: Overview, slot: SlotStatus) -> tuple[str, ...]:
    state = state_word(slot.state)
    if slot.slot in found.lost:
        state += _(", session lost {ago}").format(ago=_ago(found.lost[slot.slot]))
    if slot.due is not None:
        state += _(", first report due {time}").format(time=clock_time(slot.due)[:5])
    if found.old_since is not None:
        state += _(" (old)")
    return (
        found.labels.get(slot.village, ""),
        slot.slot,
        state,
        wita(slot.since) or _("never"),
        "-" if slot.rtt_ms is None else f"{number(slot.rtt_ms, 1)} ms",
        "-" if slot.loss_percent is None else f"{number(slot.loss_percent, 1)} %",
        size(slot.bytes_today),
        "-" if slot.clients is None else str(slot.clients),
        wita(slot.last_report) or _("never"),
        "-" if slot.journal_fill is None else f"{number(slot.journal_fill, 1)} %",
        str(slot.backlog),
        str(slot.gaps),
    )


def table(found: Overview, slots: list[SlotStatus], width: int) -> Any:
    """The slots for a screen; each takes one line, however narrow it is."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    rows = [dict(zip(_COLUMNS, _cells(found, slot), strict=True)) for slot in slots]
    for row, slot in zip(rows, slots, strict=True):
        # The heading says the zone for all.
        row["since"] = row["since"].removesuffix(" WITA")
        if slot.last_report is not None:
            row["last report"] = _ago(slot.last_report)
        if "-" in slot.slot and not slot.slot.endswith("-1"):
            row["village"] += f" ({slot.slot[11:]})"
    headings = {column: _(column) for column in _COLUMNS} | {"since": _("since (WITA)")}
    shown = list(_COLUMNS)
    widths = {
        column: max(len(headings[column]), *(len(row[column]) for row in rows)) + 2
        for column in _COLUMNS
    }
    for column in _LEAVE_OUT:
        if sum(widths[c] for c in shown) > width:
            shown.remove(column)
    made = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in shown:
        made.add_column(
            headings[column],
            justify="right" if column in _RIGHT else "left",
            overflow="ellipsis",
            no_wrap=True,
        )
    for row, slot in zip(rows, slots, strict=True):
        cells = [Text(row[column]) for column in shown]
        cells[shown.index("state")].stylize(_COLOURS.get(slot.state, "bold red"))
        made.add_row(*cells)
    return made


def _ago(at: float) -> str:
    return _("{time} ago").format(time=span(max(0.0, time.time() - at)))
