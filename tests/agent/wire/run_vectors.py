"""Hold agent/wire to vector files; tests/vectors/README.md describes them.

Runs on CPython and on MicroPython, therefore in the words that both have:

    micropython tests/agent/wire/run_vectors.py tests/vectors/cbor-appendix-a.json ...

prints every failure and how many vectors were held to, and ends with 1 if one failed.
"""

import asyncio
import binascii
import json
import struct
import sys

from agent.wire import cbor, cose, ed25519, sha512

MICROPYTHON = sys.implementation.name == "micropython"


class Failed(Exception):
    """A vector does not hold; says how."""


def run(path):
    """Checks all vectors of one file: (how many, failures as a list of str)."""
    with open(path) as f:
        content = json.load(f)
    failures = []
    for i, vector in enumerate(content["vectors"]):
        vector = dict(content.get("defaults", {}), **vector)
        try:
            _CHECKS[vector["check"]](vector)
        except Failed as e:
            failures.append(f"{path}: vector {i}: {_title(vector)}: {e}")
        except Exception as e:
            failures.append(f"{path}: vector {i}: {_title(vector)}: raised {e!r}")
    return len(content["vectors"]), failures


def _title(vector):
    for key in ("name", "why", "hex", "message"):
        if key in vector:
            return str(vector[key])[:100]
    return vector["check"]


def _bytes(value):
    """The bytes of a vector's hex: a string, or a list of strings and of [string, times]."""
    if isinstance(value, str):
        return binascii.unhexlify(value)
    parts = [(part, 1) if isinstance(part, str) else part for part in value]
    return b"".join([binascii.unhexlify(part) * times for part, times in parts])


def _value(notation):
    """The Python value that a vector's notation stands for."""
    if isinstance(notation, list):
        return [_value(item) for item in notation]
    if not isinstance(notation, dict):
        return notation
    ((kind, content),) = notation.items()
    if kind == "bytes":
        return binascii.unhexlify(content)
    if kind == "float":
        return struct.unpack(">d", binascii.unhexlify(content))[0]
    if kind == "map":
        return {_value(key): _value(value) for key, value in content}
    if kind == "tag":
        return cbor.Tag(content[0], _value(content[1]))
    if kind == "simple":
        return cbor.Simple(content)
    raise Failed(f"unknown notation {kind}")


def _same(a, b):
    """Equality that tells 1 from 1.0, 1 from True, 0.0 from -0.0, and knows NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack(">d", a) == struct.pack(">d", b) or (a != a and b != b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all([_same(a[i], b[i]) for i in range(len(a))])
    if isinstance(a, dict) and isinstance(b, dict):
        return len(a) == len(b) and all([key in b and _same(a[key], b[key]) for key in a])
    if isinstance(a, cbor.Tag) and isinstance(b, cbor.Tag):
        return a.tag == b.tag and _same(a.value, b.value)
    return type(a) is type(b) and a == b


def _expect(condition, what):
    if not condition:
        raise Failed(what)


def _cbor_refuses(data, strict):
    try:
        cbor.loads(data, strict)
    except cbor.CborError as e:
        _expect(len(str(e)) > 5, "an error without words")
        return True
    return False


def _check_cbor(vector):
    data = _bytes(vector["hex"])
    value = _value(vector["value"])
    decoded = cbor.loads(data, False)
    _expect(_same(decoded, value), f"decodes to {decoded!r}")
    _expect(_same(cbor.loads(memoryview(bytearray(data)), False), value), "not from a memoryview")
    if vector.get("deterministic", True):
        decoded = cbor.loads(data)
        _expect(_same(decoded, value), f"decodes strictly to {decoded!r}")
        encoded = cbor.dumps(value)
        _expect(encoded == data, f"encodes as {binascii.hexlify(encoded)}")
    else:
        _expect(_cbor_refuses(data, True), "is accepted as deterministic")
    for strict in (True, False):
        for n in range(len(data)):
            _expect(_cbor_refuses(data[:n], strict), f"is accepted when cut to {n} bytes")
        _expect(_cbor_refuses(data + b"\0", strict), "is accepted with a byte after it")


def _check_cbor_refused(vector):
    data = _bytes(vector["hex"])
    _expect(_cbor_refuses(data, True), "is accepted")
    accepted = not _cbor_refuses(data, False)
    if vector.get("strict_only", False):
        _expect(accepted, "is refused even where it need not be deterministic")
    else:
        _expect(not accepted, "is accepted where it need not be deterministic")


def _check_sha512(vector):
    message = _bytes(vector["message"])
    digest = _bytes(vector["digest"])
    times = vector.get("repeat", 1)
    if times > 1:
        if MICROPYTHON:
            return  # takes seconds; what it would show, shorter messages in parts show as well
        _expect(_last(sha512.pure_steps([message] * times)) == digest, "wrong digest")
        return
    _expect(sha512.sha512(message) == digest, "wrong digest")
    _expect(_last(sha512.pure_steps((message,))) == digest, "wrong digest in pure Python")
    n = len(message)
    parts = (message[: n // 3], b"", memoryview(message)[n // 3 : n - 1], bytearray(message[-1:]))
    if n > 1:
        _expect(_last(sha512.pure_steps(parts)) == digest, "wrong digest in parts")
        _expect(_last(sha512.steps(parts)) == digest, "wrong digest in parts")


def _last(steps):
    return list(steps)[-1]


def _check_ed25519_sign(vector):
    seed = _bytes(vector["seed"])
    message = _bytes(vector["message"])
    public = _bytes(vector["public"])
    signature = _bytes(vector["signature"])
    signer = ed25519.Signer(seed)
    _expect(signer.public == public, "wrong public key")
    _expect(ed25519.public_key(seed) == public, "wrong public key without Signer")
    _expect(signer.sign(message) == signature, "wrong signature")
    _expect(signer.sign(memoryview(message)) == signature, "wrong signature of a memoryview")
    _expect(ed25519.sign(seed, message) == signature, "wrong signature without Signer")
    _expect(asyncio.run(signer.sign_async(message)) == signature, "wrong when awaited")
    _expect(asyncio.run(ed25519.sign_async(seed, message)) == signature, "wrong when awaited")
    _expect(ed25519.verify(public, message, signature), "is not verified")
    _expect(ed25519.verify(public, bytearray(message), memoryview(signature)), "not as views")
    _expect(not ed25519.verify(public, message + b"\0", signature), "verified with a byte more")
    for n in range(64):
        _expect(not ed25519.verify(public, message, signature[:n]), f"verified cut to {n}")


def _check_ed25519_verify(vector):
    arguments = [_bytes(vector[key]) for key in ("public", "message", "signature")]
    valid = vector["valid"]
    _expect(ed25519.verify(*arguments) is valid, "verified" if not valid else "not verified")
    _expect(asyncio.run(ed25519.verify_async(*arguments)) is valid, "otherwise when awaited")


def _check_cose_sign(vector):
    seed = _bytes(vector["seed"])
    signer = ed25519.Signer(seed)
    payload = _bytes(vector["payload"])
    aad = _bytes(vector["aad"])
    message = _bytes(vector["message"])
    _expect(cose.sign1(signer, payload, aad) == message, "another message")
    _expect(cose.sign1(seed, memoryview(payload), bytearray(aad)) == message, "another by seed")
    for by in (signer, seed):
        _expect(asyncio.run(cose.sign1_async(by, payload, aad)) == message, "another awaited")
    _expect(cose.verify1(signer.public, message, aad) == payload, "is not verified")


def _cose_payload(public, message, aad, profile):
    """The payload, None if refused."""
    try:
        return cose.verify1(public, message, aad, profile)
    except cose.CoseError as e:
        _expect(len(str(e)) > 5, "an error without words")
        return None


async def _cose_payload_async(public, message, aad, profile):
    try:
        return await cose.verify1_async(public, message, aad, profile)
    except cose.CoseError:
        return None


def _check_cose_verify(vector):
    public = _bytes(vector["public"])
    message = _bytes(vector["message"])
    aad = _bytes(vector["aad"])
    profile = vector["profile"]
    expected = None if vector.get("refused", False) else _bytes(vector["payload"])
    _expect(_cose_payload(public, message, aad, profile) == expected, "not so")
    awaited = asyncio.run(_cose_payload_async(public, message, aad, profile))
    _expect(awaited == expected, "not so when awaited")
    if expected is None:
        return
    for n in range(len(message)):
        _expect(_cose_payload(public, message[:n], aad, profile) is None, f"good cut to {n}")
    if vector.get("every_byte", False):
        for i in range(len(message)):
            turned = bytearray(message)
            turned[i] ^= 1 << i % 8
            _expect(_cose_payload(public, turned, aad, profile) is None, f"good with {i} turned")


_CHECKS = {
    "cbor": _check_cbor,
    "cbor-refused": _check_cbor_refused,
    "sha512": _check_sha512,
    "ed25519-sign": _check_ed25519_sign,
    "ed25519-verify": _check_ed25519_verify,
    "cose-sign": _check_cose_sign,
    "cose-verify": _check_cose_verify,
}


def main(paths):
    """Checks the files and prints; returns 0 if all is well, 1 if not."""
    total = 0
    failed = 0
    for path in paths:
        count, failures = run(path)
        total += count
        failed += len(failures)
        for failure in failures:
            print(failure)
    print(f"{total} vectors, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
