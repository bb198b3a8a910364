"""Many labels on A4 sheets: three by nine, with cutting lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.common.files import write_file
from host_tools.common.i18n import _
from host_tools.field.labels import layout
from host_tools.field.labels.label import Label, LabelError

if TYPE_CHECKING:
    from fpdf import FPDF

_COLUMNS = 3
_ROWS = 9
_PAGE_WIDTH = 210.0
_PAGE_HEIGHT = 297.0
_LEFT = (_PAGE_WIDTH - _COLUMNS * layout.WIDTH) / 2
_TOP = (_PAGE_HEIGHT - _ROWS * layout.HEIGHT) / 2
_FONT = "helvetica"  # every PDF reader has it; it holds Latin-1
_CHARSET = "latin-1"
_POINTS = 72 / 25.4  # per mm
_TITLE = "Stiker perangkat / Device labels"
# Not the time of printing: the same labels give the same file.
_CREATED = datetime(2000, 1, 1, tzinfo=UTC)


def _runs(line: Sequence[int]) -> list[tuple[int, int]]:
    """Start and length of each run of dark modules in a row."""
    runs: list[tuple[int, int]] = []
    for column, dark in enumerate(line):
        if not dark:
            continue
        if runs and sum(runs[-1]) == column:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((column, 1))
    return runs


def draw_label(pdf: FPDF, label: Label, x: float, y: float) -> None:
    """Draw a label with its upper left corner at a place in mm."""

    def measure(text: str, size: float) -> float:
        pdf.set_font(_FONT, size=size * _POINTS)
        return float(pdf.get_string_width(layout.in_charset(text, _CHARSET)))

    module = layout.MODULE
    left = x + layout.QR_LEFT + layout.QUIET * module
    top = y + layout.QR_TOP + layout.QUIET * module
    for row, line in enumerate(layout.qr_code(label).matrix):
        for start, length in _runs(line):
            # A hair taller: rows drawn edge to edge show white lines in some readers.
            pdf.rect(
                left + start * module, top + row * module, length * module, module + 0.01, "F"
            )
    for text in layout.lines(label, measure):
        pdf.set_font(_FONT, size=text.size * _POINTS)
        pdf.text(x + text.x, y + text.y, layout.in_charset(text.text, _CHARSET))


def _draw_page(pdf: FPDF, labels: Sequence[Label], title: str) -> None:
    pdf.add_page()
    pdf.set_font(_FONT, size=9)
    pdf.text(_LEFT, _TOP - 5, layout.in_charset(title, _CHARSET))
    pdf.set_draw_color(170)
    pdf.set_line_width(0.1)
    for index, label in enumerate(labels):
        row, column = divmod(index, _COLUMNS)
        x, y = _LEFT + column * layout.WIDTH, _TOP + row * layout.HEIGHT
        pdf.rect(x, y, layout.WIDTH, layout.HEIGHT)
        draw_label(pdf, label, x, y)


def write_sheet(labels: Sequence[Label], path: Path, title: str = "") -> None:
    """Write an A4 PDF of the labels in their order, 27 to a page, to be printed at 100 %.

    Args:
        title: printed above the labels, e.g. the regency.

    Raises:
        LabelError: there are no labels.
    """
    if not labels:
        raise LabelError(_("There is no label to print: no device of these villages is enrolled."))
    from fpdf import FPDF

    pdf = FPDF(unit="mm", format="A4")
    pdf.set_creation_date(_CREATED)
    pdf.set_auto_page_break(False)
    pdf.set_title(_TITLE)
    per_page = _COLUMNS * _ROWS
    pages = [labels[start : start + per_page] for start in range(0, len(labels), per_page)]
    for number, page in enumerate(pages, 1):
        heading = [_TITLE, title, f"{number}/{len(pages)}", "(100 %)"]
        _draw_page(pdf, page, "   ".join(part for part in heading if part))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, bytes(pdf.output()))
