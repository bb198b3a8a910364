"""Receipts: what the ingest stored up to each midnight, signed and chained (docs/evidence.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.keys.signing import sign1, verify1
from host_tools.people.trust import RoleSigner
from host_tools.wire.envelope import split, strict_decode
from host_tools.wire.reasons import Refused

AAD = b"desa/1/receipt"
MAX_RECEIPT = 1 << 24  # bytes: 200,000 streams
BEGINNING = bytes(32)  # `prev` of the first receipt

_MAX = 2**53
_MAX_TIME = 2**33
_SEQ = 2**32


class ReceiptError(DesalinkError):
    """A receipt, or a chain of them, that is not what the ingest signed."""


@dataclass(frozen=True)
class StreamReceipt:
    """What was stored of a stream.

    count, first_seq: of the reports that this receipt counts. highest_seq: of all that receipts
    have counted so far. digest: of the messages and their times (`StreamDigest`).
    """

    kid: bytes
    stream: bytes
    slot: str
    count: int
    first_seq: int
    highest_seq: int
    digest: bytes


@dataclass(frozen=True)
class LateReports:
    """Reports that this receipt counts although they arrived before its `begin`: they waited in
    quarantine, or the clock was put back. ranges: first and last seq, ascending."""

    kid: bytes
    stream: bytes
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class LateBirth:
    """The same of a birth."""

    kid: bytes
    stream: bytes
    boot: int
    conn: int


@dataclass(frozen=True)
class Receipt:
    """What is signed. It counts what arrived from `begin` to before `end`, but for what a later
    one counts as late, and what is late in itself.

    made: when it was signed. office: number and hash of the newest entry of the office log then.
    trust: version of the newest trust document. archive: digest of the newest line of the
    archive's list, hexadecimal.
    """

    number: int
    prev: bytes
    begin: int
    end: int
    made: int
    reports: int
    births: int
    streams: tuple[StreamReceipt, ...]
    office: tuple[int, bytes] | None
    trust: int
    births_digest: bytes
    archive: str | None
    late: tuple[LateReports, ...] = ()
    late_births: tuple[LateBirth, ...] = ()


class StreamDigest:
    """Digest over reports, which must come in the order of their seqs (births: boot and conn)."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.count = 0

    def add(self, message: bytes, received_at: int) -> None:
        self.add_hash(hashlib.sha256(message).digest(), received_at)

    def add_hash(self, sha256: bytes, received_at: int) -> None:
        self._hash.update(sha256 + received_at.to_bytes(8, "big"))
        self.count += 1

    def digest(self) -> bytes:
        return self._hash.digest()


def receipt_hash(receipt: bytes) -> bytes:
    """What the next receipt names, and what is published of the newest: the head."""
    return hashlib.sha256(receipt).digest()


def end_and_made(receipt: bytes) -> tuple[int, int]:
    """Two times of a receipt that one has made oneself; nothing is verified."""
    table = cbor2.loads(cbor2.loads(receipt).value[2])
    return table[4], table[5]


def sign_receipt(key: Ed25519PrivateKey, receipt: Receipt) -> bytes:
    """The signed receipt.

    Raises:
        ReceiptError: it is too long.
    """
    r = receipt
    payload = {
        1: r.number,
        2: r.prev,
        3: r.begin,
        4: r.end,
        5: r.made,
        6: r.reports,
        7: r.births,
        8: [
            [s.kid, s.stream, s.slot, s.count, s.first_seq, s.highest_seq, s.digest]
            for s in r.streams
        ],
        9: None if r.office is None else list(r.office),
        10: r.trust,
        11: r.births_digest,
        12: r.archive,
        13: [[late.kid, late.stream, [list(pair) for pair in late.ranges]] for late in r.late],
        14: [[late.kid, late.stream, late.boot, late.conn] for late in r.late_births],
    }
    signed = sign1(key, cbor2.dumps(payload, canonical=True), AAD)
    if len(signed) > MAX_RECEIPT:
        raise ReceiptError(
            _("The receipt would have {count} bytes, which is too long.").format(count=len(signed))
        )
    return signed


def parse_receipt(receipt: bytes, public_key: bytes) -> Receipt:
    """The content of a receipt that this key signed.

    Raises:
        ReceiptError: it did not, or the content is not valid.
    """
    try:
        payload = verify1(receipt, public_key, AAD, MAX_RECEIPT)
        table = strict_decode(payload, tags=False)
    except Refused as refused:
        raise ReceiptError(str(refused)) from None
    if type(table) is not dict or set(map(repr, table)) != set(map(str, range(1, 15))):
        raise ReceiptError(_("it does not hold the fields 1 to 14"))
    if cbor2.dumps(table, canonical=True) != payload:
        raise ReceiptError(_("its CBOR is not in the shortest form"))
    for key, valid in (
        (1, _uint(table[1], _MAX)),
        (2, _bytes(table[2], 32)),
        (3, _uint(table[3], _MAX_TIME)),
        (4, _uint(table[4], _MAX_TIME) and _uint(table[3], table[4])),
        (5, _uint(table[5], _MAX_TIME)),
        (6, _uint(table[6], _MAX)),
        (7, _uint(table[7], _MAX)),
        (8, type(table[8]) is list and all(map(_stream, table[8]))),
        (9, table[9] is None or _office(table[9])),
        (10, _uint(table[10], _MAX)),
        (11, _bytes(table[11], 32)),
        (12, table[12] is None or (type(table[12]) is str and len(table[12]) == 64)),
        (13, type(table[13]) is list and all(map(_late, table[13]))),
        (14, type(table[14]) is list and all(map(_late_birth, table[14]))),
    ):
        if not valid:
            raise ReceiptError(_("its field {key} is not valid").format(key=key))
    streams = tuple(StreamReceipt(*row) for row in table[8])
    late = tuple(LateReports(kid, name, tuple(map(tuple, r))) for kid, name, r in table[13])
    births = tuple(LateBirth(*row) for row in table[14])
    for rows in (
        [(s.kid, s.stream) for s in streams],
        [(each.kid, each.stream) for each in late],
        [(b.kid, b.stream, b.boot, b.conn) for b in births],
    ):
        if any(a >= b for a, b in zip(rows, rows[1:], strict=False)):
            raise ReceiptError(_("its streams are not in their order"))
    if sum(s.count for s in streams) != table[6]:
        raise ReceiptError(_("its streams don't sum up to its number of reports"))
    table |= {8: streams, 9: None if table[9] is None else tuple(table[9]), 13: late, 14: births}
    return Receipt(*(table[key] for key in range(1, 15)))


def verify_receipts(
    receipts: Iterable[bytes], keys: Mapping[bytes, RoleSigner]
) -> Iterator[tuple[Receipt, bytes]]:
    """Each receipt of a whole chain with its hash, verified one after the other.

    Args:
        keys: by kid, the keys of the role `ingest`.

    Raises:
        ReceiptError: names the first receipt that is wrong, and what is wrong with it.
    """
    prev, end, made, trust, office = BEGINNING, 0, 0, 0, -1
    highest: dict[tuple[bytes, bytes], int] = {}
    for number, signed in enumerate(receipts):
        try:
            kid = split(signed, MAX_RECEIPT)[0]
            signer = keys.get(kid)
            if signer is None:
                raise ReceiptError(
                    _("key {kid} signed it, which no trust document names for the ingest").format(
                        kid=kid.hex()
                    )
                )
            receipt = parse_receipt(signed, signer.public_key)
            if receipt.number != number or receipt.prev != prev or receipt.begin != end:
                raise ReceiptError(_("it does not continue the receipt before"))
            if not signer.counts(receipt.made):
                raise ReceiptError(
                    _("key {kid} was not valid when it was signed").format(kid=kid.hex())
                )
            newest = receipt.office[0] if receipt.office else -1
            if receipt.made < made or receipt.trust < trust or newest < office:
                raise ReceiptError(_("it goes back behind the receipt before"))
            for each in receipt.streams:
                if each.highest_seq < highest.get((each.kid, each.stream), 0):
                    raise ReceiptError(
                        _("the highest seq of stream {stream} of {slot} went back").format(
                            stream=each.stream.hex(), slot=each.slot
                        )
                    )
                highest[each.kid, each.stream] = each.highest_seq
        except (Refused, ReceiptError) as error:
            raise ReceiptError(
                _("Receipt {number} is wrong: {error}.").format(number=number, error=error)
            ) from None
        prev, end, made, trust, office = (
            *(receipt_hash(signed), receipt.end, receipt.made, receipt.trust, newest),
        )
        yield receipt, prev


def _uint(value: Any, most: int, least: int = 0) -> bool:
    return type(value) is int and least <= value <= most


def _bytes(value: Any, length: int) -> bool:
    return type(value) is bytes and len(value) == length


def _name(row: Any, length: int) -> bool:
    return type(row) is list and len(row) == length and _bytes(row[0], 8) and _bytes(row[1], 4)


def _stream(row: Any) -> bool:
    return (
        _name(row, 7)
        and type(row[2]) is str
        and len(row[2]) <= 14
        and _uint(row[3], _SEQ, 1)
        and _uint(row[4], _SEQ, 1)
        and _uint(row[5], _SEQ, row[4] + row[3] - 1)
        and _bytes(row[6], 32)
    )


def _office(value: Any) -> bool:
    return (
        type(value) is list and len(value) == 2 and _uint(value[0], _MAX) and _bytes(value[1], 32)
    )


def _late(row: Any) -> bool:
    if not _name(row, 3) or type(row[2]) is not list or not row[2]:
        return False
    last = -1
    for pair in row[2]:
        if type(pair) is not list or len(pair) != 2 or not _uint(pair[0], _SEQ, last + 2):
            return False
        if not _uint(pair[1], _SEQ, pair[0]):
            return False
        last = pair[1]
    return True


def _late_birth(row: Any) -> bool:
    return _name(row, 4) and _uint(row[2], _SEQ) and _uint(row[3], _SEQ)
