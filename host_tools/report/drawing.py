"""Drawings of a month as SVG: a strip, a grid of days, the hours of use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from host_tools.common.times import DAY_S
from host_tools.contracts.accounting import ContractTime, Span
from host_tools.contracts.calendar import Month

# Told apart by lightness as well, for eyes that don't tell red from green, and in print.
COLOURS = {
    "off_hours": "#eceff1",
    "unknown": "#c3c9cf",
    "up": "#7bc8a4",
    "short": "#3d8f6a",
    "maintenance": "#2471a3",
    "force_majeure": "#0b4f6c",
    "agent": "#50606c",
    "power": "#6a4c93",
    "site": "#d98e04",
    "down": "#b3001b",
}
_STRIP = 1000
_GRID = 600
_ROW = 7


def layer(pieces: Iterable[ContractTime]) -> list[Span]:
    """The kinds of a month in the order of time."""
    return sorted(span for piece in pieces for span in piece.spans)


def _placed(
    spans: Iterable[Span], begin: int, end: int, width: int
) -> Iterator[tuple[int, int, str]]:
    """Left edge, width and kind of each span; what is shorter than a point is one wide."""
    for its_begin, its_end, kind in spans:
        left = (max(its_begin, begin) - begin) * width // (end - begin)
        right = -((begin - min(its_end, end)) * width // (end - begin))
        yield left, max(1, right - left), kind


def _paths(rectangles: Iterable[tuple[int, int, int, int, str]]) -> str:
    """Rectangles (x, y, width, height, kind), one path a colour: fewer elements are quicker. The
    order is that of COLOURS: what is wrong lies over what is up."""
    by_kind: dict[str, list[str]] = {kind: [] for kind in COLOURS}
    for x, y, width, height, kind in rectangles:
        by_kind.setdefault(kind, []).append(f"M{x} {y}h{width}v{height}h-{width}z")
    return "".join(
        f'<path fill="{COLOURS[kind]}" d="{"".join(parts)}"/>'
        for kind, parts in by_kind.items()
        if parts
    )


def strip(month: Month, spans: Sequence[Span], height: int = 12) -> str:
    """The month from left to right."""
    body = _paths(
        (left, 0, width, height, kind)
        for left, width, kind in _placed(spans, month.begin, month.end, _STRIP)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_STRIP} {height}" '
        f'preserveAspectRatio="none" class="strip">{body}</svg>'
    )


def grid(month: Month, spans: Sequence[Span]) -> str:
    """A row for each day, midnight (WITA) at the left."""
    rectangles: list[tuple[int, int, int, int, str]] = []
    labels = []
    for number in range(month.days):
        begin = month.begin + number * DAY_S
        within = [span for span in spans if span[0] < begin + DAY_S and span[1] > begin]
        y = number * _ROW
        for left, width, kind in _placed(within, begin, begin + DAY_S, _GRID):
            rectangles.append((20 + left, y, width, _ROW - 1, kind))
        if number % 5 == 0:
            labels.append(f'<text x="16" y="{y + 6}" text-anchor="end">{number + 1}</text>')
    height = month.days * _ROW
    for hour in range(0, 25, 6):
        x = 20 + _GRID * hour // 24
        labels.append(f'<text x="{x}" y="{height + 9}" text-anchor="middle">{hour:02d}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_GRID + 32} {height + 12}" '
        f'preserveAspectRatio="none" class="grid" font-size="8">{_paths(rectangles)}'
        f"{''.join(labels)}</svg>"
    )


def hours(by_hour: Sequence[int]) -> str:
    """Bars of what was used in each hour of the day."""
    most = max(by_hour) or 1
    bars = []
    for hour, used in enumerate(by_hour):
        height = round(50 * used / most)
        bars.append(f"M{hour * 12} {52 - height}h10v{height}h-10z")
    labels = "".join(
        f'<text x="{hour * 12 + 5}" y="61" text-anchor="middle">{hour:02d}</text>'
        for hour in range(0, 24, 6)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 290 64" class="hours" '
        f'font-size="8"><path fill="#2471a3" d="{"".join(bars)}"/>{labels}</svg>'
    )
