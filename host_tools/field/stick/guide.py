"""The guide for technicians, "from the stick to the first village", as PDF."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

_FILES = Path(__file__).with_name("files")
_GUIDES = {"Panduan.pdf": "panduan.md", "Guide.pdf": "guide.md"}


def write_guides(folder: Path) -> None:
    from fpdf import FPDF
    from fpdf.fonts import FontFace
    from markdown_it import MarkdownIt

    for name, source in _GUIDES.items():
        pdf = FPDF()
        # Not the time of writing: the same text gives the same file.
        pdf.set_creation_date(datetime(2000, 1, 1, tzinfo=UTC))
        pdf.set_font("helvetica", size=11)
        pdf.add_page()
        html = MarkdownIt().render((_FILES / source).read_text(encoding="utf-8"))
        pdf.write_html(html, tag_styles={"code": FontFace(family="courier", size_pt=10)})
        pdf.output(str(folder / name))
