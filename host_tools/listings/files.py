"""Listings as files: CSV, workbook and JSON. Names in them come from outside."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from host_tools.common.errors import CONTROL
from host_tools.listings.model import Cell, Listing

# What a workbook can't hold, beside orders to terminals: XML 1.0 has no place for it.
_NOT_IN_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")
# What the first character of a formula may be.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe(cell: Cell) -> Cell:
    """A text that a spreadsheet can hold, and does not take for a formula; numbers as they are."""
    if not isinstance(cell, str):
        return cell
    quoted = f"'{cell}" if cell.startswith(_FORMULA) else cell
    return _NOT_IN_XML.sub("\ufffd", CONTROL.sub("\ufffd", quoted))


def csv_text(listing: Listing, line_end: str = "\r\n") -> str:
    """A listing as CSV; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(column.key for column in listing.for_programs(nested=False))
    writer.writerows([safe(cell) for cell in cells] for cells in listing.cells())
    return text.getvalue()


def write_workbook(listings: Iterable[Listing], target: Path | BinaryIO) -> None:
    """Write listings as the sheets of a workbook (XLSX)."""
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    for listing in listings:
        sheet = book.create_sheet(listing.name)
        sheet.freeze_panes = "B2"
        sheet.append([column.key for column in listing.for_programs(nested=False)])
        for cells in listing.cells():
            sheet.append([safe(cell) for cell in cells])
    book.save(target)


def json_text(value: Any) -> str:
    """A value as JSON for programs and eyes: what a terminal would obey is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


@dataclass(frozen=True)
class Format:
    """A kind of file that holds a listing."""

    media_type: str
    write: Callable[[Listing], bytes]


FORMATS: dict[str, Format] = {}

_Write = Callable[[Listing], bytes]


def _format(name: str, media_type: str) -> Callable[[_Write], _Write]:
    """Make a function a format, under the ending of its files."""

    def register(write: _Write) -> _Write:
        FORMATS[name] = Format(media_type, write)
        return write

    return register


@_format("csv", "text/csv; charset=utf-8")
def as_csv(listing: Listing) -> bytes:
    """With a byte order mark: without it spreadsheets on Windows take it for another encoding."""
    return csv_text(listing).encode("utf-8-sig")


@_format("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
def as_workbook(listing: Listing) -> bytes:
    """One sheet."""
    file = io.BytesIO()
    write_workbook([listing], file)
    return file.getvalue()


@_format("json", "application/json")
def as_json(listing: Listing) -> bytes:
    """A list of objects."""
    return json_text(listing.records()).encode()
