"""Ed25519 as the textbook has it: double-and-add over Python's integers, nothing precomputed.

What one would write from RFC 8032, 5.1 to compare with; runs on MicroPython.
"""

from agent.wire.sha512 import sha512

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_BY = 4 * pow(5, _P - 2, _P) % _P
_BX = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE = (_BX, _BY, 1, _BX * _BY % _P)


def _add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times_base(k):
    result = (0, 1, 1, 0)
    point = _BASE
    while k:
        if k & 1:
            result = _add(result, point)
        point = _add(point, point)
        k >>= 1
    z = pow(result[2], _P - 2, _P)
    x, y = result[0] * z % _P, result[1] * z % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def expand(seed):
    """(scalar, prefix, public key) of a seed of 32 bytes."""
    h = sha512(seed)
    scalar = int.from_bytes(h[:32], "little") & (1 << 254) - 8 | 1 << 254
    return scalar, h[32:], _times_base(scalar)


def sign(key, message):
    """The signature, 64 bytes, by what `expand` has returned."""
    scalar, prefix, public = key
    r = int.from_bytes(sha512(prefix + message), "little") % _L
    big_r = _times_base(r)
    k = int.from_bytes(sha512(big_r + public + message), "little") % _L
    return big_r + ((r + k * scalar) % _L).to_bytes(32, "little")
