"""Show what went through the hotspots, by the day or by the hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._store import (
    cut_note,
    json_option,
    limit_option,
    shown,
    since_option,
    village_option,
)

if TYPE_CHECKING:
    from host_tools.store.queries import Usage


@click.command()
@village_option
@since_option
@click.option(
    "--by", type=click.Choice(["day", "hour"]), default="day", show_default=True, help="Sum up by."
)
@limit_option
@json_option
@pass_app
def command(
    app: Application,
    village: str | None,
    since: str | None,
    by: str,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show what went through the hotspots, by the day or by the hour.

    Days are those of WITA. "measured" is how much of the time samples cover: what went through in
    the rest is not known, and not counted as nothing. The day or hour in which --since lies is
    shown whole.
    """
    from host_tools.cli._output import print_json, print_table
    from host_tools.cli._store import names, nothing_yet, reading, size, village_code
    from host_tools.common.times import iso, parse_since, span, wita
    from host_tools.store.queries import usage

    start = parse_since(since)
    with reading(app) as (registry, database):
        code = village_code(registry, village)
        most = shown(limit, as_json)
        found: list[Usage] = []
        if database:
            found = usage(database, by=by, village=code, since=start, limit=most)
        named = names(registry)
        note = None if found else nothing_yet(registry, code)
        narrowed = not found and (code or start)
        if narrowed and database is not None and usage(database, village=code, limit=1):
            note = "Nothing was measured there in that time."
    if as_json:
        print_json(
            [
                {
                    "slot": u.slot,
                    "village": u.village,
                    "name": named.get(u.village),
                    "begin": iso(u.begin),
                    "measured_s": u.measured_s,
                    "bytes_down": u.bytes_down,
                    "bytes_up": u.bytes_up,
                    "clients_peak": u.clients_peak,
                    "clients_day": u.clients_day,
                }
                for u in found
            ]
        )
        return
    if note:
        app.note(note)
        return
    print_table(
        (by, "village", "slot", "down", "up", "peak clients", "clients a day", "measured"),
        [
            (
                wita(u.begin) if by == "hour" else wita(u.begin)[:10] + " WITA",
                named.get(u.village, ""),
                u.slot,
                size(u.bytes_down),
                size(u.bytes_up),
                "-" if u.clients_peak is None else str(u.clients_peak),
                "-" if u.clients_day is None else str(u.clients_day),
                span(u.measured_s),
            )
            for u in found
        ],
        right=("down", "up", "peak clients", "clients a day", "measured"),
        whole=("slot",),
    )
    cut_note(app, len(found), most)
