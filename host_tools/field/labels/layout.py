"""The positions on a sticker of 62 x 29 mm, in millimetres, for SVG, PNG and PDF.

Long texts get smaller until they fit; no name is cut off.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from host_tools.field.labels.label import Label

if TYPE_CHECKING:
    import segno

WIDTH = 62.0
HEIGHT = 29.0
MARGIN = 1.6

# 8 dots of a 300 dpi label printer: each module gets whole dots, none is blurred.
DPI = 300
MODULE_DOTS = 8
MODULE = MODULE_DOTS * 25.4 / DPI
QUIET = 4  # white modules around the code, by the standard
QR_LEFT = 0.8
_MODULES = 29  # of a version 3 code
QR_SIDE = (_MODULES + 2 * QUIET) * MODULE
QR_TOP = (HEIGHT - QR_SIDE) / 2

_TEXT_LEFT = QR_LEFT + QR_SIDE - 1.2
_TEXT_WIDTH = WIDTH - MARGIN - _TEXT_LEFT

# Width in mm of a text set in a size of mm.
Measure = Callable[[str, float], float]


class Line(NamedTuple):
    """A text, its left end and base line, its size, and the width that it takes."""

    text: str
    x: float
    y: float
    size: float
    width: float


def qr_code(label: Label) -> segno.QRCode:
    """The label's QR code, version 3: it is readable with a quarter of it damaged."""
    import segno

    # Always the same size. segno chooses the mask by the standard's rule.
    return segno.make_qr(label.qr_text, version=3, error="q", boost_error=False)


def in_charset(text: str, charset: str) -> str:
    """A text for a font with only one charset: other letters lose their accents, or become `?`."""
    plain = []
    for letter in text:
        try:
            letter.encode(charset)
            plain.append(letter)
        except UnicodeEncodeError:
            parts = unicodedata.normalize("NFKD", letter)
            ascii_ = parts.encode("ascii", "ignore").decode()
            plain.append(ascii_ or ("'" if letter in "ʼʻ‘’`´" else "?"))
    return "".join(plain)


def _grouped(kid: str) -> str:
    return " ".join(kid.upper()[start : start + 4] for start in range(0, len(kid), 4))


def _place(label: Label) -> str:
    regency = label.regency.removeprefix("Kabupaten ")
    kind = "" if regency.startswith("Kota ") else "Kab. "
    return f"Kec. {label.district}, {kind}{regency}"


def lines(label: Label, measure: Measure) -> list[Line]:
    """The texts of a label, each fitted to its place."""

    def fitted(text: str, x: float, y: float, size: float, room: float) -> Line:
        width = measure(text, size)
        if width > room:
            size *= room / width
            width = room
        return Line(text, x, y, size, width)

    left, room = _TEXT_LEFT, _TEXT_WIDTH
    check = fitted(label.check, left, 27.3, 4.4, room)
    check = check._replace(x=WIDTH - MARGIN - check.width)
    beside_check = check.x - left - 1
    return [
        fitted("TITIK WIFI DESA / VILLAGE HOTSPOT", left, 3.7, 1.7, room),
        fitted(label.village_name, left, 8.4, 4.6, room),
        fitted(_place(label), left, 11.2, 2.1, room),
        fitted(label.slot, left, 15.9, 4.2, room),
        fitted(f"Kunci / Key  {_grouped(label.kid)}", left, 18.8, 2, room),
        fitted(f"No. seri / Serial  {label.unique_id or '-'}", left, 21.3, 2, room),
        fitted(f"Alat / Board  {label.board}", left, 23.7, 2, room),
        fitted("Kode cek / Check", left, 27.3, 2, beside_check),
        check,
    ]
