"""Tables and JSON on standard output, alike in every verb."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from host_tools.common.i18n import _, ngettext
from host_tools.listings.files import FORMATS, csv_text, json_text
from host_tools.listings.model import TIME, Column, Listing
from host_tools.listings.terminal import print_table

if TYPE_CHECKING:
    from host_tools.cli import Application


def counted(number: int, one: str) -> str:
    """`1 slot`, `2 slots`: a number with an English noun whose plural has an s.

    The catalogue's extractor knows this function: the noun stands in the call.
    """
    return ngettext(f"{{count}} {one}", f"{{count}} {one}s", number).format(count=number)


def withdrawn_columns() -> list[Column]:
    """Of contracts and events in a list: empty while they hold."""

    def state(entry: Any) -> str:
        if entry.withdrawn_at is None:
            return ""
        return _("withdrawn: {why}").format(why=entry.withdrawn_why)

    return [
        Column("withdrawn_at", _("state"), TIME, shown=state),
        Column("withdrawn_by"),
        Column("withdrawn_why"),
    ]


def show_progress(text: str) -> None:
    """How far a command is, in one line of a terminal; an empty text clears it."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", err=True, nl=False)


def print_json(value: Any) -> None:
    click.echo(json_text(value), nl=False)


def show(app: Application, listing: Listing, form: str | None, nothing: str = "") -> bool:
    """Print a listing.

    Args:
        form: of a file, None: a table for eyes.
        nothing: what to say where the table would be empty; an empty text: show the empty table.

    Returns:
        Whether people see a table with rows, so that more can be told of it.
    """
    if form == "csv":
        click.echo(csv_text(listing, line_end="\n"), nl=False)
    elif form is not None:
        click.echo(FORMATS[form].write(listing), nl=False)
    elif listing.rows or not nothing:
        print_table(listing)
    else:
        app.note(nothing)
    return form is None and bool(listing.rows)
