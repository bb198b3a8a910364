"""Outlines of regencies and coasts, from a GeoJSON file (RFC 7946) that the operator gives.

The file comes from elsewhere: it is checked, simplified and bounded when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from host_tools.common.i18n import _
from host_tools.pages.records import PagesError

Line = list[tuple[float, float]]
"""Longitude and latitude of each point, in degrees."""

_MOST_BYTES = 32 << 20
_MOST_POINTS = 5_000  # that are drawn: about 30 KB of a page
_NEAR = 0.005  # degrees, about 550 m: less than a pixel of the map of a province
# How deep the points of a geometry lie.
_DEPTHS = {"LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}


def read_outlines(path: Path) -> list[Line]:
    """The lines of a file, simplified.

    Raises:
        PagesError: it can't be read, or holds something else.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError(_("it is no file"))
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(_("it has more than {most} MB").format(most=_MOST_BYTES >> 20))
        lines = list(_lines(json.loads(content)))
        if not lines:
            raise TypeError
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise PagesError(
            _(
                "The outlines of the map can't be read from {path} ({reason}); give a GeoJSON "
                "file with 'outlines' in [pages] of province.toml, or none."
            ).format(path=path, reason=_reason(error))
        ) from None
    near = _NEAR
    while True:
        simple = [found for line in lines if len(found := _simplified(line, near)) > 2]
        if sum(map(len, simple)) <= _MOST_POINTS:
            return simple
        near *= 1.5


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, KeyError | TypeError | RecursionError):
        return _("it is no GeoJSON of areas or lines")
    return str(error)


def _lines(table: Any) -> Iterator[Line]:
    if table["type"] == "FeatureCollection":
        for feature in table["features"]:
            yield from _lines(feature)
    elif table["type"] == "Feature":
        if table["geometry"] is not None:
            yield from _lines(table["geometry"])
    else:
        yield from _of_depth(table["coordinates"], _DEPTHS[table["type"]])


def _of_depth(coordinates: Any, depth: int) -> Iterator[Line]:
    if not isinstance(coordinates, list):
        raise TypeError
    if depth > 1:
        for part in coordinates:
            yield from _of_depth(part, depth - 1)
    else:
        yield [_point(position) for position in coordinates]


def _point(position: Any) -> tuple[float, float]:
    if not isinstance(position, list) or len(position) < 2:
        raise TypeError
    lon, lat = position[:2]
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):  # neither is what is no number
        raise ValueError(
            _("a point is not in degrees: {point}").format(point=f"{lon!r}, {lat!r}"[:60])
        )
    return float(lon), float(lat)


def _simplified(line: Line, near: float) -> Line:
    """Without points that lie near the one before."""
    found: Line = []
    for lon, lat in line:
        if not found or abs(lon - found[-1][0]) + abs(lat - found[-1][1]) >= near:
            found.append((lon, lat))
    if found and found[0] != found[-1] and line[0] == line[-1]:
        found.append(line[-1])
    return found
