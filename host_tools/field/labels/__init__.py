"""Stickers for devices.

label.py has the content (see docs/labels.md) and reads scanned text; layout.py has the positions;
drawing.py makes SVG and PNG files, sheet.py an A4 PDF.
"""

from host_tools.field.labels.drawing import write_label
from host_tools.field.labels.label import Label, LabelError, Scanned, check_of, parse_qr
from host_tools.field.labels.sheet import write_sheet

__all__ = [
    "Label",
    "LabelError",
    "Scanned",
    "check_of",
    "parse_qr",
    "write_label",
    "write_sheet",
]
