"""An enrolment record: a device's proof, countersigned and chained (docs/wire.md)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.errors import DesalinkError, EnrolmentError
from host_tools.common.i18n import _
from host_tools.devices.proof import verify_proof
from host_tools.field.enrolments.site import MeasuredSite, site_shape
from host_tools.keys.signing import sign1, verify1
from host_tools.wire.envelope import hash8, split
from host_tools.wire.payload import MAX_TIME, Enrolment, decode
from host_tools.wire.reasons import Refused
from host_tools.wire.shapes import Form, Optional, fits, nullable, octets, printable, table, uint

AAD = b"desa/1/enrolments"
FIRST_PREV = bytes(32)

_MAX_PROOF = 4096
_MAX_VALUE = 1000


class LogError(DesalinkError):
    """A log of enrolments that is damaged, forked, or signed by another key."""


@dataclass(frozen=True)
class Record:
    """One record; `raw` are its signed bytes. Times in Unix seconds."""

    raw: bytes
    technician: bytes
    """kid of the role key that countersigned."""
    prev: bytes
    """SHA-256 of the record before, zeros in the first."""
    number: int
    """From 0."""
    time: int
    slot: str
    proof: bytes
    unique_id: str | None
    board: str
    firmware_hash: bytes | None
    certificate_serial: str
    replaces: bytes | None
    """kid of the device that it replaces."""
    kit: bytes
    log: bytes
    """8 random bytes: one technician on one laptop."""
    corrections: dict[str, str] | None
    """Settings that the technician gave instead of the kit's: key path -> JSON, no secrets. None
    without any."""
    site: MeasuredSite | None
    """What was measured at the site, None if nothing was."""

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.raw).digest()

    @property
    def device(self) -> bytes:
        """kid of the enrolled device, from its proof."""
        return split(self.proof)[0]

    def enrolment(self) -> Enrolment:
        """The device's own statement, verified.

        Raises:
            EnrolmentError: the proof is not this slot's, or not signed by the key in it.
        """
        return verify_proof(self.proof, self.slot)


def _is_envelope(proof: bytes) -> bool:
    try:
        split(proof)
    except Refused:
        return False
    return True


_FORM = Form(
    "enrolment record",
    {
        "prev": octets(32),
        "number": uint(MAX_TIME),
        "time": uint(MAX_TIME),
        "slot": printable(14),
        "proof": fits(octets(_MAX_PROOF, least=0), _is_envelope),
        "unique_id": nullable(printable(200)),
        "board": printable(200),
        "firmware_hash": nullable(octets(32)),
        "certificate_serial": printable(64),
        "replaces": nullable(octets(8)),
        "kit": octets(8),
        "log": octets(8),
        # Earlier versions have no such keys.
        "corrections": Optional(table(printable(60), printable(_MAX_VALUE), 32, least=1)),
        "site": Optional(site_shape),
    },
)


def sign_record(key: Ed25519PrivateKey, **values: Any) -> bytes:
    """The signed bytes of a record; `values` are the fields of `Record` from `prev` on."""
    if values.get("site") is not None:
        values["site"] = values["site"].table()
    return sign1(key, cbor2.dumps(_FORM.table(values), canonical=True), AAD)


def parse_record(raw: bytes) -> Record:
    """Read a record. `check_signer` verifies its signature.

    Raises:
        Refused: malformed or too large.
    """
    technician, begin = split(raw)
    return Record(raw, technician, **_FORM.read(decode(raw[begin:-66])))


def check_signer(record: Record, public_key: bytes) -> None:
    """Verify the countersignature.

    Raises:
        Refused: it is not of this key.
    """
    verify1(record.raw, public_key, AAD)


def verified(proof: bytes, slot: str) -> tuple[Enrolment, bytes]:
    """A device's proof, verified, and its kid.

    Raises:
        EnrolmentError: the proof is not valid.
    """
    if len(proof) > _MAX_PROOF:
        raise EnrolmentError(
            _("The device's proof for {slot} is too long ({count} bytes).").format(
                slot=slot, count=len(proof)
            )
        )
    enrolment = verify_proof(proof, slot)
    return enrolment, hash8(enrolment.public_key)
