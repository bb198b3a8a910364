"""Show how every village is now."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._store import json_option, village_option

if TYPE_CHECKING:
    from host_tools.store.queries import SlotStatus

_COLUMNS = (
    "village",
    "slot",
    "state",
    "since",
    "RTT",
    "loss",
    "today",
    "clients",
    "last report",
    "journal",
    "backlog",
    "gaps",
)
_RIGHT = ("RTT", "loss", "today", "clients", "journal", "backlog", "gaps")
_LEAVE_OUT = ("journal", "slot", "clients", "gaps", "since", "loss")
_COLOURS = {"up": "green", "no_data": "yellow", "unknown": "yellow", "degraded": "yellow"}


@click.command()
@village_option
@click.option("--watch", is_flag=True, help="Show it again every few seconds, until Ctrl-C.")
@json_option
@pass_app
def command(app: Application, village: str | None, watch: bool, as_json: bool) -> None:
    """Show how every village is now.

    A village that has sent nothing for three report intervals shows "no data", whatever it was
    before. "today" is what went down and up since midnight WITA; "journal" how full the device's
    is with what is not stored yet; "backlog" how many reports it still has to send; "gaps" how
    many of them are missing in between.
    """
    if watch and as_json:
        app.abort("--watch shows a table; ask for --json again and again instead.", 2)
    if watch:
        _watch(app, village)
        return
    slots, names, note = _load(app, village)
    if as_json:
        from host_tools.cli._output import print_json

        print_json([_as_json(slot, names) for slot in slots])
    else:
        _print(slots, names)
    if note:
        app.note(note)


_WATCH_S = 2.0


def _load(
    app: Application, village: str | None
) -> tuple[list[SlotStatus], dict[str, str], str | None]:
    """Slots that have reported or have a device, names of villages, and what to do if none has."""
    from host_tools.cli._store import names, nothing_yet, reading, village_code
    from host_tools.store.queries import SlotStatus, status

    with reading(app) as (registry, database):
        code = village_code(registry, village)
        found = status(database, time.time(), code) if database else []
        known = {slot.slot for slot in found}
        found += [
            SlotStatus(device.slot, device.slot[:10], "no_data", None, False)
            for device in registry.active_devices()
            if device.slot not in known and (code is None or device.slot.startswith(code))
        ]
        note = None
        if not any(slot.last_report for slot in found):
            note = nothing_yet(registry, code)
        return sorted(found, key=lambda slot: slot.slot), names(registry), note


def _cells(slot: SlotStatus, names: dict[str, str]) -> tuple[str, ...]:
    from host_tools.cli._store import size, state_word
    from host_tools.common.times import wita

    return (
        names.get(slot.village, ""),
        slot.slot,
        state_word(slot.state),
        wita(slot.since) or "never",
        "-" if slot.rtt_ms is None else f"{slot.rtt_ms:.1f} ms",
        "-" if slot.loss_percent is None else f"{slot.loss_percent:.1f} %",
        size(slot.bytes_today),
        "-" if slot.clients is None else str(slot.clients),
        wita(slot.last_report) or "never",
        "-" if slot.journal_fill is None else f"{slot.journal_fill:.1f} %",
        str(slot.backlog),
        str(slot.gaps),
    )


def _print(slots: list[SlotStatus], names: dict[str, str]) -> None:
    import sys

    from host_tools.cli._output import print_table

    if sys.stdout.isatty() and slots:
        from rich.console import Console

        console = Console()
        console.print(_table(slots, names, console.width))
    elif slots:
        print_table(_COLUMNS, [_cells(slot, names) for slot in slots], right=_RIGHT)


def _table(slots: list[SlotStatus], names: dict[str, str], width: int) -> Any:
    """The table for a screen: what does not fit is left out, the least needed first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    rows = [dict(zip(_COLUMNS, _cells(slot, names), strict=True)) for slot in slots]
    for row, slot in zip(rows, slots, strict=True):
        # The heading says the zone for all.
        row["since"] = row["since"].removesuffix(" WITA")
        if slot.last_report is not None:
            row["last report"] = _ago(time.time() - slot.last_report)
        if not slot.slot.endswith("-1"):
            row["village"] += f" ({slot.slot[11:]})"
    headings = {column: column for column in _COLUMNS} | {"since": "since (WITA)"}
    shown = list(_COLUMNS)
    widths = {
        column: max(len(headings[column]), *(len(row[column]) for row in rows)) + 2
        for column in _COLUMNS
    }
    for column in _LEAVE_OUT:
        if sum(widths[c] for c in shown) > width:
            shown.remove(column)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in shown:
        table.add_column(
            headings[column], justify="right" if column in _RIGHT else "left", overflow="fold"
        )
    for row, slot in zip(rows, slots, strict=True):
        cells = [Text(row[column]) for column in shown]
        cells[shown.index("state")].stylize(_COLOURS.get(slot.state, "bold red"))
        table.add_row(*cells)
    return table


def _ago(seconds: float) -> str:
    from host_tools.common.times import span

    return f"{span(max(0.0, seconds))} ago"


def _watch(app: Application, village: str | None) -> None:
    import sys

    with contextlib.suppress(KeyboardInterrupt):
        if not sys.stdout.isatty():
            while True:
                slots, names, note = _load(app, village)
                _print(slots, names)
                if note:
                    app.note(note)
                click.echo()
                time.sleep(_WATCH_S)
        from rich.live import Live

        with Live(refresh_per_second=4) as live:
            while True:
                slots, names, note = _load(app, village)
                live.update(_table(slots, names, live.console.width) if slots else note or "")
                time.sleep(_WATCH_S)


def _as_json(slot: SlotStatus, names: dict[str, str]) -> dict[str, Any]:
    from host_tools.common.times import iso

    return {
        "slot": slot.slot,
        "village": slot.village,
        "name": names.get(slot.village),
        "state": slot.state,
        "since": iso(slot.since),
        "fresh": slot.fresh,
        "rtt_ms": slot.rtt_ms,
        "loss_percent": slot.loss_percent,
        "bytes_today": slot.bytes_today,
        "clients": slot.clients,
        "last_report": iso(slot.last_report),
        "journal_fill_percent": slot.journal_fill,
        "backlog": slot.backlog,
        "gaps": slot.gaps,
        "duplicates": slot.duplicates,
    }
