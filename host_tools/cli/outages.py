"""List outages with their cause, beginning and end."""

from __future__ import annotations

import time
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
    from host_tools.store.queries import Outage


@click.command()
@village_option
@since_option
@limit_option
@json_option
@pass_app
def command(
    app: Application, village: str | None, since: str | None, limit: int | None, as_json: bool
) -> None:
    """List outages with their cause, beginning and end.

    An outage is what a device has told of its link. Where its end was never told, because the
    power went or the device was stopped, it ends with the last sample, and the end is marked "~".
    Where the village has been silent since, nobody knows whether it lasts: it is shown as far as
    it is known, and the end is marked "?".
    Times in which nothing was measured are not outages: 'desalink status' and reports show them
    as "no data" or "no power".
    """
    from host_tools.cli._output import print_json, print_table
    from host_tools.cli._store import names, nothing_yet, reading, state_word, village_code
    from host_tools.common.times import iso, parse_since, span, wita
    from host_tools.store.queries import outages, slots

    start = parse_since(since)
    with reading(app) as (registry, database):
        code = village_code(registry, village)
        now = time.time()
        most = shown(limit, as_json)
        found: list[Outage] = []
        if database:
            found = outages(database, village=code, since=start, now=now, limit=most)
        named = names(registry)
        note = None
        if not found:
            seen = slots(database) if database else []
            reported = any(slot.startswith(code or "") for slot in seen)
            note = "No outage was reported." if reported else nothing_yet(registry, code)
    if as_json:
        print_json(
            [
                {
                    "slot": o.slot,
                    "village": o.village,
                    "name": named.get(o.village),
                    "cause": o.cause,
                    "begin": iso(o.begin),
                    "end": iso(o.end),
                    "known_until": iso(o.known_until),
                    "duration_s": o.duration(now),
                    "flaps": o.flaps,
                    "interrupted": o.interrupted,
                    "evidence": [{"rung": rung, "result": result} for rung, result in o.evidence],
                }
                for o in found
            ]
        )
        return
    if note:
        app.note(note)
        return
    print_table(
        ("village", "slot", "cause", "begin", "end", "duration", "flaps"),
        [
            (
                named.get(o.village, ""),
                o.slot,
                state_word(o.cause),
                wita(o.begin),
                _end(o),
                span(o.duration(now)),
                str(o.flaps),
            )
            for o in found
        ],
        right=("duration", "flaps"),
        whole=("slot",),
    )
    cut_note(app, len(found), most)


def _end(outage: Outage) -> str:
    from host_tools.common.times import wita

    if outage.known_until is not None:
        return f"{wita(outage.known_until)} ?"
    if outage.end is None:
        return "lasts"
    return wita(outage.end) + (" ~" if outage.interrupted else "")
