"""Ed25519 (RFC 8032, 5.1), for devices that sign once in minutes and must not stand still then.

Every computation is a generator that yields None between pieces of work and at last its result, so
that the plain functions and the awaitable ones are the same code. The longest piece takes 0.3 ms
in signing and 0.4 ms in verifying on a desktop, and an estimated 80 times that on an ESP32.

Python's integers do not compute in constant time: whoever can time single operations on the
device, or read its memory, can learn the key.

What a device in the field seldom needs is in `ed25519_verify.py`, loaded when it is asked for:
`verify`, `verify_async`, and what begins with a seed: `public_key`, `sign`, `sign_async`,
`signer_async`.
"""

import os

from agent.device import interpreter
from agent.wire import sha512
from agent.wire.comb import COLUMNS, TABLE, TEETH

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D2 = 2 * 37095705934669439343138083508754565189542113879843219016388785533085940283555 % _P  # 2 d


def __getattr__(name):  # of this module
    if name[0] == "_":
        raise AttributeError(name)
    from agent.wire import ed25519_verify

    return getattr(ed25519_verify, name)


class Signer:
    """A private key, expanded once: `public` is its public key (32 bytes).

    seed: 32 bytes (the private key of RFC 8032). Raises ValueError for another length.
    `signer_async` makes one while the event loop runs.
    """

    def __init__(self, seed, public=None):
        if len(seed) != 32:
            raise ValueError("a seed has 32 bytes, not %d" % len(seed))
        h0 = sha512.sha512(seed)
        self.scalar = (_number(h0[:32]) & (1 << 254) - 8) | 1 << 254
        self._prefix = h0[32:]
        self.public = public or list(_times_base(self.scalar))[-1]

    def sign(self, message):
        """The signature, 64 bytes, of `message` (bytes-like)."""
        return list(self._steps(message))[-1]

    async def sign_async(self, message):
        """The same, while the event loop runs."""
        for signature in self._steps(message):
            await interpreter.sleep_ms(0)
        return signature

    def _steps(self, message):
        for digest in sha512.steps((self._prefix, message)):
            yield None
        r = _number(digest) % _L
        for first in _times_base(r):
            yield None
        for digest in sha512.steps((first, self.public, message)):
            yield None
        s = (r + _number(digest) * self.scalar) % _L
        yield first + s.to_bytes(32, "little")


def _number(data):
    return int.from_bytes(data, "little")


def _times_base(k, encode=True):
    """k times the base point: a generator that ends with its encoding, or the point itself.

    A signed comb over the table of comb.py: the bits b of (k + 2^260 - 1) / 2 mod L, taken as
    2 b - 1, sum up to k, and every column of them is one of 16 points or its negative.
    """
    k = (k + (1 << COLUMNS * 2 * TEETH) - 1) % _L
    bits = (k + _L * (k & 1) >> 1).to_bytes(33, "little")
    point = (0, 1, 1, 0)  # extended coordinates X, Y, Z, T: x = X/Z, y = Y/Z, x y = T/Z
    for column in range(COLUMNS - 1, -1, -1):
        if column % 6 == 5:
            yield None
        point = _double(point)
        for half in range(2):
            i = 0
            at = column + COLUMNS * half
            for tooth in range(TEETH):
                i |= (bits[at >> 3] >> (at & 7) & 1) << tooth
                at += 2 * COLUMNS
            negative = i < 16
            if negative:
                i = ~i
            at = 64 * (16 * half + (i & 15))
            x = _number(TABLE[at : at + 32])
            y = _number(TABLE[at + 32 : at + 64])
            if negative:
                x = _P - x
            point = _add(point, (x, y, 1, x * y % _P))
    yield None
    yield _encode(point) if encode else point


def _add(point, other):
    """The sum of any two points (RFC 8032, 5.1.4)."""
    m = _P
    x, y, z, t = point
    a2, y2, c2, d2 = other
    a = (y - x) * (y2 - a2) % m
    b0 = (y + x) * (y2 + a2) % m
    c = t * d2 % m * _D2 % m
    d0 = 2 * z * c2 % m
    e = b0 - a
    f = d0 - c
    g = d0 + c
    h0 = b0 + a
    return e * f % m, g * h0 % m, f * g % m, e * h0 % m


def _double(point):
    """Twice a point (RFC 8032, 5.1.4, with the signs of F and H turned)."""
    m = _P
    x, y, z, t = point
    a = x * x % m
    b0 = y * y % m
    e = 2 * x * y % m
    g = b0 - a
    f = 2 * z * z % m - g
    h0 = a + b0
    return e * f % m, g * h0 % m, f * g % m, e * h0 % m


def _encode(point):
    """RFC 8032, 5.1.2."""
    x, y, z, _ = point
    # 1 / z by Euclid's algorithm, which is five times faster than a power. Its time depends on
    # its input, which therefore is blinded.
    blind = _number(os.urandom(32)) | 1
    a = z * blind % _P
    b0 = _P
    s0 = 1
    v = 0
    while a:
        n = b0 // a
        b0, a = a, b0 - n * a
        v, s0 = s0, v - n * s0
    z = v * blind % _P
    return (y * z % _P | (x * z % _P & 1) << 255).to_bytes(32, "little")
