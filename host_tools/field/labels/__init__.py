"""Stickers for devices: what they say, how they look, how a scanned one is read back.

label.py is what a label says, and is written out in docs/labels.md; layout.py says where on the
sticker it stands; drawing.py makes SVG and PNG of it, sheet.py an A4 PDF.
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
