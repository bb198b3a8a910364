"""The part of ed25519.py that a device seldom needs: it verifies, and signs by seed."""

from agent.device import interpreter
from agent.wire import sha512
from agent.wire.ed25519 import (
    _L, _P, Signer, _add, _double, _encode, _number, _times_base,
)  # fmt: skip

_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
_SQRT_M1 = 19681161376707505956807079304988542015446066515923890162744021073123829784752


def public_key(seed):
    """The public key, 32 bytes, of a 32-byte seed."""
    return Signer(seed).public


def sign(seed, message):
    """The signature, 64 bytes, of `message` by a 32-byte seed. A Signer takes half the time."""
    return Signer(seed).sign(message)


async def sign_async(seed, message):
    """The same, while the event loop runs."""
    return await (await signer_async(seed)).sign_async(message)


async def signer_async(seed):
    """A Signer, made while the event loop runs."""
    signer = Signer(seed, b"to be computed")
    for signer.public in _times_base(signer.scalar):
        await interpreter.sleep_ms(0)
    return signer


def verify(public_key, message, signature):
    """Whether `signature` (64 bytes) of `message` is by the owner of `public_key` (32 bytes).

    Strict, so that all verifiers agree: S < L; public key and R in their canonical encodings and
    not of small order; the equation without cofactor (RFC 8032, 5.1.7). Raises on no bytes at all.
    """
    return list(_verify_steps(public_key, message, signature))[-1]


async def verify_async(public_key, message, signature):
    """The same, while the event loop runs."""
    for good in _verify_steps(public_key, message, signature):
        await interpreter.sleep_ms(0)
    return good


def _verify_steps(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        yield False
        return
    s = _number(signature[32:])
    point = _decode(public)
    if s >= _L or point is None or _is_small(point):
        yield False
        return
    yield None
    for digest in sha512.steps((signature[:32], public, message)):
        yield None
    # R = s B - h A, so that it is enough to decode A; the encoding of the result is canonical.
    x, y, z, t = point
    for h_a in _times(_number(digest) % _L, (_P - x, y, z, _P - t)):
        yield None
    for s_b in _times_base(s, False):
        yield None
    r = _add(s_b, h_a)
    yield not _is_small(r) and _encode(r) == bytes(signature[:32])


def _times(k, point):
    """k times any point: a generator, by four bits at a time. Not for secrets."""
    multiples = [(0, 1, 1, 0), point]
    while len(multiples) < 16:
        multiples.append(_add(multiples[-1], point))
    sum_ = multiples[0]
    for byte in k.to_bytes(32, "big"):
        yield None
        for digit in (byte >> 4, byte & 15):
            for _ in range(4):
                sum_ = _double(sum_)
            sum_ = _add(sum_, multiples[digit])
    yield sum_


def _is_small(point):
    """Whether the point's order divides 8: then eight times it is the identity, whose x is 0."""
    return _double(_double(_double(point)))[0] == 0


def _decode(data):
    """RFC 8032, 5.1.3: the point, None where there is none or the encoding is not canonical."""
    y = _number(data)
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= _P:
        return None
    u = (y * y - 1) % _P
    v = (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * _root(u * pow(v, 7, _P) % _P) % _P
    square = v * x * x % _P
    if square != u:
        if square != _P - u:
            return None
        x = x * _SQRT_M1 % _P
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _root(z):
    """z^((p - 5) / 8) = z^(2^252 - 3), from one z^(2^n - 1) to the next: pow() alone would
    multiply once for every bit that is set, and take twice the time."""
    power = z
    n = 1
    for odd in b"\1\1\1\1\0\1\0":  # the bits of 250 after its first
        power = power * pow(power, 1 << n, _P) % _P
        n *= 2
        if odd:
            power = power * power * z % _P
            n += 1
    return pow(power, 4, _P) * z % _P
