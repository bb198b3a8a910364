"""Drawings as SVG. Colours come from pages.css by class, so that they are right in the dark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from host_tools.common.i18n import number
from host_tools.common.times import day, moment_of
from host_tools.pages.outlines import Line
from host_tools.states.table import GROUPS, SILENT
from host_tools.states.words import group

_STRIP = 96  # a quarter of an hour of a day
_CHART_W, _CHART_H = 720, 90
_LONG_GAP = 24  # a part of the time so small is no gap of a line
_MAP_W = 640
_MARGIN = 12


def strip(
    spans: Iterable[tuple[int, int, str]], begin: int, end: int, width: int = _STRIP
) -> Markup:
    """States from left to right. What most of the time was is the background."""
    edges: list[tuple[int, int, str]] = []
    known: Counter[str] = Counter()
    last = begin
    for its_begin, its_end, state in spans:
        first, last_of = max(its_begin, begin), min(its_end, end)
        if last_of <= first:
            continue
        if first > last:
            edges.append((last, first, SILENT))
        edges.append((first, last_of, group(state)))
        last = max(last, last_of)
    if last < end:
        edges.append((last, end, SILENT))
    for first, last_of, its in edges:
        known[its] += last_of - first
    most = known.most_common(1)[0][0]
    paths: dict[str, list[str]] = {}
    for first, last_of, its in edges:
        if its == most:
            continue
        left = (first - begin) * width // (end - begin)
        right = -((begin - last_of) * width // (end - begin))
        part = f"M{left} 0h{max(1, right - left)}v6H{left}z"
        parts = paths.setdefault(its, [])
        if not parts or parts[-1] != part:
            parts.append(part)
    body = "".join(
        f'<path class="{its}" d="{"".join(paths[its])}"/>' for its in GROUPS if its in paths
    )
    return Markup(  # nosec B704 # words and numbers of ours
        f'<svg class="strip {most}" viewBox="0 0 {width} 6" preserveAspectRatio="none" '
        f'aria-hidden="true">{body}</svg>'
    )


def places(
    points: Sequence[tuple[str, str, float, float, str]],
    names: dict[str, str],
    outlines: Sequence[Line] = (),
    *,
    whole: bool = True,
) -> Markup | None:
    """A map: villages as points. None: no position is known.

    Args:
        points: code, label, latitude, longitude and group of each.
        names: of regencies, written where their villages are.
        outlines: drawn below them.
        whole: all outlines are to be seen, not only those around the points.
    """
    if not points:
        return None
    corners = [(p[3], p[2]) for p in points]
    if whole:
        corners += [corner for outline in outlines for corner in outline]
    west, east = min(x for x, _y in corners), max(x for x, _y in corners)
    south, north = min(y for _x, y in corners), max(y for _x, y in corners)
    # Near the equator a degree is as long both ways.
    scale = (_MAP_W - 2 * _MARGIN) / max(east - west, 0.01)
    height = round(max(north - south, 0.01) * scale) + 2 * _MARGIN
    placed: dict[str, list[tuple[float, float]]] = {}
    dots = []
    # What is wrong lies on top.
    for code, label, lat, lon, its in sorted(points, key=lambda p: GROUPS.index(p[4])):
        x, y = (lon - west) * scale + _MARGIN, (north - lat) * scale + _MARGIN
        placed.setdefault(code[:4], []).append((x, y))
        dots.append(
            f'<a href="/village/{code}"><circle id="m{code}" class="{its}" cx="{x:.0f}" '
            f'cy="{y:.0f}" r="4"><title>{escape(label)}</title></circle></a>'
        )
    labels = [
        Markup('<text x="{:.0f}" y="{:.0f}" text-anchor="middle">{}</text>').format(
            sum(x for x, _y in its) / len(its), sum(y for _x, y in its) / len(its), names[code]
        )
        for code, its in placed.items()
        if code in names
    ]
    points_drawn = Markup("".join(dots))  # nosec B704 # labels are escaped
    drawn = "".join(_path(outline, west, north, scale) for outline in outlines)
    return Markup(
        '<svg class="map" role="group" viewBox="0 0 {} {}"><path class="outline" d="{}"/>'
        "{}{}</svg>"
    ).format(_MAP_W, height, drawn, Markup("").join(labels), points_drawn)


def _path(outline: Line, west: float, north: float, scale: float) -> str:
    """A line of the map, in whole pixels from point to point."""
    parts = []
    last: tuple[int, int] | None = None
    for lon, lat in outline:
        point = round((lon - west) * scale) + _MARGIN, round((north - lat) * scale) + _MARGIN
        if last is None:
            parts.append(f"M{point[0]} {point[1]}")
        elif point != last:
            parts.append(f"l{point[0] - last[0]} {point[1] - last[1]}")
        last = point
    return "".join(parts)


def _moment(t: int, length: int) -> str:
    moment = moment_of(t)
    if moment is None:
        return "?"
    return moment.strftime("%H:%M") if length <= 2 * 86400 else day(t)


def _frame(body: str, begin: int, end: int, most: str, title: str) -> Markup:
    length = end - begin
    marks = "".join(
        f'<text x="{_CHART_W * part // 4}" y="{_CHART_H + 12}" text-anchor="'
        f'{("start", "middle", "middle", "middle", "end")[part]}">'
        f"{_moment(begin + length * part // 4, length)}</text>"
        for part in range(5)
    )
    return Markup(
        '<svg class="chart" role="img" aria-label="{0}" viewBox="0 -12 {1} {2}">'
        '<text x="0" y="-2">{0}: {3}</text>{4}</svg>'
    ).format(title, _CHART_W, _CHART_H + 28, most, Markup(body + marks))  # nosec B704 # of ours


def axis(begin: int, end: int) -> Markup:
    """The times under a wide strip."""
    length = end - begin
    marks = "".join(
        f"<span>{_moment(begin + length * part // 4, length)}</span>" for part in range(5)
    )
    return Markup('<div class="axis">{}</div>').format(Markup(marks))  # nosec B704 # times


def bars(
    values: Sequence[tuple[int, float]], begin: int, end: int, step: int, title: str, most: str
) -> Markup:
    """A bar for each time; what was not measured has none."""
    top = max((value for _t, value in values), default=0) or 1
    width = max(1.0, _CHART_W * step / (end - begin) - 0.5)
    parts = []
    for t, value in values:
        height = _CHART_H * value / top
        left = _CHART_W * (t - begin) / (end - begin)
        if -width < left < _CHART_W:
            parts.append(
                f"M{left:.1f} {_CHART_H - height:.1f}h{width:.1f}V{_CHART_H}h-{width:.1f}z"
            )
    return _frame(f'<path class="bar" d="{"".join(parts)}"/>', begin, end, most, title)


def line(
    values: Sequence[tuple[int, float | None]], begin: int, end: int, title: str, unit: str
) -> Markup:
    """A line through what was measured; it breaks where nothing was."""
    top = max((value for _t, value in values if value is not None), default=0) or 1
    parts, pen, last = [], "M", begin
    for t, value in values:
        if value is None or t - last > (end - begin) // _LONG_GAP:
            pen = "M"
        last = t
        if value is None:
            continue
        x, y = _CHART_W * (t - begin) / (end - begin), _CHART_H * (1 - value / top)
        parts.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    most = f"{number(top, 1)} {unit}"
    return _frame(f'<path class="line" d="{"".join(parts)}"/>', begin, end, most, title)
