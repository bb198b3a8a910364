"""Tables and JSON on standard output, alike in every verb."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from host_tools.common.errors import printable
from host_tools.common.i18n import _, ngettext


def counted(number: int, one: str) -> str:
    """`1 slot`, `2 slots`: a number with an English noun whose plural has an s.

    The catalogue's extractor knows this function: the noun stands in the call.
    """
    return ngettext(f"{{count}} {one}", f"{{count}} {one}s", number).format(count=number)


def withdrawn_cell(at: int | None, why: str | None) -> str:
    """Of a contract or an event in a list: empty while it holds."""
    return "" if at is None else _("withdrawn: {why}").format(why=why)


def show_progress(text: str) -> None:
    """How far a command is, in one line of a terminal; an empty text clears it."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", err=True, nl=False)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for a spreadsheet; what is not known is empty."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def print_pages(text: str) -> None:
    """Print a text; on a terminal, one that is longer than the screen goes through a pager."""

    if not sys.stdout.isatty() or text.count("\n") < shutil.get_terminal_size().lines:
        click.echo(text, nl=False)
        return
    os.environ.setdefault("LESS", "-R")  # colours
    click.echo_via_pager(text)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """A table for eyes on a terminal; tab-separated lines for whatever else reads it.

    Args:
        columns: in English. The catalogue's extractor knows this function.
        right: the columns whose cells are numbers.
        whole: the columns never to be broken into lines, however narrow the terminal.
    """
    headings = [column and _(column) for column in columns]
    if not sys.stdout.isatty():
        for row in (headings, *rows):
            cells = (printable(cell).replace("\t", " ").replace("\n", " ") for cell in row)
            click.echo("\t".join(cells))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column, heading in zip(columns, headings, strict=True):
        table.add_column(
            heading,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column in whole or column in right,
        )
    for row in rows:
        # Text, not markup: a village's or device's name may hold square brackets.
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    with console.capture() as shown:
        console.print(table)
    print_pages(shown.get())
