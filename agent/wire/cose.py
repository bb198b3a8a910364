"""COSE_Sign1 (RFC 9052, 4.2) with Ed25519 (RFC 9864), in the one shape that docs/wire.md allows:
18([<< {1: -19, 4: kid} >>, {}, payload, signature]).

What a device in the field seldom needs is in `cose_verify.py`, loaded when it is asked for:
`verify1`, `verify1_async`, `sign1`, and their CoseError.
"""

import hashlib

from agent.wire import cbor, ed25519


def __getattr__(name):  # of this module
    if name[0] == "_":
        raise AttributeError(name)
    from agent.wire import cose_verify

    return getattr(cose_verify, name)


def kid_of(public_key):
    """The key identifier, 8 bytes, of a 32-byte public key."""
    return hashlib.sha256(public_key).digest()[:8]


async def sign1_async(signer, payload, aad):
    """`payload` (bytes-like) signed together with `aad` (bytes-like), as the bytes of a message.

    signer: an ed25519.Signer, or the 32-byte seed of one.
    """
    if not isinstance(signer, ed25519.Signer):
        from agent.wire import ed25519_verify

        signer = await ed25519_verify.signer_async(signer)
    protected = protected_header(-19, signer.public)  # Ed25519
    signature = await signer.sign_async(sig_structure(protected, aad, payload))
    return cbor.dumps(cbor.Tag(18, [protected, {}, payload, signature]))


def protected_header(alg, public_key):
    return cbor.dumps({1: alg, 4: kid_of(public_key)})  # labels of RFC 9052, 3.1


def sig_structure(protected, aad, payload):
    """What is signed (RFC 9052, 4.4)."""
    return cbor.dumps(["Signature1", protected, aad, payload])
