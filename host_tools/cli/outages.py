"""List outages with their cause, beginning and end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import (
    Where,
    csv_option,
    json_option,
    limit_option,
    provider_option,
    since_option,
    until_option,
    where_options,
)
from host_tools.cli._output import print_csv, print_json, print_table
from host_tools.cli._store import DAY, scope
from host_tools.common.i18n import _, marked, ngettext
from host_tools.common.times import day, iso, parse_since, span, wita
from host_tools.states.words import state_word

if TYPE_CHECKING:
    from host_tools.store.queries import Outage

_BY = ("cause", "village", "regency", marked("day"))


@click.command()
@where_options(provider_option)
@click.option("--cause", metavar="CAUSE", help="Only this cause, e.g. provider or gateway.")
@since_option
@until_option
@click.option("--by", type=click.Choice(_BY), help="Sum up by this instead of listing.")
@limit_option
@csv_option
@json_option
@pass_app
def command(
    app: Application,
    where: Where,
    cause: str | None,
    since: str | None,
    until: str | None,
    by: str | None,
    limit: int,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List outages with their cause, beginning and end; without --since, of the last 24 hours.

    An outage is what a device has reported of its link. "~" after the end: the device did not
    report the end, because the power went or the device was stopped; the outage ends with the last
    sample. "?" after the end: the village is silent since, and nobody knows whether the outage
    lasts. Times in which nothing was measured are not outages: 'desalink status' shows them as
    "no data" or "no power". Sums count only the time from --since to --until.
    """
    from host_tools.store.queries import outages

    now = time.time()
    start, end = parse_since(since or DAY), parse_since(until)
    assert start is not None
    with scope(app, where) as its:
        found: list[Outage] = []
        if its.database:
            found = outages(its.database, village=its.village, since=start, until=end, now=now)
        found = [o for o in found if its.covers(o.slot) and cause in (None, o.cause)]
        named, shown = its.names, its.labels
        regencies = its.registry.regencies()
        note = None if found else its.nothing(_("No outage was reported in that time."))
    until_s = min(now, end or now)
    if by:
        _sums(app, found, _group(by, shown, regencies), by, start, until_s, as_csv, as_json)
    elif as_json:
        print_json([_as_json(o, named, now) for o in found])
    elif as_csv:
        rows = [_as_json(o, named, now) for o in found]
        print_csv(_CSV, [[row[key] for key in _CSV] for row in rows])
    elif found:
        _list(app, found, shown, now, limit)
        click.echo(_total(found, start, until_s))
    if note:
        app.note(note)


_CSV = (
    *("slot", "village", "name", "cause", "begin", "end", "known_until", "duration_s", "flaps"),
    "interrupted",
)


def _as_json(o: Outage, named: dict[str, str], now: float) -> dict[str, Any]:

    return {
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


def _list(
    app: Application, found: list[Outage], shown: dict[str, str], now: float, limit: int
) -> None:

    print_table(
        ("village", "slot", "cause", "begin", "end", "duration", "flaps"),
        [
            (
                shown.get(o.village, ""),
                o.slot,
                state_word(o.cause),
                wita(o.begin),
                _end(o),
                span(o.known_duration(now)),
                str(o.flaps),
            )
            for o in found[-limit:]
        ],
        right=("duration", "flaps"),
        whole=("slot",),
    )
    if len(found) > limit:
        text = _(
            "{count} older ones are left out; see them with --limit, --csv, or sum up with --by."
        )
        app.note(text.format(count=len(found) - limit))


def _end(outage: Outage) -> str:

    if outage.known_until is not None:
        return f"{wita(outage.known_until)} ?"
    if outage.end is None:
        return _("lasts")
    return wita(outage.end) + (" ~" if outage.interrupted else "")


# ---- sums --------------------------------------------------------------------------------


def _within(outage: Outage, start: float, end: float) -> int:
    """Seconds of an outage between two times."""
    last = outage.begin + outage.duration(end)
    return max(0, int(min(last, end) - max(outage.begin, start)))


def _total(found: Sequence[Outage], start: float, end: float) -> str:

    slots = len({o.slot for o in found})
    return _("{outages} of {slots}, together {time} from {begin} to {end}.").format(
        outages=ngettext("{count} outage", "{count} outages", len(found)).format(count=len(found)),
        slots=ngettext("{count} slot", "{count} slots", slots).format(count=slots),
        time=span(sum(_within(o, start, end) for o in found)),
        begin=wita(start),
        end=wita(end),
    )


def _group(
    by: str, shown: dict[str, str], regencies: dict[str, str]
) -> Callable[[Outage], tuple[str, str]]:
    """What an outage is summed under: a key, and its name for eyes."""

    return {
        "cause": lambda o: (o.cause, state_word(o.cause)),
        "village": lambda o: (o.village, shown.get(o.village, o.village)),
        "regency": lambda o: (o.slot[:4], regencies.get(o.slot[:4], o.slot[:4])),
        "day": lambda o: (day(o.begin), day(o.begin)),
    }[by]


def _sums(
    app: Application,
    found: list[Outage],
    group: Callable[[Outage], tuple[str, str]],
    by: str,
    start: float,
    end: float,
    as_csv: bool,
    as_json: bool,
) -> None:

    groups: dict[tuple[str, str], list[Outage]] = {}
    for outage in found:
        groups.setdefault(group(outage), []).append(outage)
    rows = [
        (
            *key,
            len(outages),
            len({o.slot for o in outages}),
            sum(_within(o, start, end) for o in outages),
            max(o.duration(end) for o in outages),
        )
        for key, outages in groups.items()
    ]
    # Days stand in their order, the rest by what was lost.
    rows.sort(key=lambda row: (row[0],) if by == "day" else (-row[4], row[0]))
    columns = (by, "name", "outages", "slots", "total_s", "longest_s")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif as_csv:
        print_csv(columns, rows)
    elif rows:
        print_table(
            (by, "outages", "slots", "together", "longest"),
            [
                (name, str(count), str(slots), span(total), span(longest))
                for _, name, count, slots, total, longest in rows
            ],
            right=("outages", "slots", "together", "longest"),
        )
        click.echo(_total(found, start, end))
