"""Show the usage of the hotspots, by the day or by the hour."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
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
from host_tools.common.sizes import size
from host_tools.common.times import DAY_S, parse_since, span, wita
from host_tools.listings.model import CODE, NUMBER, SIZE, SPAN, TIME, Column, Listing

if TYPE_CHECKING:
    from host_tools.store.queries import Usage

_BY = (marked("day"), marked("hour"), "village", "regency")


@click.command()
@where_options(provider_option)
@since_option
@until_option
@click.option(
    "--by", type=click.Choice(_BY), default="day", show_default=True, help="Sum up by this."
)
@limit_option
@form_option
@pass_app
def command(
    app: Application,
    where: Where,
    since: str | None,
    until: str | None,
    by: str,
    limit: int,
    form: str | None,
) -> None:
    """Show the usage of the hotspots; without --since, from yesterday on.

    Days are those of WITA. "measured" is how much of the time samples cover: the usage in the rest
    is not known, and does not count as zero. Shown are the days that begin after --since, today
    included; with --by hour the hours, also the one in which --since lies.
    """
    from host_tools.store.queries import usage, usage_sums

    start, end = parse_since(since or DAY), parse_since(until)
    assert start is not None
    if since is not None and by != "hour":
        start += DAY_S - 1  # a span of seven days shows seven days, today's included
    with scope(app, where) as its:
        found: list[Usage] = []
        if its.database and by in ("village", "regency"):
            found = usage_sums(its.database, since=start, until=end, place=its.code)
        elif its.database:
            found = usage(its.database, by=by, village=its.village, since=start)
            found = [u for u in found if end is None or u.begin < end]
        found = [u for u in found if its.covers(u.slot)]
        regencies = its.registry.regencies()
        shown, named = its.labels | regencies, its.names | regencies
        note = None if found else its.nothing(_("Nothing was measured there in that time."))
    rows = _of_regencies(found) if by == "regency" else found
    if by in ("village", "regency"):
        rows = sorted(rows, key=lambda u: (-(u.bytes_down or 0) - (u.bytes_up or 0), u.slot))
    if _list(app, rows, named, shown, by, limit, form):
        click.echo(_total(found))
    if note:
        app.note(note)


def _of_regencies(found: Iterable[Usage]) -> list[Usage]:
    sums: dict[str, Usage] = {}
    for u in found:
        code = u.slot[:4]
        before = sums.get(code)
        if before is None:
            sums[code] = u._replace(slot=code, village=code)
            continue
        sums[code] = before._replace(
            begin=min(before.begin, u.begin),
            measured_s=before.measured_s + u.measured_s,
            bytes_down=_plus(before.bytes_down, u.bytes_down),
            bytes_up=_plus(before.bytes_up, u.bytes_up),
            clients_peak=_most(before.clients_peak, u.clients_peak),
            clients_day=_most(before.clients_day, u.clients_day),
        )
    return list(sums.values())


def _plus(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def _most(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def _list(
    app: Application,
    rows: list[Usage],
    named: dict[str, str],
    shown: dict[str, str],
    by: str,
    limit: int,
    form: str | None,
) -> bool:
    """Returns whether people see any."""

    def begin(usage: Usage) -> str:
        return wita(usage.begin) if by == "hour" else wita(usage.begin)[:10] + " WITA"

    summed = by in ("village", "regency")
    columns = [
        Column("", _("since") if summed else _(by), of=begin),
        Column("slot"),
        Column("village", _("village"), shown=lambda usage: shown.get(usage.village, "")),
        Column("", _("slot"), CODE, attrgetter("slot")),
        Column("name", of=lambda usage: named.get(usage.village)),
        Column("begin", kind=TIME),
        Column("measured_s"),
        Column("bytes_down", _("data down"), SIZE),
        Column("bytes_up", _("data up"), SIZE),
        Column("clients_peak", _("peak clients"), NUMBER),
        Column("clients_day", _("clients a day"), NUMBER),
        Column("", _("measured"), SPAN, attrgetter("measured_s")),
    ]
    listing = Listing("usage", columns, rows if form else rows[:limit])
    printed = bool(rows or form) and show(app, listing, form)
    if printed and len(rows) > limit:
        text = _("{count} more are left out; see them with --limit or --csv.")
        app.note(text.format(count=len(rows) - limit))
    return printed


def _total(found: list[Usage]) -> str:

    down = sum(u.bytes_down or 0 for u in found)
    up = sum(u.bytes_up or 0 for u in found)
    slots = len({u.slot for u in found})
    return ngettext(
        "Together {down} down and {up} up at {count} slot, measured for {time}.",
        "Together {down} down and {up} up at {count} slots, measured for {time}.",
        slots,
    ).format(
        down=size(down), up=size(up), count=slots, time=span(sum(u.measured_s for u in found))
    )
