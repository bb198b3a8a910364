"""The part of cose.py that a device in the field seldom needs: it verifies, and signs at once."""

from agent.device.interpreter import const
from agent.wire import cbor, ed25519_verify
from agent.wire.cose import protected_header, sig_structure
from agent.wire.ed25519 import Signer

_TAG = const(18)
_ALG = const(1)  # header labels (RFC 9052, 3.1)
_CRIT = const(2)
_ED25519 = const(-19)
_EDDSA = const(-8)  # deprecated (RFC 9864, 4.2.2), still what most others write
_MAX_SIZE = const(8192)


class CoseError(ValueError):
    """Says why a message is refused."""


def sign1(signer, payload, aad):
    """`cose.sign1_async` without an event loop."""
    if not isinstance(signer, Signer):
        signer = Signer(signer)
    protected = protected_header(_ED25519, signer.public)
    signature = signer.sign(sig_structure(protected, aad, payload))
    return cbor.dumps(cbor.Tag(_TAG, [protected, {}, payload, signature]))


def verify1(public_key, message, aad, profile=True):
    """The payload of a message that the owner of `public_key` signed together with `aad`.

    profile: hold it to docs/wire.md: the protected header has alg and this key's kid and nothing
        else, the unprotected one is empty, the whole is at most 8,192 bytes. Else any COSE_Sign1
        will do that carries its payload and demands nothing unknown; a kid may then be anything,
        and it is for the caller to have chosen the key.
    Raises CoseError for everything else, and nothing else.
    """
    payload, signed, signature = _parse(public_key, message, aad, profile)
    return _checked(payload, ed25519_verify.verify(public_key, signed, signature))


async def verify1_async(public_key, message, aad, profile=True):
    """The same, while the event loop runs."""
    payload, signed, signature = _parse(public_key, message, aad, profile)
    return _checked(payload, await ed25519_verify.verify_async(public_key, signed, signature))


def _checked(payload, good):
    if not good:
        raise CoseError("the signature is not good for this key and topic")
    return payload


def _parse(public_key, message, aad, profile):
    """(payload, what was signed, signature) of a message that is fit to be verified."""
    found = None
    try:
        if not profile or len(message) <= _MAX_SIZE:
            found = _parts(cbor.loads(message, max_depth=5, max_items=64), public_key, profile)
    except cbor.CborError:
        pass
    if not found:
        raise CoseError("malformed")
    protected, payload, signature = found
    return payload, sig_structure(protected, aad, payload), signature


def _parts(value, public_key, profile):
    """(protected header, payload, signature) of a decoded message, None if it is malformed."""
    if not isinstance(value, cbor.Tag) or value.tag != _TAG:
        return None
    value = value.value
    if not isinstance(value, list) or len(value) != 4:
        return None
    protected, unprotected, payload, signature = value
    for part in (protected, payload, signature):
        if not isinstance(part, bytes):
            return None
    if not isinstance(unprotected, dict) or len(signature) != 64:
        return None
    header = cbor.loads(protected, max_depth=3, max_items=64)
    alg = header.get(_ALG) if isinstance(header, dict) else None
    if not isinstance(alg, int) or alg not in (_ED25519, _EDDSA):
        return None
    if profile:
        good = not unprotected and protected == protected_header(alg, public_key)
    else:
        good = _CRIT not in header and _CRIT not in unprotected and _ALG not in unprotected
        good = good and not [label for label in unprotected if label in header]
    return (protected, payload, signature) if good else None
