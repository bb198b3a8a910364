"""COSE_Sign1 for messages that people's keys sign (docs/wire.md).

The signature covers the kid, which must belong to the verifying key.
"""

from __future__ import annotations

import cbor2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from host_tools.wire.envelope import (
    MAX_MESSAGE,
    byte_string_head,
    check_signature,
    hash8,
    sign1_structure,
    signed_bytes,
    split,
)
from host_tools.wire.reasons import Reason, Refused

# Bytes around the payload: tag, array, protected header, empty map, payload's head, signature.
OVERHEAD = 87
MAX_PAYLOAD = MAX_MESSAGE - OVERHEAD


def public_bytes(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """The 32 bytes of the public half."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def sign1(key: Ed25519PrivateKey, payload: bytes, aad: bytes) -> bytes:
    """A tagged COSE_Sign1; who receives it sets how large the payload may be."""
    protected = cbor2.dumps({1: -19, 4: hash8(public_bytes(key))}, canonical=True)
    signature = key.sign(sign1_structure(protected, aad, payload))
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]), canonical=True)


def verify1(message: bytes, public_key: bytes, aad: bytes, most: int = MAX_MESSAGE) -> bytes:
    """The payload of a message that this key signed.

    Args:
        most: bytes that the message may have.

    Raises:
        Refused: too_large, malformed, unknown_key (the kid is another key's) or bad_signature.
    """
    kid, begin = split(message, most)
    if kid != hash8(public_key):
        raise Refused(Reason.UNKNOWN_KEY, f"it is signed by key {kid.hex()}", kid=kid)
    if not check_signature(public_key, signed_bytes(message, byte_string_head(len(aad)) + aad)):
        raise Refused(Reason.BAD_SIGNATURE, "the signature does not verify under this key")
    return message[begin:-66]
