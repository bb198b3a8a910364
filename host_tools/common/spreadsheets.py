"""Rows of a table that somebody's spreadsheet exported: CSV in any usual form, or XLSX."""

from __future__ import annotations

import csv
import datetime
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

_MAX_BYTES = 16 * 1024 * 1024
_MAX_ROWS = 200_000


class SpreadsheetError(DesalinkError):
    """A file that is no table, or that can't be read as one."""


@dataclass
class Sheet:
    """heading: its cells; rows: the line of the file and the cells of each row that holds any.
    Dates are written as 2026-10-31, numbers with a point."""

    heading: list[str] = field(default_factory=list)
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    encoding: str = "UTF-8"


def decode(raw: bytes, name: str) -> tuple[str, str]:
    """The text of a CSV table and the encoding it was in.

    Raises:
        SpreadsheetError: it is not text.
    """
    encoding = "UTF-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "UTF-8-SIG"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        if encoding == "UTF-16":
            raise SpreadsheetError(
                _("{name} is damaged (cut UTF-16 text); export it again.").format(name=name)
            ) from None
        # What spreadsheets on Windows call "CSV"; every byte means something in it, save five.
        encoding = "Windows-1252"
        text = raw.decode("cp1252", errors="replace")
    if "\0" in text:
        raise SpreadsheetError(
            _("{name} is not a text table; save it as 'CSV UTF-8' and import that.").format(
                name=name
            )
        )
    return text, encoding.replace("-SIG", "")


def read_sheet(path: Path) -> Sheet:
    """Read a table: CSV with comma, semicolon or tab, or the first sheet of an XLSX workbook.

    Raises:
        SpreadsheetError: it is none, or larger than 16 MB.
    """
    with path.open("rb") as file:
        raw = file.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES:
        raise SpreadsheetError(
            _("{path} is larger than 16 MB, which no such table is.").format(path=path)
        )
    sheet = Sheet()
    if raw.startswith(b"PK\x03\x04"):
        rows = _workbook(raw, path)
    else:
        text, sheet.encoding = decode(raw, str(path))
        rows = _csv(text, path)
    for line, cells in rows:
        if not any(cells):
            continue
        if not sheet.heading:
            sheet.heading = cells
        else:
            sheet.rows.append((line, cells))
    return sheet


def _csv(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    delimiter = max(";,\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    line = 1
    try:
        for cells in reader:
            yield line, [cell.strip() for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        raise SpreadsheetError(
            _(
                "{path} can't be read as a table near line {line}: {error}; export it again."
            ).format(path=path, line=reader.line_num, error=error)
        ) from None


def _workbook(raw: bytes, path: Path) -> Iterator[tuple[int, list[str]]]:
    import openpyxl

    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            # A small file may unpack to one that fills the memory.
            if sum(member.file_size for member in archive.infolist()) > 20 * _MAX_BYTES:
                raise SpreadsheetError(
                    _("{path} unpacks to more than 320 MB; export it as CSV.").format(path=path)
                )
        book = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
        for line, row in enumerate(book.worksheets[0].iter_rows(values_only=True), 1):
            if line > _MAX_ROWS:
                raise SpreadsheetError(
                    _("{path} has more than {max_rows} rows.").format(
                        path=path, max_rows=_MAX_ROWS
                    )
                )
            yield line, [_cell(value) for value in row]
    except SpreadsheetError:
        raise
    except Exception as error:  # the library raises whatever a damaged file makes it meet
        raise SpreadsheetError(
            _(
                "{path} can't be read as a workbook ({kind}); save it as 'CSV UTF-8' and import "
                "that."
            ).format(path=path, kind=type(error).__name__)
        ) from None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value).strip()
