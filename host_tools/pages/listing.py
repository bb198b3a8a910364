"""A listing that is shown as a page with filters, as CSV, as a workbook, or by the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.times import parse_since
from host_tools.listings import html
from host_tools.listings.files import FORMATS as ALL_FORMATS
from host_tools.listings.model import Column, Listing
from host_tools.pages.visits import PageVisit, with_query
from host_tools.states.words import group, state_word

# Kinds of values that only pages have: a village's code, a state, the number of a case, and a
# path with its text.
VILLAGE, STATE, CASE, LINK = "village", "state", "case", "link"

FORMATS = {name: ALL_FORMATS[name] for name in ("csv", "xlsx")}
SHOWN = 200
EXPORTED = 50_000
_DEFAULT_SINCE = "7d"


@dataclass(frozen=True)
class FilterChoice:
    """A filter in the address: its name, its label, its values with their labels, the chosen one.

    values: empty: a text that people type.
    """

    name: str
    label: str
    values: Sequence[tuple[str, str]]
    chosen: str


@dataclass
class ListPage:
    """A list. name: of files; rows: of which a page shows some; more: where older rows are; note:
    what people should know; downloads: paths and their texts; cut: older rows are left out."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Any]
    choices: Sequence[FilterChoice] = ()
    more: str = ""
    note: str = ""
    downloads: Sequence[tuple[str, str]] = ()
    cut: bool = False

    def table(self, visit: PageVisit) -> Listing:
        """The same without what only a page has."""
        columns = [shown for column in self.columns for shown in _columns(column, visit)]
        return Listing(self.name, columns, self.rows)


_LINKED = Markup('<a href="{}">{}</a>')


def _columns(column: Column, visit: PageVisit) -> Iterator[Column]:
    """A column of the pages' own kinds as columns that every renderer knows."""
    overview = visit.snapshot.overview

    def village(row: Any) -> str:
        code = column.value(row)
        label = overview.labels.get(code)
        return code if label is None else _LINKED.format(f"/village/{code}", label)

    def state(row: Any) -> str:
        name = column.value(row)
        return Markup('<span class="state {}">{}</span>').format(group(name), state_word(name))

    def case(row: Any) -> str:
        number = column.value(row)
        return "–" if number is None else _LINKED.format(f"/cases/{number}", number)

    def link(row: Any) -> str:
        target = column.value(row)
        return "–" if target is None else _LINKED.format(*target)

    def linked_text(row: Any) -> str | None:
        target = column.value(row)
        return str(target[1]) if target else target

    if column.kind == VILLAGE:
        yield replace(column, shown=village)
        yield Column("name", of=lambda row: overview.names.get(str(column.value(row)), ""))
    elif column.kind == LINK:
        yield replace(column, of=linked_text, shown=link)
    else:
        shown = {STATE: state, CASE: case}.get(column.kind)
        yield column if shown is None else replace(column, shown=shown)


def regency_choice(visit: PageVisit) -> FilterChoice:
    """The filter of a regency."""
    names = [("", _("all")), *visit.snapshot.regencies()]
    return FilterChoice("regency", _("Regency"), names, visit.query("regency"))


def provider_choice(visit: PageVisit) -> FilterChoice:
    """The filter of a provider."""
    names = sorted({name for its in visit.snapshot.providers.values() for name in its})
    values = [("", _("all")), *((name, name) for name in names)]
    return FilterChoice("provider", _("Provider"), values, visit.query("provider"))


def of_place(visit: PageVisit) -> Callable[[str], bool]:
    """Whether a slot lies in the regency and has the provider that the address asks for."""
    regency, provider = visit.query("regency"), visit.query("provider")
    known = visit.snapshot.providers
    return lambda slot: (
        slot.startswith(regency) and (not provider or provider in known.get(slot[:10], ()))
    )


def before_of(visit: PageVisit) -> int | None:
    """Where older rows begin, None: with the newest.

    Raises:
        DesalinkError: the address says something else.
    """
    text = visit.query("before")
    if text and not (text.isdecimal() and len(text) < 12):
        raise DesalinkError(_("This address can't be understood."))
    return int(text) if text else None


def since_choice(visit: PageVisit) -> tuple[float, FilterChoice]:
    """Since when things are asked for, and the filter of it."""
    text = visit.query("since", _DEFAULT_SINCE)
    start = parse_since(text or _DEFAULT_SINCE, visit.now)
    assert start is not None
    return start, FilterChoice("since", _("Since (24h, 7d, 2026-11-24)"), (), text)


def limit_of(visit: PageVisit) -> int:
    """How many rows to ask for: a page, or all that is exported."""
    return EXPORTED if visit.query("format") in FORMATS else SHOWN


def _page(visit: PageVisit, listing: ListPage) -> Response:
    """A part of the rows as a page, and where the rest is."""
    asked = visit.query("page")
    page = int(asked) if asked.isdecimal() and len(asked) < 6 else 0
    rows = listing.rows[page * SHOWN : (page + 1) * SHOWN]
    more = listing.more
    if len(listing.rows) > (page + 1) * SHOWN:
        rest = {name: value for name, value in visit.request.query_params.items()}
        more = with_query(visit.request.url.path, **{**rest, "page": str(page + 1)})
    table = listing.table(visit)
    return visit.page(
        "list.html", listing=listing, more=more, table=html.table(table.for_eyes(), rows)
    )


def show(visit: PageVisit, listing: ListPage) -> Response:
    """The answer in the form that the address asks for."""
    form = visit.query("format")
    if form not in FORMATS:
        return _page(visit, listing)
    content = FORMATS[form].write(listing.table(visit))
    named = f'attachment; filename="{listing.name}.{form}"'
    return Response(
        content,
        headers={"content-disposition": named},
        media_type=FORMATS[form].media_type,
    )


def page_of(make: Callable[[PageVisit], ListPage]) -> Callable[[PageVisit], Response]:
    """The view of a list."""
    return lambda visit: show(visit, make(visit))
