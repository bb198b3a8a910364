"""COSE_Sign1 (RFC 9052, 4.2) with Ed25519 (RFC 9864), in the one shape that docs/wire.md allows:
18([<< {1: -19, 4: kid} >>, {}, payload, signature])."""

import hashlib

from agent.compat import const
from agent.wire import cbor, ed25519

_TAG = const(18)
_ALG = const(1)  # header labels (RFC 9052, 3.1)
_CRIT = const(2)
_KID = const(4)
_ED25519 = const(-19)
_EDDSA = const(-8)  # deprecated (RFC 9864, 4.2.2), still what most others write
_MAX_SIZE = const(8192)
_BAD = "the signature is not good for this key and topic"


class CoseError(ValueError):
    """Says why a message is refused."""


def kid_of(public_key):
    """The key identifier, 8 bytes, of a 32-byte public key."""
    return hashlib.sha256(public_key).digest()[:8]


def sign1(signer, payload, aad):
    """`payload` (bytes-like) signed together with `aad` (bytes-like), as the bytes of a message.

    signer: an ed25519.Signer, or the 32-byte seed of one.
    """
    signer, protected, signed = _prepare(signer, payload, aad)
    return _message(protected, payload, signer.sign(signed))


async def sign1_async(signer, payload, aad):
    """The same, while the event loop runs."""
    if not isinstance(signer, ed25519.Signer):
        signer = await ed25519.signer_async(signer)
    signer, protected, signed = _prepare(signer, payload, aad)
    return _message(protected, payload, await signer.sign_async(signed))


def verify1(public_key, message, aad, profile=True):
    """The payload of a message that the owner of `public_key` signed together with `aad`.

    profile: hold it to docs/wire.md: the protected header has alg and this key's kid and nothing
        else, the unprotected one is empty, the whole is at most 8,192 bytes. Else any COSE_Sign1
        will do that carries its payload and demands nothing unknown; a kid may then be anything,
        and it is for the caller to have chosen the key.
    Raises CoseError for everything else, and nothing else.
    """
    payload, signed, signature = _parse(public_key, message, aad, profile)
    if not ed25519.verify(public_key, signed, signature):
        raise CoseError(_BAD)
    return payload


async def verify1_async(public_key, message, aad, profile=True):
    """The same, while the event loop runs."""
    payload, signed, signature = _parse(public_key, message, aad, profile)
    if not await ed25519.verify_async(public_key, signed, signature):
        raise CoseError(_BAD)
    return payload


def _prepare(signer, payload, aad):
    if not isinstance(signer, ed25519.Signer):
        signer = ed25519.Signer(signer)
    protected = _protected(_ED25519, signer.public)
    return signer, protected, _signed(protected, aad, payload)


def _protected(alg, public_key):
    return cbor.dumps({_ALG: alg, _KID: kid_of(public_key)})


def _signed(protected, aad, payload):
    """The encoded Sig_structure (RFC 9052, 4.4)."""
    return cbor.dumps(["Signature1", protected, aad, payload])


def _message(protected, payload, signature):
    return cbor.dumps(cbor.Tag(_TAG, [protected, {}, payload, signature]))


def _parse(public_key, message, aad, profile):
    """(payload, what was signed, signature) of a message that is fit to be verified."""
    if profile and len(message) > _MAX_SIZE:
        raise CoseError("longer than %d bytes" % _MAX_SIZE)
    try:
        value = cbor.loads(message, max_depth=5, max_items=64)
        if not isinstance(value, cbor.Tag) or value.tag != _TAG:
            raise CoseError("not tagged as COSE_Sign1")
        value = value.value
        if not isinstance(value, list) or len(value) != 4:
            raise CoseError("not an array of four")
        protected, unprotected, payload, signature = value
        if not isinstance(protected, bytes) or not isinstance(unprotected, dict):
            raise CoseError("malformed headers")
        header = cbor.loads(protected, max_depth=3, max_items=64)
    except cbor.CborError as e:
        raise CoseError(str(e))
    alg = header.get(_ALG) if isinstance(header, dict) else None
    if not isinstance(alg, int) or alg not in (_ED25519, _EDDSA):
        raise CoseError("not signed with Ed25519")
    for label in unprotected:
        if label in header or label == _ALG:
            raise CoseError("header %r twice or unprotected" % (label,))
    if _CRIT in header or _CRIT in unprotected:
        raise CoseError("demands something unknown (crit)")
    if not isinstance(payload, bytes):
        raise CoseError("no payload in it")
    if not isinstance(signature, bytes) or len(signature) != 64:
        raise CoseError("no signature of 64 bytes in it")
    if profile:
        if unprotected:
            raise CoseError("the unprotected header is not empty")
        if protected != _protected(alg, public_key):
            raise CoseError("another key, or more than alg and kid in the header")
    return payload, _signed(protected, aad, payload), signature
