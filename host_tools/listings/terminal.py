"""Listings on a terminal; tab-separated lines for whatever else reads them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

import click

from host_tools.common.errors import printable
from host_tools.listings.model import CODE, RIGHT, Column, Listing

_BETWEEN = 2  # spaces


def print_pages(text: str) -> None:
    """Print a text; on a terminal, one that is longer than the screen goes through a pager."""
    if not sys.stdout.isatty() or text.count("\n") < shutil.get_terminal_size().lines:
        click.echo(text, nl=False)
        return
    os.environ.setdefault("LESS", "-R")  # colours
    click.echo_via_pager(text)


def print_table(listing: Listing) -> None:
    """Print a listing.

    Where a screen is narrow, columns that can be spared are left out; then texts are broken into
    lines, but never codes and numbers.
    """
    columns = listing.for_eyes()
    rows = [
        [printable(c.text(row, "-" if c.kind in RIGHT else "")) for c in columns]
        for row in listing.rows
    ]
    if not sys.stdout.isatty():
        for line in ([column.heading for column in columns], *rows):
            click.echo("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in line))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    kept = _fitting(columns, rows, console.width)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in (columns[number] for number in kept):
        table.add_column(
            column.heading,
            justify="right" if column.at_right else "left",
            overflow="fold",
            no_wrap=column.kind == CODE or column.at_right,
        )
    for line in rows:
        # Text, not markup: a village's or device's name may hold square brackets.
        table.add_row(*(Text(line[number]) for number in kept))
    with console.capture() as shown:
        console.print(table)
    print_pages(shown.get())


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The numbers of the columns that are shown, as many as fit."""
    widths = [
        max(len(column.heading), *(len(line[number]) for line in rows), 0) + _BETWEEN
        for number, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    while sum(widths[number] for number in kept) > width:
        spared = max(kept, key=lambda number: columns[number].spare)
        if columns[spared].spare == 0:
            break
        kept.remove(spared)
    return kept
