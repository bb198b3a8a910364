"""Ed25519 (RFC 8032, 5.1), for devices that sign once in minutes and must not stand still then.

Every computation is a generator that yields None between pieces of work and at last its result, so
that the plain functions and the awaitable ones are the same code. The longest piece takes 0.3 ms
in signing and 0.4 ms in verifying on a desktop, and an estimated 80 times that on an ESP32.

Python's integers do not compute in constant time: whoever can time single operations on the
device, or read its memory, can learn the key.
"""

import os

from agent import compat
from agent.wire import sha512
from agent.wire.comb import COLUMNS, TABLE, TEETH

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
_D2 = 2 * _D % _P
_SQRT_M1 = 19681161376707505956807079304988542015446066515923890162744021073123829784752
_IDENTITY = (0, 1, 1, 0)  # extended coordinates X, Y, Z, T: x = X/Z, y = Y/Z, x y = T/Z


class Signer:
    """A private key, expanded once: `public` is its public key (32 bytes).

    seed: 32 bytes (the private key of RFC 8032). Raises ValueError for another length.
    `signer_async` makes one while the event loop runs.
    """

    def __init__(self, seed, _later=False):
        if len(seed) != 32:
            raise ValueError("a seed has 32 bytes, not %d" % len(seed))
        h = sha512.sha512(seed)
        self._scalar = (_number(h[:32]) & (1 << 254) - 8) | 1 << 254
        self._prefix = h[32:]
        if not _later:
            self.public = _result(_times_base(self._scalar))

    def sign(self, message):
        """The signature, 64 bytes, of `message` (bytes-like)."""
        return _result(self._steps(message))

    async def sign_async(self, message):
        """The same, while the event loop runs."""
        return await _result_async(self._steps(message))

    def _steps(self, message):
        for digest in sha512.steps((self._prefix, message)):
            yield None
        r = _number(digest) % _L
        for big_r in _times_base(r):
            yield None
        for digest in sha512.steps((big_r, self.public, message)):
            yield None
        s = (r + _number(digest) * self._scalar) % _L
        yield big_r + s.to_bytes(32, "little")


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
    signer = Signer(seed, True)
    signer.public = await _result_async(_times_base(signer._scalar))
    return signer


def verify(public_key, message, signature):
    """Whether `signature` (64 bytes) of `message` is by the owner of `public_key` (32 bytes).

    Strict, so that all verifiers agree: S < L; public key and R in their canonical encodings and
    not of small order; the equation without cofactor (RFC 8032, 5.1.7). Raises on no bytes at all.
    """
    return _result(_verify_steps(public_key, message, signature))


async def verify_async(public_key, message, signature):
    """The same, while the event loop runs."""
    return await _result_async(_verify_steps(public_key, message, signature))


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


def _result(steps):
    for result in steps:
        pass
    return result


async def _result_async(steps):
    for result in steps:
        await compat.sleep_ms(0)
    return result


def _number(data):
    return int.from_bytes(data, "little")


def _times_base(k, encode=True):
    """k times the base point: a generator that ends with its encoding, or the point itself.

    A signed comb over the table of comb.py: the bits b of (k + 2^260 - 1) / 2 mod L, taken as
    2 b - 1, sum up to k, and every column of them is one of 16 points or its negative.
    """
    k = (k + (1 << COLUMNS * 2 * TEETH) - 1) % _L
    bits = (k + _L * (k & 1) >> 1).to_bytes(33, "little")
    point = _IDENTITY
    for column in range(COLUMNS - 1, -1, -1):
        if column % 6 == 5:
            yield None
        point = _double(point)
        for half in range(2):
            j = 0
            at = column + COLUMNS * half
            for tooth in range(TEETH):
                j |= (bits[at >> 3] >> (at & 7) & 1) << tooth
                at += 2 * COLUMNS
            negative = j < 16
            if negative:
                j = ~j
            at = 64 * (16 * half + (j & 15))
            x = _number(TABLE[at : at + 32])
            y = _number(TABLE[at + 32 : at + 64])
            if negative:
                x = _P - x
            point = _add(point, (x, y, 1, x * y % _P))
    yield None
    yield _encode(point) if encode else point


def _add(point, other):
    """The sum of any two points (RFC 8032, 5.1.4)."""
    p = _P
    x, y, z, t = point
    x2, y2, z2, t2 = other
    a = (y - x) * (y2 - x2) % p
    b = (y + x) * (y2 + x2) % p
    c = t * t2 % p * _D2 % p
    d = 2 * z * z2 % p
    e = b - a
    f = d - c
    g = d + c
    h = b + a
    return e * f % p, g * h % p, f * g % p, e * h % p


def _double(point):
    """Twice a point (RFC 8032, 5.1.4, with the signs of F and H turned)."""
    p = _P
    x, y, z, t = point
    a = x * x % p
    b = y * y % p
    e = 2 * x * y % p
    g = b - a
    f = 2 * z * z % p - g
    h = a + b
    return e * f % p, g * h % p, f * g % p, e * h % p


def _times(k, point):
    """k times any point: a generator, by four bits at a time. Not for secrets."""
    multiples = [_IDENTITY, point]
    while len(multiples) < 16:
        multiples.append(_add(multiples[-1], point))
    sum_ = _IDENTITY
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


def _encode(point):
    """RFC 8032, 5.1.2."""
    x, y, z, _ = point
    z = _inverse(z)
    x = x * z % _P
    y = y * z % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


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


def _inverse(z):
    """1 / z mod p, by Euclid's algorithm, which is five times faster than a power. Its time
    depends on its input, which therefore is blinded."""
    blind = _number(os.urandom(32)) | 1
    a = z * blind % _P
    b = _P
    u = 1
    v = 0
    while a:
        q = b // a
        b, a = a, b - q * a
        v, u = u, v - q * u
    return v * blind % _P
