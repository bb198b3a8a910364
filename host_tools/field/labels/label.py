"""What a label says: its fields, its check, the text of its QR code."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import NamedTuple

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

# No vowels, so that no words appear. No 0, 1, 5, B, L, N, S, Z: the others stay distinct on a
# dusty sticker and on a bad telephone line.
ALPHABET = "2346789CDFGHJKMPQRTVWXY"
CHECK_LENGTH = 4

_PREFIX = "DESA1"
_QR = re.compile(r"DESA1:([0-9]{10}-[1-9][0-9]{0,2}):([0-9A-F]{16}):([0-9A-Z]{4})")


class LabelError(DesalinkError):
    """A label that can't be made, or a scanned text that is not a label of this programme."""


def _signed_part(slot: str, kid: str) -> str:
    return f"{_PREFIX}:{slot}:{kid.upper()}"


def check_of(slot: str, kid: str) -> str:
    """The check of a device in a slot: 4 characters of ALPHABET.

    The first 8 bytes of SHA-256 over the QR text up to the check's colon, as a big-endian number
    modulo 23 to the 4th, written in base 23 with all its digits. It finds typing errors; it is
    no signature.
    """
    digest = hashlib.sha256(_signed_part(slot, kid).encode("ascii")).digest()
    rest = int.from_bytes(digest[:8], "big") % len(ALPHABET) ** CHECK_LENGTH
    digits = ""
    for _place in range(CHECK_LENGTH):
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


@dataclass(frozen=True)
class Label:
    """The sticker of one device.

    `kid` is the device key's id, 16 hexadecimal digits; `unique_id` the chip's MAC or serial
    number as the device reports it, or None; `regency` with or without its "Kabupaten".
    """

    slot: str
    village_name: str
    district: str
    regency: str
    kid: str
    unique_id: str | None
    board: str

    def __post_init__(self) -> None:
        text = f"{_signed_part(self.slot, self.kid)}:{'2' * CHECK_LENGTH}"
        if _QR.fullmatch(text) is None:
            raise LabelError(
                _(
                    "No label is possible for slot '{slot}' and device key '{kid}'; a slot is "
                    "such as 6403112001-1, a device key has 16 hexadecimal digits."
                ).format(slot=self.slot, kid=self.kid)
            )

    @property
    def check(self) -> str:
        """See `check_of`."""
        return check_of(self.slot, self.kid)

    @property
    def qr_text(self) -> str:
        """The content of the QR code, in its alphanumeric mode: upper case."""
        return f"{_signed_part(self.slot, self.kid)}:{self.check}"


class Scanned(NamedTuple):
    """The content of a QR code; `kid` in lower case."""

    slot: str
    kid: str


def parse_qr(text: str) -> Scanned:
    """Read the text of a scanned or typed label, and verify its check.

    Raises:
        LabelError: it is no label of this programme, or its check does not fit.
    """
    match = _QR.fullmatch(text.strip().upper())
    if match is None:
        raise LabelError(
            _(
                "'{text}' is not the text of a label; the format is "
                "DESA1:6403112001-1:0123456789ABCDEF:K7QX. Scan it again."
            ).format(text=text.strip())
        )
    slot, kid, check = match.groups()
    if check != check_of(slot, kid):
        raise LabelError(
            _(
                "The check {check} does not belong to slot {slot} and key {kid}: a character is "
                "wrong. Scan the label again instead of typing it."
            ).format(check=check, slot=slot, kid=kid.lower())
        )
    return Scanned(slot, kid.lower())
