"""One label as SVG, and as PNG for label printers."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape  # nosec B406 # escapes, parses nothing

from host_tools.common.files import write_file
from host_tools.field.labels import layout
from host_tools.field.labels.label import Label

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_DOTS = layout.DPI / 25.4  # per mm
_UNIT = 100  # the font's size in pixels at which texts are measured


@lru_cache(maxsize=64)
def _font(pixels: float) -> FreeTypeFont:
    # Pillow's own font is the same on every machine; it has ASCII and little more.
    from PIL.ImageFont import FreeTypeFont, load_default

    font = load_default(pixels)
    assert isinstance(font, FreeTypeFont), "this Pillow was built without FreeType"
    return font


def _measure(text: str, size: float) -> float:
    return _font(_UNIT).getlength(layout.in_charset(text, "ascii")) * size / _UNIT


def _mm(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def svg(label: Label) -> str:
    """The label as an SVG document; its texts stay texts, its title is the slot."""
    code = layout.qr_code(label)
    modules = "".join(
        f"M{column} {row}h1v1h-1z"
        for row, line in enumerate(code.matrix)
        for column, dark in enumerate(line)
        if dark
    )
    left = layout.QR_LEFT + layout.QUIET * layout.MODULE
    top = layout.QR_TOP + layout.QUIET * layout.MODULE
    # Each text has its width, so that it fits in any font.
    texts = "\n".join(
        f'<text x="{_mm(line.x)}" y="{_mm(line.y)}" font-size="{_mm(line.size)}" '
        f'textLength="{_mm(line.width)}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(line.text)}</text>"
        for line in layout.lines(label, _measure)
    )
    width, height = _mm(layout.WIDTH), _mm(layout.HEIGHT)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" \
viewBox="0 0 {width} {height}" role="img">
<title>{escape(label.slot)} {escape(label.village_name)} {label.check}</title>
<rect width="{width}" height="{height}" rx="1.2" fill="#fff"/>
<path transform="translate({_mm(left)} {_mm(top)}) scale({layout.MODULE:.5f})" \
shape-rendering="crispEdges" d="{modules}"/>
<g font-family="Arial, Helvetica, 'Liberation Sans', 'DejaVu Sans', sans-serif" \
xml:space="preserve">
{texts}
</g>
</svg>
"""


def png(label: Label) -> bytes:
    """The label as a PNG of 732 x 343 dots (300 dpi), black on white."""
    from PIL import Image, ImageDraw

    size = (round(layout.WIDTH * _DOTS), round(layout.HEIGHT * _DOTS))
    image = Image.new("L", size, 255)
    draw = ImageDraw.Draw(image)
    dots = layout.MODULE_DOTS
    left = round(layout.QR_LEFT * _DOTS) + layout.QUIET * dots
    top = round(layout.QR_TOP * _DOTS) + layout.QUIET * dots
    for row, line in enumerate(layout.qr_code(label).matrix):
        for column, dark in enumerate(line):
            if dark:
                x, y = left + column * dots, top + row * dots
                draw.rectangle((x, y, x + dots - 1, y + dots - 1), fill=0)
    for text in layout.lines(label, _measure):
        draw.text(
            (text.x * _DOTS, text.y * _DOTS),
            layout.in_charset(text.text, "ascii"),
            fill=0,
            font=_font(round(text.size * _DOTS, 2)),
            anchor="ls",
        )
    file = io.BytesIO()
    image.save(file, "PNG", dpi=(layout.DPI, layout.DPI), optimize=True)
    return file.getvalue()


def write_label(label: Label, directory: Path) -> list[Path]:
    """Write `<slot>_<check>.svg` and `.png`; the same label always gives the same bytes.

    Returns:
        The two files, the SVG first.

    Raises:
        OSError: they can't be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"{label.slot}_{label.check}"
    files = {
        directory / f"{stem}.svg": svg(label).encode(),
        directory / f"{stem}.png": png(label),
    }
    for path, content in files.items():
        write_file(path, content)
    return list(files)
