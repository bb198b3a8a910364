"""What a listing is: columns with their kinds, and rows.

A column has a key for programs (JSON, CSV, workbooks) and a heading for eyes (terminal, HTML); one
that lacks either stands only where it has a name. The renderers know nothing of what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from host_tools.common.i18n import number
from host_tools.common.sizes import size
from host_tools.common.times import iso, span, wita

# Kinds of values: a text, a text on one line, a Unix time (for programs ISO 8601, or the number
# itself), seconds, bytes, a number, a share of 1, and what only JSON can hold.
TEXT, CODE, TIME, UNIX, SPAN, SIZE, NUMBER, SHARE, NESTED = (
    *("text", "code", "time", "unix", "span", "size", "number", "share", "nested"),
)
RIGHT = (SPAN, SIZE, NUMBER, SHARE)
_MANY = (dict, list, tuple)

Cell = str | int | float | None


@dataclass(frozen=True)
class Column:
    """A column of a listing.

    Attributes:
        key: its name for programs, empty: only eyes see it.
        heading: its name for eyes, in their language, empty: only programs see it.
        of: gives a row's value; without it the row's attribute of the key's name.
        shown: gives a row's text for eyes, where the kind's own does not do; it may be markup.
        right: the cells stand at the right, as numbers do.
        spare: where a terminal is narrow, columns are left out, the highest first; 0: never.
    """

    key: str
    heading: str = ""
    kind: str = TEXT
    of: Callable[[Any], Any] | None = None
    shown: Callable[[Any], str] | None = None
    right: bool = False
    spare: int = 0

    def value(self, row: Any) -> Any:
        """What a row has in this column; None: it is not known."""
        return getattr(row, self.key) if self.of is None else self.of(row)

    def text(self, row: Any, unknown: str) -> str:
        """The same for eyes."""
        if self.shown is not None:
            return self.shown(row)
        value = self.value(row)
        if value is None:
            return unknown
        write = _WRITTEN.get(self.kind)
        return str(value) if write is None else write(value)

    @property
    def at_right(self) -> bool:
        """Whether the cells stand at the right."""
        return self.right or self.kind in RIGHT


def _share(value: float) -> str:
    return f"{number(value * 100, 2)} %"


def _number(value: float) -> str:
    return number(value, 1 if isinstance(value, float) else 0)


_WRITTEN: dict[str, Callable[[Any], str]] = {
    TIME: wita,
    UNIX: wita,
    SPAN: span,
    SIZE: size,
    NUMBER: _number,
    SHARE: _share,
}


def keyed_columns(records: Sequence[dict[str, Any]]) -> list[Column]:
    """Columns for programs alone, of rows that are objects with the same keys."""
    nested = {
        key for record in records for key, value in record.items() if isinstance(value, _MANY)
    }
    return [
        Column(key, kind=NESTED if key in nested else TEXT, of=itemgetter(key))
        for key in (records[0] if records else ())
    ]


def positional_columns(keys: Iterable[str]) -> list[Column]:
    """Columns for programs alone, of rows that are sequences."""
    return [Column(key, of=itemgetter(number)) for number, key in enumerate(keys)]


@dataclass
class Listing:
    """A table. name: of files and sheets; rows: whatever the columns can read."""

    name: str
    columns: Sequence[Column]
    rows: Iterable[Any]

    def for_eyes(self) -> list[Column]:
        """The columns that people see."""
        return [column for column in self.columns if column.heading]

    def for_programs(self, *, nested: bool) -> list[Column]:
        """The columns that programs read; nested: also those that fit no cell."""
        return [c for c in self.columns if c.key and (nested or c.kind != NESTED)]

    def cells(self) -> Iterator[list[Cell]]:
        """The rows for spreadsheets, in the order of `for_programs`."""
        columns = self.for_programs(nested=False)
        for row in self.rows:
            yield [_plain(column, row) for column in columns]

    def records(self) -> list[dict[str, Any]]:
        """The rows as objects, for JSON."""
        columns = self.for_programs(nested=True)
        return [{column.key: _plain(column, row) for column in columns} for row in self.rows]


def _plain(column: Column, row: Any) -> Any:
    value = column.value(row)
    return iso(value) if column.kind == TIME else value
