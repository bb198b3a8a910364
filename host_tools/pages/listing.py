"""A list of rows that is shown as a page, as CSV, as a workbook, or as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape
from starlette.responses import Response

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _, number
from host_tools.common.sizes import size
from host_tools.common.times import iso, parse_since, span, wita
from host_tools.pages.visits import PageVisit, with_query
from host_tools.report.tables import Cell, safe
from host_tools.states.words import group, state_word

# Kinds of cells: plain text, a text on one line, a village's code, a state, a Unix time, seconds,
# bytes, a number, a share of 1, the number of a case, and a path with its text.
TEXT, CODE, VILLAGE, STATE, TIME, SPAN, SIZE, NUMBER, SHARE, CASE, LINK = (
    *("text", "code", "village", "state", "time", "span", "size", "number", "share", "case"),
    "link",
)

FORMATS = ("csv", "xlsx")
SHOWN = 200
EXPORTED = 50_000
_DEFAULT_SINCE = "7d"


@dataclass(frozen=True)
class Column:
    """A column: its name in files, its heading, its kind, and how a row has its value: as the
    attribute of that name, or as `of` finds it."""

    key: str
    heading: str
    kind: str = TEXT
    of: Callable[[Any], Any] | None = None

    def value(self, row: Any) -> Any:
        """What a row has in this column; None: it is not known."""
        return getattr(row, self.key) if self.of is None else self.of(row)


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
class Listing:
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

    def plain(self, visit: PageVisit) -> tuple[list[str], list[list[Cell]]]:
        """Headings and cells for programs: keys, codes, ISO times, whole numbers."""
        heads, cells = [], []
        for column in self.columns:
            heads.append(column.key)
            if column.kind == VILLAGE:
                heads.append("name")
        names = visit.snapshot.overview.names
        for row in self.rows:
            line: list[Cell] = []
            for column in self.columns:
                value = column.value(row)
                line.append(iso(value) if column.kind == TIME else _text_of(value, column.kind))
                if column.kind == VILLAGE:
                    line.append(names.get(str(value), ""))
            cells.append(line)
        return heads, cells

    def as_json(self, visit: PageVisit) -> list[dict[str, Cell]]:
        """The rows as objects."""
        heads, cells = self.plain(visit)
        return [dict(zip(heads, line, strict=True)) for line in cells]


def _text_of(value: Any, kind: str) -> Cell:
    return str(value[1]) if kind == LINK and value else value


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


def _page(visit: PageVisit, listing: Listing) -> Response:
    """A part of the rows as a page, and where the rest is."""
    asked = visit.query("page")
    page = int(asked) if asked.isdecimal() and len(asked) < 6 else 0
    rows = listing.rows[page * SHOWN : (page + 1) * SHOWN]
    more = listing.more
    if len(listing.rows) > (page + 1) * SHOWN:
        rest = {name: value for name, value in visit.request.query_params.items()}
        more = with_query(visit.request.url.path, **{**rest, "page": str(page + 1)})
    labels = visit.snapshot.overview.labels
    return visit.page(
        "list.html",
        listing=listing,
        more=more,
        rows=[_cells(row, listing.columns, labels) for row in rows],
    )


def _cells(row: Any, columns: Sequence[Column], labels: dict[str, str]) -> Markup:
    cells = "".join(_cell(c.value(row), c.kind, labels) for c in columns)
    return Markup(cells)  # nosec B704 # each is escaped


_NUMBERS = (NUMBER, SIZE, SHARE, SPAN)


def _cell(value: Any, kind: str, labels: dict[str, str]) -> str:
    """A cell for eyes."""
    if value is None:
        return "<td>–"
    if kind == TEXT:
        return f"<td>{escape(value)}"
    if kind == CODE:
        return f'<td class="t">{escape(value)}'
    if kind in _NUMBERS:
        return f'<td class="n">{_number(value, kind)}'
    if kind == TIME:
        return f'<td class="t">{wita(value).removesuffix(" WITA")}'
    if kind == STATE:
        return f'<td><span class="state {group(value)}">{escape(state_word(value))}</span>'
    if kind == VILLAGE:
        if value not in labels:
            return f"<td>{escape(value)}"
        return f'<td><a href="/village/{value}">{escape(labels[value])}</a>'
    path, text = value if kind == LINK else (f"/cases/{value}", value)
    return f'<td><a href="{escape(path)}">{escape(text)}</a>'


def _number(value: Any, kind: str) -> str:
    if kind == SIZE:
        return size(value)
    if kind == SPAN:
        return span(value)
    if kind == SHARE:
        return f"{number(value * 100, 2)} %"
    return number(value, 1 if isinstance(value, float) else 0)


def show(visit: PageVisit, listing: Listing) -> Response:
    """The answer in the form that the address asks for."""
    form = visit.query("format")
    if form not in FORMATS:
        return _page(visit, listing)
    heads, cells = listing.plain(visit)
    lines = [[safe(cell) for cell in line] for line in cells]
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(heads)
        writer.writerows(lines)
        # With a byte order mark: without it spreadsheets on Windows take it for another encoding.
        content, kind = text.getvalue().encode("utf-8-sig"), "text/csv; charset=utf-8"
    else:
        import openpyxl

        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet(listing.name)
        sheet.freeze_panes = "A2"
        for line in (heads, *lines):
            sheet.append(line)
        buffer = io.BytesIO()
        book.save(buffer)
        content = buffer.getvalue()
        kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    named = f'attachment; filename="{listing.name}.{form}"'
    return Response(content, headers={"content-disposition": named}, media_type=kind)


def page_of(make: Callable[[PageVisit], Listing]) -> Callable[[PageVisit], Response]:
    """The view of a list."""
    return lambda visit: show(visit, make(visit))
