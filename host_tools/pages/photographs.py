"""Photographs of a site that people send: read, made small, and written anew.

What is kept and shown is a picture that this program has drawn. Nothing else of the file stays:
no place where it was taken, no comment, nothing behind the picture.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass

from host_tools.common.i18n import _
from host_tools.pages.records import PagesError

MOST_BYTES = 12 << 20  # of a file that is sent
MOST_OF_VILLAGE = 6
MOST_IN_ALL = 1 << 30  # bytes of all pictures: pages.db is in every backup
KIND = "image/jpeg"

_MOST_PIXELS = 50_000_000  # what phones take; drawn it is 150 MB
_MOST_SCANS = 100  # of a JPEG that is drawn in layers; each costs time, however small it is
_SCAN = b"\xff\xda"
_EDGE = 1280
_QUALITY = 80
# Each takes much memory.
_drawing = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A JPEG of ours; width and height in pixels."""

    content: bytes
    width: int
    height: int


def picture_of(file: bytes) -> Picture:
    """The picture in a JPEG or PNG file, upright and at most 1280 pixels wide and high.

    Raises:
        PagesError: the file holds something else, or too much.
    """
    from PIL import Image, ImageOps

    if len(file) > MOST_BYTES:
        raise PagesError(_("A photograph has at most {most} MB.").format(most=MOST_BYTES >> 20))
    try:
        with _drawing, Image.open(io.BytesIO(file), formats=("JPEG", "PNG")) as image:
            if file.count(_SCAN) > _MOST_SCANS:
                raise ValueError
            many = image.width * image.height > _MOST_PIXELS
            if not many:
                image.draft("RGB", (_EDGE, _EDGE))  # a JPEG is read smaller at once
                small = ImageOps.exif_transpose(image).convert("RGB")
                small.thumbnail((_EDGE, _EDGE))
                # A new image has no comment, profile or position of the old one.
                drawn = Image.new("RGB", small.size)
                drawn.paste(small)
    except Exception:  # noqa: BLE001 - the library raises many kinds for a file that is damaged
        raise PagesError(
            _("This file is no photograph that can be read; send a JPEG or PNG file.")
        ) from None
    if many:
        raise PagesError(
            _("This photograph has more than {most} million pixels; send a smaller one.").format(
                most=_MOST_PIXELS // 1_000_000
            )
        )
    written = io.BytesIO()
    drawn.save(written, "JPEG", quality=_QUALITY, optimize=True)
    return Picture(written.getvalue(), *drawn.size)
