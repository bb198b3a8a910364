"""What was measured in a village, as tables."""

from __future__ import annotations

from operator import itemgetter
from typing import NamedTuple

from host_tools.common.i18n import _
from host_tools.common.times import DAY_S
from host_tools.derive.samples import thinned
from host_tools.listings.model import CODE, NUMBER, SIZE, SPAN, TIME, Column
from host_tools.pages.listing import FilterChoice, ListPage, limit_of, page_of
from host_tools.pages.serving import PageRoute
from host_tools.pages.views.village import MEASURED, RANGES, range_of
from host_tools.pages.visits import PageVisit, with_query
from host_tools.store import queries

_MOST_READ = 2_000  # reports of a file


def _choice(visit: PageVisit) -> FilterChoice:
    words = {name: _("year") if name == "year" else name for name in RANGES}
    return FilterChoice("range", _("Time"), [*words.items()], range_of(visit))


def _back(visit: PageVisit, name: str) -> list[tuple[str, str]]:
    path = with_query(f"/village/{visit.path('code')}", range=range_of(visit))
    return [(path, name)]


def village_usage(visit: PageVisit) -> ListPage:
    """Usage by the hour, or by the day over a longer time; the newest first."""
    its, name = visit.village(), range_of(visit)
    found: list[queries.Usage] = []
    if visit.database is not None:
        found = queries.usage(
            visit.database,
            by="hour" if RANGES[name] <= 7 * DAY_S else "day",
            village=its.code,
            since=visit.now - RANGES[name],
        )
    return ListPage(
        f"usage-{its.code}-{name}",
        _("Usage of {village}").format(village=its.name),
        [
            Column("slot", _("Slot"), CODE),
            Column("begin", _("Begin (WITA)"), TIME),
            Column("bytes_down", _("Down"), SIZE),
            Column("bytes_up", _("Up"), SIZE),
            Column("clients_peak", _("Most users at a time"), NUMBER),
            Column("clients_day", _("Most users in a day"), NUMBER),
            Column("measured_s", _("Measured"), SPAN),
        ],
        found[::-1],
        [_choice(visit)],
        downloads=_back(visit, its.name),
    )


class LinkRow(NamedTuple):
    """Means of one report of a slot; None: not measured."""

    slot: str
    at: int
    values: dict[str, float | None]


def village_link(visit: PageVisit) -> ListPage:
    """Round-trip time, loss and more of reports, the newest first."""
    its, name = visit.village(), range_of(visit)
    rows: list[LinkRow] = []
    every = 1
    if visit.database is not None:
        begin, end = visit.now - RANGES[name], visit.now
        most = min(limit_of(visit), _MOST_READ)
        for slot in visit.snapshot.slots_of(its.code):
            one, figures = thinned(visit.database, slot.slot, begin, end, MEASURED, most)
            every = max(every, one)
            rows += [LinkRow(slot.slot, t, values) for t, values in figures]
    headings = {
        "rtt_mean": _("Round-trip time (ms)"),
        "loss": _("Loss (%)"),
        "voltage": _("Supply (V)"),
        "temperature": _("Temperature (°C)"),
        "signal": _("Signal (dBm)"),
    }

    def column(key: str) -> Column:
        return Column(key, headings[key], NUMBER, lambda row: row.values[key])

    return ListPage(
        f"link-{its.code}-{name}",
        _("The link of {village}").format(village=its.name),
        [
            Column("slot", _("Slot"), CODE),
            Column("at", _("Begin (WITA)"), TIME),
            *map(column, headings),
        ],
        sorted(rows, key=itemgetter(1), reverse=True),
        [_choice(visit)],
        note=_(
            "Means of one report in {count}, of those in the database; older ones are in the "
            "archive."
        ).format(count=every),
        downloads=_back(visit, its.name),
    )


ROUTES = [
    PageRoute("/village/{code}/usage", page_of(village_usage)),
    PageRoute("/village/{code}/link", page_of(village_link)),
]
