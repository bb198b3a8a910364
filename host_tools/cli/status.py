"""Show how every village is now."""

from __future__ import annotations

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
    if watch and not as_json:
        _watch(app, village)
        return
    while True:
        slots, names, note = _load(app, village)
        if as_json:
            from host_tools.cli._output import print_json

            print_json([_as_json(slot, names) for slot in slots])
        else:
            _print(slots, names)
        if note:
            app.note(note)
        if not watch:
            return
        time.sleep(_WATCH_S)


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
            note = nothing_yet(registry)
        return sorted(found, key=lambda slot: slot.slot), names(registry), note


def _cells(slot: SlotStatus, names: dict[str, str]) -> tuple[str, ...]:
    from host_tools.cli._output import wita
    from host_tools.cli._store import size, state_word

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

        Console().print(_table(slots, names))
    elif slots:
        print_table(_COLUMNS, [_cells(slot, names) for slot in slots], right=_RIGHT)


def _table(slots: list[SlotStatus], names: dict[str, str]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in _COLUMNS:
        right = column in _RIGHT
        table.add_column(
            column,
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right or column == "slot",
        )
    for slot in slots:
        cells = [Text(cell) for cell in _cells(slot, names)]
        cells[2].stylize(_COLOURS.get(slot.state, "bold red"))
        table.add_row(*cells)
    return table


def _watch(app: Application, village: str | None) -> None:
    import sys

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
            live.update(_table(slots, names) if slots else note or "")
            time.sleep(_WATCH_S)


def _as_json(slot: SlotStatus, names: dict[str, str]) -> dict[str, Any]:
    from host_tools.cli._store import iso

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
