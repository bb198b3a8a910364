"""Tables of positions and site names for villages, as people's spreadsheets export them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from host_tools.common.errors import VillageImportError
from host_tools.common.i18n import _
from host_tools.common.spreadsheets import read_sheet
from host_tools.province.registry import Village
from host_tools.province.villages import near_matches, plain_code

_MAX_SITE = 120

# English and Indonesian headings; the first that a table has is taken.
_CODE = ("code", "kode", "village_code", "kode_desa", "kode_kemendagri")
_LAT = ("lat", "latitude", "lintang")
_LON = ("lon", "lng", "long", "longitude", "bujur")
_SITE = ("site", "site_name", "lokasi", "titik")
_PROVIDER = ("provider", "penyedia", "isp", "operator")
_NAME = ("name", "nama", "village", "desa")

# All of Indonesia with a margin (degrees): catches swapped columns and lost signs or points.
_LAT_RANGE = (-11.5, 6.5)
_LON_RANGE = (94.5, 141.5)


@dataclass(frozen=True)
class Place:
    """What one good row says of a village: position in degrees (lat, lon), site name, provider."""

    code: str
    position: tuple[float, float] | None
    site: str | None
    provider: str | None = None


@dataclass
class Table:
    """A table that was read: the good rows, and a sentence for each that is not."""

    places: list[Place] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    encoding: str = "UTF-8"


def _number(text: str) -> float | None:
    """A decimal number with point or comma; None for another text."""
    text = text.strip().replace("\u2212", "-")
    if "," in text and "." not in text:
        text = text.replace(",", ".")
    if not re.fullmatch(r"[+-]?[0-9]{1,3}(\.[0-9]*)?", text):
        return None
    return float(text)


def _column(heading: Sequence[str], names: Sequence[str]) -> int | None:
    for name in names:
        if name in heading:
            return heading.index(name)
    return None


class _Columns:
    """Which column of the table says what."""

    def __init__(self, heading: Sequence[str], name: str) -> None:
        plain = [re.sub(r"[ \-]+", "_", cell.strip().casefold()) for cell in heading]
        self.code = _column(plain, _CODE)
        self.lat = _column(plain, _LAT)
        self.lon = _column(plain, _LON)
        self.site = _column(plain, _SITE)
        self.name = _column(plain, _NAME)
        self.provider = _column(plain, _PROVIDER)
        shown = ", ".join(cell.strip() for cell in heading)[:200] or _("nothing")
        if self.code is None:
            raise VillageImportError(
                _(
                    "{name} has no column 'code' in its first line (it has: {shown}); name the "
                    "columns code, lat, lon and, if you like, site and provider."
                ).format(name=name, shown=shown)
            )
        if (self.lat is None) != (self.lon is None):
            missing = "lon" if self.lon is None else "lat"
            raise VillageImportError(
                _("{name} has no column '{missing}' (it has: {shown}); add it.").format(
                    name=name, missing=missing, shown=shown
                )
            )
        others = (self.site, self.name, self.provider)
        if self.lat is None and all(column is None for column in others):
            raise VillageImportError(
                _(
                    "{name} has neither lat and lon nor site or provider (it has: {shown}); add "
                    "what is to be imported."
                ).format(name=name, shown=shown)
            )


def _code_problem(text: str, villages: dict[str, Village]) -> str:
    if not text:
        return _("the code is empty")
    if re.fullmatch(r"[0-9]+([.,][0-9]+)?[eE]\+?[0-9]+|[0-9]{10}[.,]0+", text):
        return _(
            "{text}: a spreadsheet turned the code into a number; format the column as text"
        ).format(text=text)
    if plain_code(text) is None:
        return _("{text}: not a village code of 10 digits").format(text=text)
    near = near_matches(text, villages.values(), 1)
    hint = (
        _("; the nearest is {dotted} {name}").format(dotted=near[0].dotted, name=near[0].name)
        if near
        else ""
    )
    return _("{text}: this province has no such village{hint}").format(text=text, hint=hint)


def _position(lat_text: str, lon_text: str) -> tuple[float, float] | str | None:
    if not lat_text and not lon_text:
        return None
    if not lat_text or not lon_text:
        return _("lat and lon must both be given or both be empty")
    lat, lon = _number(lat_text), _number(lon_text)
    if lat is None or lon is None:
        wrong, what = (lat_text, "lat") if lat is None else (lon_text, "lon")
        return _("{what} '{wrong}' is not a number of degrees such as -1.90000").format(
            what=what, wrong=wrong[:40]
        )
    if _LAT_RANGE[0] <= lat <= _LAT_RANGE[1] and _LON_RANGE[0] <= lon <= _LON_RANGE[1]:
        return lat, lon
    if _LAT_RANGE[0] <= lon <= _LAT_RANGE[1] and _LON_RANGE[0] <= lat <= _LON_RANGE[1]:
        return _("lat {lat_text} and lon {lon_text} are swapped").format(
            lat_text=lat_text, lon_text=lon_text
        )
    return _("lat {lat_text}, lon {lon_text} is not in Indonesia").format(
        lat_text=lat_text, lon_text=lon_text
    )


def _site(
    row: Sequence[str], columns: _Columns, village: Village
) -> tuple[str | None, str | None]:
    column = columns.site if columns.site is not None else columns.name
    text = " ".join(row[column].split()) if column is not None and column < len(row) else ""
    # A table that repeats the village's own name does not name a site.
    if not text or (column == columns.name and text.casefold() == village.name.casefold()):
        return None, None
    return text, _text_problem(text, _("the site name"))


def _text_problem(text: str, what: str) -> str | None:
    if len(text) > _MAX_SITE:
        return _("{what} has {count} characters, at most {max_site} are kept").format(
            what=what, count=len(text), max_site=_MAX_SITE
        )
    if not text.isprintable():
        return _("{what} holds characters that can't be shown").format(what=what)
    return None


def read_table(path: Path, villages: Sequence[Village]) -> Table:
    """Read and check every row of a table of positions.

    Args:
        path: CSV or XLSX with a heading; decimal point or comma.
        villages: those of the province.

    Raises:
        VillageImportError: it lacks a needed column.
        SpreadsheetError, OSError: the file is no table, or can't be read.
    """
    sheet = read_sheet(path)
    table = Table(encoding=sheet.encoding)
    columns = _Columns(sheet.heading, str(path))
    by_code = {village.code: village for village in villages}
    first_line: dict[str, int] = {}
    for line, row in sheet.rows:
        place = _read_row(row, columns, by_code, first_line)
        if isinstance(place, Place):
            first_line[place.code] = line
            table.places.append(place)
        else:
            table.problems.append(_("line {line}: {place}").format(line=line, place=place))
    return table


def _read_row(
    row: Sequence[str],
    columns: _Columns,
    villages: dict[str, Village],
    first_line: dict[str, int],
) -> Place | str:
    def cell(column: int | None) -> str:
        return row[column].strip() if column is not None and column < len(row) else ""

    code_text = cell(columns.code)
    code = plain_code(code_text)
    village = villages.get(code) if code else None
    if village is None:
        return _code_problem(code_text, villages)
    label = f"{village.dotted} {village.name}"
    if village.code in first_line:
        return _("{label}: the same village as line {first_line}").format(
            label=label, first_line=first_line[village.code]
        )
    position = _position(cell(columns.lat), cell(columns.lon))
    if isinstance(position, str):
        return f"{label}: {position}"
    site, problem = _site(row, columns, village)
    provider = " ".join(cell(columns.provider).split()) or None
    problem = problem or _text_problem(provider or "", _("the provider"))
    if problem:
        return f"{label}: {problem}"
    if position is None and site is None and provider is None:
        return _("{label}: the row has no position, no site name and no provider").format(
            label=label
        )
    return Place(village.code, position, site, provider)
