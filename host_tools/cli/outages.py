"""List outages with their cause, beginning and end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import (
    Where,
    form_option,
    limit_option,
    provider_option,
    since_option,
    until_option,
    where_options,
)
from host_tools.cli._output import show
from host_tools.cli._store import DAY, scope
from host_tools.common.i18n import _, marked, ngettext
from host_tools.common.times import day, parse_since, span, wita
from host_tools.listings.model import CODE, NESTED, SPAN, TIME, Column, Listing
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
@form_option
@pass_app
def command(
    app: Application,
    where: Where,
    cause: str | None,
    since: str | None,
    until: str | None,
    by: str | None,
    limit: int,
    form: str | None,
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
        printed = _sums(app, found, _group(by, shown, regencies), by, start, until_s, form)
    else:
        printed = _list(app, found, named, shown, now, limit, form)
    if printed:
        click.echo(_total(found, start, until_s))
    if note:
        app.note(note)


def _list(
    app: Application,
    found: list[Outage],
    named: dict[str, str],
    shown: dict[str, str],
    now: float,
    limit: int,
    form: str | None,
) -> bool:
    """Returns whether people see any."""
    columns = [
        Column("slot"),
        Column("village", _("village"), shown=lambda outage: shown.get(outage.village, "")),
        Column("name", of=lambda outage: named.get(outage.village)),
        Column("", _("slot"), CODE, lambda outage: outage.slot, spare=5),
        Column("cause", _("cause"), shown=lambda outage: state_word(outage.cause)),
        Column("begin", _("begin"), TIME, spare=1),
        Column("end", _("end"), TIME, shown=_end, spare=4),
        Column("known_until", kind=TIME),
        Column(
            "duration_s",
            _("duration"),
            of=lambda outage: outage.duration(now),
            shown=lambda outage: span(outage.known_duration(now)),
            right=True,
        ),
        Column("flaps", _("flaps"), right=True, spare=6),
        Column("interrupted"),
        Column(
            "evidence",
            kind=NESTED,
            of=lambda outage: [
                {"rung": rung, "result": result} for rung, result in outage.evidence
            ],
        ),
    ]
    listing = Listing("outages", columns, found if form else found[-limit:])
    printed = bool(found or form) and show(app, listing, form)
    if printed and len(found) > limit:
        text = _(
            "{count} older ones are left out; see them with --limit, --csv, or sum up with --by."
        )
        app.note(text.format(count=len(found) - limit))
    return printed


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
    form: str | None,
) -> bool:
    """Returns whether people see any."""
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
    columns = [
        Column(by, _(by), of=itemgetter(0), shown=itemgetter(1)),
        Column("name", of=itemgetter(1)),
        Column("outages", _("outages"), of=itemgetter(2), right=True),
        Column("slots", _("slots"), of=itemgetter(3), right=True),
        Column("total_s", _("together"), SPAN, itemgetter(4)),
        Column("longest_s", _("longest"), SPAN, itemgetter(5)),
    ]
    return bool(rows or form) and show(app, Listing("outages", columns, rows), form)
