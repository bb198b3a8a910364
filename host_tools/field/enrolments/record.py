"""An enrolment record: a device's proof, countersigned and chained (docs/wire.md)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.errors import DesalinkError, EnrolmentError
from host_tools.common.i18n import _
from host_tools.devices.proof import verify_proof
from host_tools.field.enrolments.site import MeasuredSite, parse_site
from host_tools.keys.signing import sign1, verify1
from host_tools.wire.envelope import hash8, split
from host_tools.wire.payload import MAX_TIME, Enrolment, decode
from host_tools.wire.reasons import Refused, malformed

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


# Name -> number in the signed table.
_NUMBERS = {field.name: number for number, field in enumerate(fields(Record)[2:], 1)}


def sign_record(key: Ed25519PrivateKey, **values: Any) -> bytes:
    """The signed bytes of a record; `values` are the fields of `Record` from `prev` on."""
    if values.get("site") is not None:
        values["site"] = values["site"].table()
    for name in ("corrections", "site"):
        if values.get(name) is None:
            values.pop(name, None)  # earlier versions have no such key
    table = {_NUMBERS[name]: value for name, value in values.items()}
    return sign1(key, cbor2.dumps(table, canonical=True), AAD)


def parse_record(raw: bytes) -> Record:
    """Read a record. `check_signer` verifies its signature.

    Raises:
        Refused: malformed or too large.
    """
    technician, begin = split(raw)
    table = decode(raw[begin:-66])
    get = table.get
    checks = (
        ("prev (1)", _bytes(get(1), 32)),
        ("number (2)", _uint(get(2))),
        ("time (3)", _uint(get(3))),
        ("slot (4)", _text(get(4), 14)),
        ("proof (5)", _proof(get(5))),
        ("unique id (6)", 6 in table and (get(6) is None or _text(get(6)))),
        ("board (7)", _text(get(7))),
        ("firmware's hash (8)", 8 in table and (get(8) is None or _bytes(get(8), 32))),
        ("certificate (9)", _text(get(9), 64)),
        ("replaced device (10)", 10 in table and (get(10) is None or _bytes(get(10), 8))),
        ("kit (11)", _bytes(get(11), 8)),
        ("log (12)", _bytes(get(12), 8)),
        ("corrections (13)", 13 not in table or _corrections(get(13))),
    )
    for name, valid in checks:
        if not valid:
            raise malformed(f"{name} of the enrolment record is missing or not valid")
    values: list[Any] = [get(number) for number in _NUMBERS.values()]
    if values[-1] is not None:
        values[-1] = parse_site(values[-1])
    return Record(raw, technician, *values)


def check_signer(record: Record, public_key: bytes) -> None:
    """Verify the countersignature.

    Raises:
        Refused: it is not of this key.
    """
    verify1(record.raw, public_key, AAD)


def _uint(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_TIME


def _bytes(value: Any, size: int) -> bool:
    return type(value) is bytes and len(value) == size


def _text(value: Any, most: int = 200) -> bool:
    return type(value) is str and 0 < len(value) <= most and value.isprintable()


def _corrections(value: Any) -> bool:
    return (
        type(value) is dict
        and 0 < len(value) <= 32
        and all(_text(key, 60) and _text(said, _MAX_VALUE) for key, said in value.items())
    )


def _proof(value: Any) -> bool:
    if type(value) is not bytes or len(value) > _MAX_PROOF:
        return False
    try:
        split(value)
    except Refused:
        return False
    return True


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
