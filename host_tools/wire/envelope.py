"""The signed envelope: COSE_Sign1 (RFC 9052, 4.2) with Ed25519 (RFC 8032, RFC 9864).

Two ways in. `split` takes exactly the shape that docs/wire.md allows, by position: deterministic
CBOR leaves no choice in that shape but the payload's length. It is what the ingest uses, once for
each message, and for all that people sign. `verify_sign1` takes any COSE_Sign1, for the standards'
own examples. Both build the same Sig_structure and check it with libsodium, which refuses S >= L,
non-canonical and small-order A and R, and takes no cofactor, as the page demands.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import cbor2
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from host_tools.wire.hashing import hash8 as hash8
from host_tools.wire.reasons import Reason, Refused, malformed

MAX_MESSAGE = 8192  # bytes, docs/wire.md "CBOR"
_MAX_DEPTH = 8

# 18([ << {1: -19, 4: kid} >>, {}, << payload >>, signature ]), byte for byte:
#   d2 84 | 4d a2 01 32 04 48 kid(8) | a0 | head of payload, payload | 58 40 signature(64)
# -8, the older name of the algorithm, is one byte (27) like -19 (32).
_BEFORE_KID = (b"\xd2\x84\x4d\xa2\x01\x32\x04\x48", b"\xd2\x84\x4d\xa2\x01\x27\x04\x48")
_KID_END = 16
_CONTEXT = b"\x84\x6aSignature1"


def byte_string_head(length: int) -> bytes:
    """The deterministic head of a CBOR byte string (RFC 8949, 3)."""
    if length < 24:
        return bytes((0x40 + length,))
    if length < 0x100:
        return bytes((0x58, length))
    if length < 0x10000:
        return b"\x59" + length.to_bytes(2, "big")
    return b"\x5a" + length.to_bytes(4, "big")


def sign1_structure(protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    """The bytes that are signed: Sig_structure of RFC 9052, 4.4, in deterministic CBOR."""
    fields = [byte_string_head(len(f)) + f for f in (protected, external_aad, payload)]
    return b"".join((_CONTEXT, *fields))


def split(message: bytes, most: int = MAX_MESSAGE) -> tuple[bytes, int]:
    """Take the exact envelope apart.

    Args:
        most: bytes that it may have.

    Returns:
        kid, and where the payload begins in the message (it ends 66 bytes before the end).

    Raises:
        Refused: too_large, or malformed with what is wrong.
    """
    size = len(message)
    if size > most:
        raise Refused(Reason.TOO_LARGE, f"{size} bytes, at most {most} are allowed")
    if size < _KID_END + 68 or not message.startswith(_BEFORE_KID):
        raise malformed("the envelope is not 18([<<{1: alg, 4: kid}>>, {}, payload, signature])")
    if message[_KID_END] != 0xA0:
        raise malformed("the unprotected header is not an empty map")
    head = message[17]
    if 0x40 <= head < 0x58:
        begin, length = 18, head - 0x40
    elif head == 0x58:
        begin, length = 19, message[18]
        if length < 24:
            raise malformed("the payload's length is not in its shortest form")
    elif head == 0x59:
        begin, length = 20, int.from_bytes(message[18:20], "big")
        if length < 0x100:
            raise malformed("the payload's length is not in its shortest form")
    elif head == 0x5A:
        begin, length = 22, int.from_bytes(message[18:22], "big")
        if length < 0x10000:
            raise malformed("the payload's length is not in its shortest form")
    else:
        raise malformed("the payload is not a byte string")
    if begin + length + 66 != size or message[-66:-64] != b"\x58\x40":
        raise malformed("payload and signature do not fill the message exactly")
    return message[8:_KID_END], begin


def signed_bytes(message: bytes, aad_field: bytes) -> bytes:
    """Signature and Sig_structure of a message that `split` has accepted, in libsodium's order.

    Args:
        aad_field: the external_aad as a CBOR byte string, head included.
    """
    # The fields go over as they lie in the message: split has seen that their heads are shortest.
    return b"".join((message[-64:], _CONTEXT, message[2:_KID_END], aad_field, message[17:-66]))


def check_signature(public_key: bytes, signed: bytes) -> bool:
    """Whether `signed` (signature, then message) verifies under a key (RFC 8032, 5.1.7)."""
    if len(public_key) != 32:  # the library reads 32 bytes, whatever there is
        return False
    try:
        crypto_sign_open(signed, public_key)
    except BadSignatureError:
        return False
    return True


def _no_tag(*_: Any) -> Any:
    raise ValueError("tags do not occur")


# Payloads hold no tags. Without this the library would build dates, regular expressions,
# shared references ... from a stranger's bytes.
_TAGS = dict.fromkeys(
    map(int, "0 1 2 3 4 5 21 22 23 25 28 29 30 35 36 37 52 54 100 256 258 260 261 1004".split()),
    _no_tag,
) | {43000: _no_tag, 55799: _no_tag}


def strict_decode(data: bytes, max_depth: int = _MAX_DEPTH, *, tags: bool = True) -> Any:
    """Decode one CBOR item and nothing else.

    Args:
        tags: whether tags without a meaning of their own may occur, such as that of the envelope.

    Raises:
        Refused: malformed: not well-formed, trailing bytes, duplicate keys, indefinite lengths, a
            tag with a meaning, or nested deeper than `max_depth`.
    """
    stream = BytesIO(data)
    try:
        item = cbor2.CBORDecoder(
            stream,
            allow_duplicate_keys=False,
            allow_indefinite=False,
            max_depth=max_depth,
            semantic_decoders=_TAGS,
            tag_hook=None if tags else _no_tag,
        ).decode()
    except Exception as error:  # whatever hostile bytes provoke in the library is the bytes' fault
        raise malformed(f"not the CBOR that is allowed: {error}"[:200]) from None
    if stream.tell() != len(data):
        raise malformed(f"{len(data) - stream.tell()} bytes follow the CBOR item")
    return item


def _header(field: Any) -> dict[Any, Any]:
    header = strict_decode(field) if field else {}
    if type(header) is not dict:
        raise malformed("the protected header is not a map")
    return header


def verify_sign1(
    message: bytes, public_key: bytes, external_aad: bytes = b""
) -> tuple[bytes, bytes]:
    """Verify any tagged COSE_Sign1 whose algorithm is Ed25519 (-19) or EdDSA (-8).

    Args:
        message: tag 18 and the array.
        public_key: Ed25519, 32 bytes.

    Returns:
        The payload, and the kid from the protected or else the unprotected header (b"" if none).

    Raises:
        Refused: too_large, malformed or bad_signature.
    """
    if len(message) > MAX_MESSAGE:
        raise Refused(Reason.TOO_LARGE, f"{len(message)} bytes, at most {MAX_MESSAGE} are allowed")
    item = strict_decode(message)
    if type(item) is not cbor2.CBORTag or item.tag != 18 or len(_array(item.value)) != 4:
        raise malformed("not a COSE_Sign1 with tag 18")
    protected, unprotected, payload, signature = _array(item.value)
    if not (type(protected) is type(payload) is type(signature) is bytes) or len(signature) != 64:
        raise malformed(
            "protected header, payload or signature is not the byte string it should be"
        )
    if not isinstance(unprotected, Mapping):
        raise malformed("the unprotected header is not a map")
    header = _header(protected)
    if type(header.get(1)) is not int or header[1] not in (-19, -8):
        raise malformed("the algorithm is neither Ed25519 (-19) nor EdDSA (-8)")
    if set(header).intersection(unprotected) or 2 in header or 2 in unprotected:
        raise malformed("a header occurs twice, or demands what is not known here (crit)")
    if not check_signature(
        public_key, signature + sign1_structure(protected, external_aad, payload)
    ):
        raise Refused(Reason.BAD_SIGNATURE, "the signature does not verify under this key")
    kid = header.get(4, unprotected.get(4, b""))
    return payload, kid if type(kid) is bytes else b""


def _array(value: Any) -> list[Any] | tuple[Any, ...]:
    return value if isinstance(value, list | tuple) else ()
