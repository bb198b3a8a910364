"""Listings in a page. Whatever is not markup already is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup, escape

from host_tools.listings.model import CODE, TIME, UNIX, Column

_UNKNOWN = "–"


def table(columns: Sequence[Column], rows: Iterable[Any]) -> Markup:
    """Rows as a table of HTML."""
    lines = ["<table>\n<tr>", *(f"<th{_class(c)}>{escape(c.heading)}</th>" for c in columns)]
    for row in rows:
        lines.append("</tr>\n<tr>")
        lines += (f"<td{_class(column)}>{_text(column, row)}" for column in columns)
    return Markup("".join(lines) + "</tr>\n</table>")  # nosec B704 # each is escaped


def _class(column: Column) -> str:
    if column.at_right:
        return ' class="n"'
    return ' class="t"' if column.kind in (CODE, TIME, UNIX) else ""


def _text(column: Column, row: Any) -> Markup:
    text = column.text(row, _UNKNOWN)
    # The heading says the zone for all.
    return escape(text.removesuffix(" WITA") if column.kind in (TIME, UNIX) else text)
