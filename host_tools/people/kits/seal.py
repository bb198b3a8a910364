"""The encrypted file around a kit: scrypt (RFC 7914) and ChaCha20-Poly1305 (RFC 8439) in STREAM.

    magic (8)  length of header (2)  header  chunk  chunk ... last chunk

The header is readable without the passphrase, because revoking a lost kit needs its id. Every
chunk authenticates it. Each chunk is 64 KiB of plain text and a tag of 16 bytes; its nonce is
prefix (7), number (4) and whether it is the last (1), so that chunks can't be exchanged, repeated,
omitted or cut off at the end (Hoang, Reyhanitabar, Rogaway, Vizar: "Online authenticated
encryption and its nonce-reuse misuse-resistance", 2015).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from host_tools.common.errors import PassphraseError
from host_tools.common.i18n import _
from host_tools.people.kits.model import KitError
from host_tools.wire.envelope import strict_decode
from host_tools.wire.reasons import Refused
from host_tools.wire.shapes import Form, octets, text, uint

MAGIC = b"DESAKIT1"
CHUNK = 64 * 1024
_TAG = 16
_MAX_HEADER = 1024
_MAX_TIME = 2**53 - 1

# 128 MiB and about half a second for each guess at the passphrase. A reader accepts 14 (tests) to
# 18, so that a hostile header can't make it allocate more.
COST = 17
_LEAST_COST, _MOST_COST = 14, 18
_R, _P = 8, 1

# The nonce's counter allows 2^32 chunks; no kit comes near.
MAX_KIT = 1 << 30


@dataclass(frozen=True)
class Header:
    """The readable part of a kit; not trusted before the kit is opened."""

    id: bytes
    province: str
    """2-digit code."""
    created: int
    expires: int
    cost: int
    """Base-2 logarithm of scrypt's N."""
    salt: bytes
    prefix: bytes
    raw: bytes
    """Magic, length and header, as in the file."""


_HEADER = Form(
    "kit's header",
    {
        "id": octets(8),
        "province": text(2, least=2),
        "created": uint(_MAX_TIME),
        "expires": uint(_MAX_TIME),
        "cost": uint(_MOST_COST, _LEAST_COST),
        "salt": octets(16),
        "prefix": octets(7),
    },
)


def new_header(id: bytes, province: str, created: int, expires: int) -> Header:
    """A header with fresh salt and nonce prefix."""
    fields: dict[str, Any] = {
        **{"id": id, "province": province, "created": created, "expires": expires},
        **{"cost": COST, "salt": os.urandom(16), "prefix": os.urandom(7)},
    }
    body = cbor2.dumps(_HEADER.table(fields), canonical=True)
    return Header(**fields, raw=MAGIC + struct.pack(">H", len(body)) + body)


def read_header(file: BinaryIO, name: object) -> Header:
    """Read a kit's header, up to the first chunk.

    Raises:
        KitError: it is not a kit, or one of a newer desalink.
    """
    start = file.read(len(MAGIC) + 2)
    if start[: len(MAGIC) - 1] != MAGIC[:-1]:
        raise KitError(
            _("{name} is not a kit; choose the file that 'desalink kit create' wrote.").format(
                name=name
            )
        )
    if len(start) != len(MAGIC) + 2:
        raise _damaged(name)
    if start[: len(MAGIC)] != MAGIC:
        raise KitError(
            _("{name} is a kit of another format; install the desalink that made it.").format(
                name=name
            )
        )
    length = struct.unpack(">H", start[-2:])[0]
    body = file.read(length) if length <= _MAX_HEADER else b""
    try:
        fields = _HEADER.read(strict_decode(body))
    except Refused:
        raise _damaged(name) from None
    if len(body) != length:
        raise _damaged(name)
    return Header(**fields, raw=start + body)


def _damaged(name: object) -> KitError:
    return KitError(
        _(
            "{name} is damaged or incomplete; copy the kit again, or ask the province for a new "
            "one."
        ).format(name=name)
    )


def _cipher(header: Header, passphrase: str) -> ChaCha20Poly1305:
    derivation = Scrypt(salt=header.salt, length=32, n=1 << header.cost, r=_R, p=_P)
    return ChaCha20Poly1305(derivation.derive(passphrase.encode()))


def _nonce(header: Header, number: int, last: bool) -> bytes:
    return header.prefix + struct.pack(">IB", number, last)


def seal(header: Header, passphrase: str, parts: Iterable[bytes]) -> Iterator[bytes]:
    """The encrypted file in parts, from plain text in parts."""
    cipher = _cipher(header, passphrase)
    yield header.raw
    waiting = bytearray()
    number = 0
    for part in parts:
        waiting += part
        # A full chunk waits for more data: only then is it not the last.
        while len(waiting) > CHUNK:
            nonce = _nonce(header, number, False)
            yield cipher.encrypt(nonce, bytes(waiting[:CHUNK]), header.raw)
            del waiting[:CHUNK]
            number += 1
    yield cipher.encrypt(_nonce(header, number, True), bytes(waiting), header.raw)


def unseal(file: BinaryIO, header: Header, passphrase: str, name: object) -> Iterator[bytes]:
    """The plain text in chunks. Each chunk, and the end, is verified before it is returned.

    Args:
        file: at its first chunk.

    Raises:
        PassphraseError: the first chunk can't be decrypted.
        KitError: a later one can't: the file was damaged, changed or cut off.
    """
    cipher = _cipher(header, passphrase)
    chunk = file.read(CHUNK + _TAG)
    if len(chunk) < _TAG:
        raise _damaged(name)
    number = 0
    while True:
        following = file.read(CHUNK + _TAG)
        try:
            plain = cipher.decrypt(_nonce(header, number, not following), chunk, header.raw)
        except InvalidTag:
            if number == 0:
                raise PassphraseError(
                    _(
                        "That is not the passphrase of the kit {name}, or the file is damaged; "
                        "try again, or copy the kit again."
                    ).format(name=name)
                ) from None
            raise _damaged(name) from None
        yield plain
        if not following:
            return
        chunk = following
        number += 1
        if number * CHUNK > MAX_KIT:
            raise _damaged(name)
