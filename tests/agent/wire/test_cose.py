"""agent/wire/cose.py against an independent reading of RFC 9052 with cbor2 and OpenSSL."""

import asyncio
import hashlib

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.wire import cose, ed25519

SIGNER = ed25519.Signer(bytes(range(32)))
TOPIC = b"desa/1/6403/6403112001-1/report"


@given(st.binary(max_size=300), st.binary(max_size=60))
@settings(max_examples=50)
def test_a_message_is_the_envelope_of_the_wire(payload: bytes, aad: bytes) -> None:
    message = cose.sign1(SIGNER, payload, aad)
    tag = cbor2.loads(message)
    assert tag.tag == 18
    protected, unprotected, carried, signature = tag.value
    kid = hashlib.sha256(SIGNER.public).digest()[:8]
    assert cbor2.loads(protected) == {1: -19, 4: kid}
    assert unprotected == {}
    assert carried == payload
    signed = cbor2.dumps(["Signature1", protected, aad, payload])
    Ed25519PublicKey.from_public_bytes(SIGNER.public).verify(signature, signed)
    assert cose.verify1(SIGNER.public, message, aad) == payload
    assert asyncio.run(cose.sign1_async(SIGNER, payload, aad)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(message: bytes) -> None:
    for profile in (True, False):
        with pytest.raises(cose.CoseError):
            cose.verify1(SIGNER.public, message, TOPIC, profile)


def test_a_message_is_good_for_one_topic_only() -> None:
    message = cose.sign1(SIGNER, b"payload", TOPIC)
    with pytest.raises(cose.CoseError, match="topic"):
        cose.verify1(SIGNER.public, message, TOPIC.replace(b"001-1", b"001-2"))


def test_a_key_is_named_by_its_hash() -> None:
    assert cose.kid_of(SIGNER.public) == hashlib.sha256(SIGNER.public).digest()[:8]
