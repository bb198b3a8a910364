"""The acceptance sheet: one A4 page with the label, the figures, photographs and signatures.

It is in both languages, as the label is: the officer reads one and the auditor perhaps the other.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.common.errors import DesalinkError
from host_tools.common.files import write_file
from host_tools.common.i18n import _
from host_tools.common.times import wita
from host_tools.field.enrolments.site import MeasuredSite
from host_tools.field.labels import Label, layout
from host_tools.field.labels.sheet import draw_label
from host_tools.wire.vocabulary import state_name

if TYPE_CHECKING:
    from fpdf import FPDF

MOST_PHOTOS = 3
_FONT = "helvetica"  # every PDF reader has it; it holds Latin-1
_CHARSET = "latin-1"
_LEFT, _RIGHT = 15.0, 195.0
_TITLE = "Berita acara uji terima titik WiFi desa / Acceptance of a village hotspot"
_STATES = {
    "up": "TERSAMBUNG / CONNECTED",
    "degraded": "TERSAMBUNG, TIDAK STABIL / CONNECTED, UNSTABLE",
}
_DOWN = "TIDAK TERSAMBUNG / NOT CONNECTED"
_PHOTO_WIDTH, _PHOTO_HEIGHT = 56.0, 42.0
_PIXELS = 1200


class AcceptanceError(DesalinkError):
    """A site that can't be accepted, or a sheet that can't be made."""


def check_photos(paths: Sequence[Path]) -> None:
    """Refuse photographs that can't be put on the sheet, before anything is measured.

    Raises:
        AcceptanceError: too many, or one is no picture.
    """
    from PIL import Image, UnidentifiedImageError

    if len(paths) > MOST_PHOTOS:
        raise AcceptanceError(
            _("The sheet has room for {count} photographs; give fewer.").format(count=MOST_PHOTOS)
        )
    for path in paths:
        try:
            with Image.open(path) as image:
                image.load()
        except (UnidentifiedImageError, SyntaxError, Image.DecompressionBombError, OSError):
            raise AcceptanceError(
                _("{path} is no photograph that can be read; give a JPEG or PNG file.").format(
                    path=path
                )
            ) from None


def write_acceptance(
    path: Path,
    label: Label,
    site: MeasuredSite,
    technician: str,
    at: int,
    photos: Sequence[Path] = (),
) -> None:
    """Write the sheet.

    Args:
        at: when the site was measured, Unix time.
    """
    from fpdf import FPDF

    pdf = FPDF(unit="mm", format="A4")
    pdf.set_creation_date(datetime.fromtimestamp(at, UTC))
    pdf.set_auto_page_break(False)
    pdf.set_title(_TITLE)
    pdf.add_page()
    _text(pdf, _LEFT, 18, _TITLE, 13, bold=True)
    pdf.set_draw_color(170)
    pdf.rect(_RIGHT - layout.WIDTH, 24, layout.WIDTH, layout.HEIGHT)
    draw_label(pdf, label, _RIGHT - layout.WIDTH, 24)
    _rows(pdf, 28, _about(label, technician, at))
    _text(pdf, _LEFT, 85, _STATES.get(state_name(site.state), _DOWN), 15, bold=True)
    _rows(pdf, 94, _measured(site))
    for number, photo in enumerate(photos[:MOST_PHOTOS]):
        left = _LEFT + number * (_PHOTO_WIDTH + 6)
        pdf.image(_small(photo), left, 164, _PHOTO_WIDTH, _PHOTO_HEIGHT, keep_aspect_ratio=True)
    _signatures(pdf, technician)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, bytes(pdf.output()))


def _small(photo: Path) -> io.BytesIO:
    """A telephone's photograph, upright and small, without the place where it was taken."""
    from PIL import Image, ImageOps

    with Image.open(photo) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((_PIXELS, _PIXELS))
    file = io.BytesIO()
    upright.save(file, "JPEG", quality=85)
    return file


def _about(label: Label, technician: str, at: int) -> list[tuple[str, str]]:
    return [
        ("Desa / Village", label.village_name),
        ("Kecamatan / Sub-district", label.district),
        ("Kabupaten / Regency", label.regency),
        ("Titik / Slot", label.slot),
        ("Kunci / Key", label.kid.upper()),
        ("Alat / Board", label.board),
        ("No. seri / Serial", label.unique_id or "-"),
        ("Diukur / Measured", wita(at)),
        ("Teknisi / Technician", technician),
    ]


def _measured(site: MeasuredSite) -> list[tuple[str, str]]:
    def figure(*names: str, unit: str) -> str:
        values = [site.value(name) for name in names]
        known = [f"{value:.1f}".replace(".", ",") for value in values if value is not None]
        return f"{' / '.join(known)} {unit}" if known else "-"

    usage = [
        f"{name}: {'menjawab / answers' if answers else 'tidak menjawab / no answer'}"
        for name, answers in site.usage.items()
    ]
    signal = "signal" if site.value("signal") is not None else "lte_rsrp"
    return [
        ("Lama ukur / Duration", f"{site.seconds} s"),
        ("Putaran tersambung / Rounds connected", f"{site.up} / {site.rounds}"),
        ("Status / State", state_name(site.state)),
        ("Server provinsi / Province's server", site.province),
        (
            "Waktu tempuh ke router / Round trip to router",
            figure("rtt_gw_min", "rtt_gw_mean", "rtt_gw_max", unit="ms (min / rata-rata / maks)"),
        ),
        (
            "Waktu tempuh ke internet / Round trip to internet",
            figure("rtt_min", "rtt_mean", "rtt_max", unit="ms (min / rata-rata / maks)"),
        ),
        ("Paket hilang / Loss", figure("loss", unit="%")),
        ("Pencarian nama / Name look-up", figure("dns_time", unit="ms")),
        ("Sinyal / Signal", figure(signal, unit="dBm")),
        ("Sumber pemakaian / Source of usage", "; ".join(usage) or "-"),
    ]


def _rows(pdf: FPDF, top: float, rows: Sequence[tuple[str, str]]) -> None:
    for number, (title, value) in enumerate(rows):
        y = top + number * 5.6
        _text(pdf, _LEFT, y, title, 8)
        _text(pdf, _LEFT + (40 if top < 60 else 78), y, value, 9, bold=True)


def _signatures(pdf: FPDF, technician: str) -> None:
    pdf.set_draw_color(0)
    people = (
        ("Teknisi / Technician", technician),
        ("Pejabat desa / Village officer", ""),
    )
    for number, (title, name) in enumerate(people):
        left = _LEFT + number * 95
        _text(pdf, left, 222, title, 10, bold=True)
        for line, (field, value) in enumerate(
            (
                ("Nama / Name", name),
                ("Jabatan / Position", ""),
                ("Tanggal / Date", ""),
            )
        ):
            y = 231 + line * 9
            _text(pdf, left, y, f"{field}:", 8)
            _text(pdf, left + 30, y, value, 9)
            pdf.line(left + 30, y + 1.2, left + 85, y + 1.2)
        _text(pdf, left, 258, "Tanda tangan, cap / Signature, stamp:", 8)
        pdf.line(left, 280, left + 85, 280)


def _text(pdf: FPDF, x: float, y: float, text: str, size: float, bold: bool = False) -> None:
    """One line, made smaller where it would leave the page."""
    text = layout.in_charset(text, _CHARSET)
    pdf.set_font(_FONT, "B" if bold else "", size)
    width, room = pdf.get_string_width(text), _RIGHT - x
    if width > room:
        pdf.set_font(_FONT, "B" if bold else "", size * room / width)
    pdf.text(x, y, text)
