"""Drawings of a month as images: a strip, a grid of days, the hours of use.

Images are quicker than vectors: a PDF page with thousands of rectangles takes half a second.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence

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
# Pixels. A pixel of a day's row is three minutes.
_STRIP, _DAY = 1000, 480
_ROW = 3  # of a day, one of them empty
_BAR, _HOURS_HEIGHT = 10, 40
_BLUE = "#2471a3"
_WHITE = 255


def layer(pieces: Iterable[ContractTime]) -> list[Span]:
    """The kinds of a month in the order of time."""
    return sorted(span for piece in pieces for span in piece.spans)


def _image(rows: Iterable[bytes], width: int, colours: Sequence[str]) -> str:
    """A PNG as a data URL; each byte of a row is the number of a colour, `_WHITE` is white."""
    raw = [b"\0" + row for row in rows]
    palette = b"".join(bytes.fromhex(colour[1:]) for colour in colours).ljust(3 * 256, b"\xff")
    size = width.to_bytes(4) + len(raw).to_bytes(4)

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content).to_bytes(4)
        return len(content).to_bytes(4) + name + content + check

    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\x03\0\0\0")
    png += chunk(b"PLTE", palette) + chunk(b"IDAT", zlib.compress(b"".join(raw)))
    return "data:image/png;base64," + b64encode(png + chunk(b"IEND", b"")).decode()


def _row(spans: Iterable[Span], begin: int, end: int, width: int) -> bytes:
    """A time from left to right; what is shorter than a pixel is one wide. The order is that of
    COLOURS: what is wrong lies over what is up."""
    row = bytearray([_WHITE]) * width
    order = {kind: number for number, kind in enumerate(COLOURS)}
    for its_begin, its_end, kind in sorted(spans, key=lambda span: order[span[2]]):
        left = (max(its_begin, begin) - begin) * width // (end - begin)
        right = -((begin - min(its_end, end)) * width // (end - begin))
        right = min(max(right, left + 1), width)
        row[left:right] = bytes([order[kind]]) * (right - left)
    return bytes(row)


def strip(month: Month, spans: Sequence[Span]) -> str:
    """The month from left to right, as the URL of an image."""
    row = _row(spans, month.begin, month.end, _STRIP)
    return _image([row], _STRIP, list(COLOURS.values()))


def grid(month: Month, spans: Sequence[Span]) -> str:
    """A row for each day, midnight (WITA) at the left, as the URL of an image."""
    rows = []
    for begin in range(month.begin, month.end, DAY_S):
        within = [span for span in spans if span[0] < begin + DAY_S and span[1] > begin]
        rows += [_row(within, begin, begin + DAY_S, _DAY)] * (_ROW - 1)
        rows.append(bytes([_WHITE]) * _DAY)
    return _image(rows, _DAY, list(COLOURS.values()))


def hours(by_hour: Sequence[int]) -> str:
    """Bars of what was used in each hour of the day, as the URL of an image."""
    most = max(by_hour) or 1
    heights = [-(-_HOURS_HEIGHT * used // most) for used in by_hour]
    rows = [
        b"".join(
            bytes([0 if height > level else _WHITE]) * (_BAR - 1) + bytes([_WHITE])
            for height in heights
        )
        for level in reversed(range(_HOURS_HEIGHT))
    ]
    return _image(rows, _BAR * len(by_hour), [_BLUE])
