"""SHA-512 (FIPS 180-4), in pieces between which other work can be done.

CPython brings its own. MicroPython has SHA-256 only, so there it is pure Python, in 16-bit limbs:
on a 32-bit port a small integer has 31 bits, and everything larger would be allocated on the
heap, a hundred thousand times for one signature.
"""

import hashlib
import struct
from array import array

from agent.device import heap, interpreter

# The initial hash value and the constants as limbs, and a block's schedule: pieces of up to 640
# bytes, which are made once. On a heap that has been in use for weeks they may not be found again.
# Nothing of a hash is left in the schedule from one block to the next, so that hashes may take
# turns.
_tables = []


def sha512(data):
    """The digest of `data` (bytes-like), 64 bytes."""
    for digest in steps((data,)):
        pass
    return digest


def pure_steps(parts):
    """Hash the concatenation of `parts` (bytes-likes): a generator of None after each block of 128
    bytes and at last of the digest. A step takes 0.25 ms on a desktop; 20 ms is the estimate for
    an ESP32."""
    if not _tables:
        table = heap.seldom("agent.wire.sha512_tables").TABLE
        _tables.append(_limbs(table[:64]))
        _tables.append(_limbs(table[64:]))
        _tables.append(array("H", bytes(640)))
        del table
    first, constants, schedule = _tables
    state = first[:]
    block = bytearray(128)
    view = memoryview(block)
    fill = 0
    total = 0
    for part in parts:
        part = memoryview(part)
        total += len(part)
        at = 0
        while at < len(part):
            n = min(128 - fill, len(part) - at)
            view[fill : fill + n] = part[at : at + n]
            fill += n
            at += n
            if fill == 128:
                _compress(state, schedule, constants, block)
                fill = 0
                yield None
    # Padding (5.1.2): a one bit, zeros, the length in bits as 128-bit number.
    block[fill] = 0x80
    view[fill + 1 :] = bytes(127 - fill)
    if fill >= 112:
        _compress(state, schedule, constants, block)
        yield None
        block = bytearray(128)
    block[120:] = struct.pack(">Q", total << 3)
    _compress(state, schedule, constants, block)
    yield None
    yield struct.pack(">32H", *[state[i ^ 3] for i in range(32)])


def _limbs(words):
    """Little-endian words as limbs; one by one, since a tuple of all takes 2.5 KB at once."""
    out = array("H", bytes(len(words)))
    for i in range(len(words) // 2):
        out[i] = words[2 * i] | words[2 * i + 1] << 8
    return out


if interpreter.MICROPYTHON:
    steps = pure_steps
else:

    def steps(parts):
        yield hashlib.sha512(b"".join(parts)).digest()  # type: ignore[attr-defined,unused-ignore]


def _compress(state, w, k, block):
    """One block (6.4.2). `state`, `w` and `k` hold 64-bit words as four limbs, the lowest first.

    A word's limbs x0..x3 give four windows y0..y3 of 30 bits, each a limb and the lower 14 bits
    of the next one up (of x0 after x3). Limb i of the word rotated right by 16 q + r is then the
    lower 16 bits of y[i + q] >> r, as long as r <= 14, which holds for all of SHA-512's rotations.
    No value reaches 2^30.
    """
    # MicroPython reaches the first 16 local names fastest.
    m = 0xFFFF
    n = 0x3FFF
    y0 = y1 = y2 = y3 = 0
    s0 = s1 = s2 = s3 = 0
    a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3 = state[:16]
    e0, e1, e2, e3, f0, f1, f2, f3, g0, g1, g2, g3, h0, h1, h2, h3 = state[16:]
    for i in range(64):
        at = i // 4 * 8 + 6 - i % 4 * 2
        w[i] = block[at] << 8 | block[at + 1]

    for i in range(0, 320, 4):
        if i < 64:
            s0 = w[i]
            s1 = w[i + 1]
            s2 = w[i + 2]
            s3 = w[i + 3]
        else:
            # w[t] = s1(w[t-2]) + w[t-7] + s0(w[t-15]) + w[t-16]
            s0 = w[i - 60]
            s1 = w[i - 59]
            s2 = w[i - 58]
            s3 = w[i - 57]
            y0 = s0 | (s1 & n) << 16
            y1 = s1 | (s2 & n) << 16
            y2 = s2 | (s3 & n) << 16
            y3 = s3 | (s0 & n) << 16
            s0 = (y0 >> 1 ^ y0 >> 8 ^ y0 >> 7) & m
            s1 = (y1 >> 1 ^ y1 >> 8 ^ y1 >> 7) & m
            s2 = (y2 >> 1 ^ y2 >> 8 ^ y2 >> 7) & m
            s3 = (y3 >> 1 ^ y3 >> 8 ^ s3 >> 7) & m
            y0 = w[i - 8] | (w[i - 7] & n) << 16
            y1 = w[i - 7] | (w[i - 6] & n) << 16
            y2 = w[i - 6] | (w[i - 5] & n) << 16
            y3 = w[i - 5] | (w[i - 8] & n) << 16
            s0 += ((y1 >> 3 ^ y3 >> 13 ^ y0 >> 6) & m) + w[i - 64] + w[i - 28]
            s1 += ((y2 >> 3 ^ y0 >> 13 ^ y1 >> 6) & m) + w[i - 63] + w[i - 27] + (s0 >> 16)
            s2 += ((y3 >> 3 ^ y1 >> 13 ^ y2 >> 6) & m) + w[i - 62] + w[i - 26] + (s1 >> 16)
            s3 += ((y0 >> 3 ^ y2 >> 13 ^ w[i - 5] >> 6) & m) + w[i - 61] + w[i - 25] + (s2 >> 16)
            s0 &= m
            s1 &= m
            s2 &= m
            s3 &= m
            w[i] = s0
            w[i + 1] = s1
            w[i + 2] = s2
            w[i + 3] = s3

        # T1 = h + S1(e) + Ch(e, f, g) + k[t] + w[t]
        y0 = e0 | (e1 & n) << 16
        y1 = e1 | (e2 & n) << 16
        y2 = e2 | (e3 & n) << 16
        y3 = e3 | (e0 & n) << 16
        s0 += h0 + ((y0 >> 14 ^ y1 >> 2 ^ y2 >> 9) & m) + (g0 ^ e0 & (f0 ^ g0)) + k[i]
        s1 += h1 + ((y1 >> 14 ^ y2 >> 2 ^ y3 >> 9) & m) + (g1 ^ e1 & (f1 ^ g1)) + k[i + 1]
        s2 += h2 + ((y2 >> 14 ^ y3 >> 2 ^ y0 >> 9) & m) + (g2 ^ e2 & (f2 ^ g2)) + k[i + 2]
        s3 += h3 + ((y3 >> 14 ^ y0 >> 2 ^ y1 >> 9) & m) + (g3 ^ e3 & (f3 ^ g3)) + k[i + 3]
        h0 = g0
        h1 = g1
        h2 = g2
        h3 = g3
        g0 = f0
        g1 = f1
        g2 = f2
        g3 = f3
        f0 = e0
        f1 = e1
        f2 = e2
        f3 = e3
        # e = d + T1
        e0 = d0 + s0
        e1 = d1 + s1 + (e0 >> 16)
        e2 = d2 + s2 + (e1 >> 16)
        e3 = d3 + s3 + (e2 >> 16) & m
        e0 &= m
        e1 &= m
        e2 &= m
        # a = T1 + S0(a) + Maj(a, b, c)
        y0 = a0 | (a1 & n) << 16
        y1 = a1 | (a2 & n) << 16
        y2 = a2 | (a3 & n) << 16
        y3 = a3 | (a0 & n) << 16
        s0 += ((y1 >> 12 ^ y2 >> 2 ^ y2 >> 7) & m) + ((a0 | b0) & c0 | a0 & b0)
        s1 += ((y2 >> 12 ^ y3 >> 2 ^ y3 >> 7) & m) + ((a1 | b1) & c1 | a1 & b1) + (s0 >> 16)
        s2 += ((y3 >> 12 ^ y0 >> 2 ^ y0 >> 7) & m) + ((a2 | b2) & c2 | a2 & b2) + (s1 >> 16)
        s3 += ((y0 >> 12 ^ y1 >> 2 ^ y1 >> 7) & m) + ((a3 | b3) & c3 | a3 & b3) + (s2 >> 16)
        d0 = c0
        d1 = c1
        d2 = c2
        d3 = c3
        c0 = b0
        c1 = b1
        c2 = b2
        c3 = b3
        b0 = a0
        b1 = a1
        b2 = a2
        b3 = a3
        a0 = s0 & m
        a1 = s1 & m
        a2 = s2 & m
        a3 = s3 & m

    i = 0
    for s0 in (a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3):
        w[i] = s0
        i += 1
    for s0 in (e0, e1, e2, e3, f0, f1, f2, f3, g0, g1, g2, g3, h0, h1, h2, h3):
        w[i] = s0
        i += 1
    for i in range(32):
        s0 = state[i] + w[i] + (0 if i % 4 == 0 else s0 >> 16)
        state[i] = s0 & m
