"""SHA-512 (FIPS 180-4), in pieces between which other work can be done.

CPython brings its own. MicroPython has SHA-256 only, so there it is pure Python, in 16-bit limbs:
on a 32-bit port a small integer has 31 bits, and everything larger would be allocated on the
heap, a hundred thousand times for one signature.
"""

import hashlib
import struct
from array import array

# Round constants (4.2.3) and initial hash value (5.3.5), as little-endian words.
# tests/wire/make_sha512_tables.py computes them.
_K = (
    b"\x22\xae\x28\xd7\x98\x2f\x8a\x42\xcd\x65\xef\x23\x91\x44\x37\x71\x2f\x3b\x4d\xec\xcf\xfb"
    b"\xc0\xb5\xbc\xdb\x89\x81\xa5\xdb\xb5\xe9\x38\xb5\x48\xf3\x5b\xc2\x56\x39\x19\xd0\x05\xb6"
    b"\xf1\x11\xf1\x59\x9b\x4f\x19\xaf\xa4\x82\x3f\x92\x18\x81\x6d\xda\xd5\x5e\x1c\xab\x42\x02"
    b"\x03\xa3\x98\xaa\x07\xd8\xbe\x6f\x70\x45\x01\x5b\x83\x12\x8c\xb2\xe4\x4e\xbe\x85\x31\x24"
    b"\xe2\xb4\xff\xd5\xc3\x7d\x0c\x55\x6f\x89\x7b\xf2\x74\x5d\xbe\x72\xb1\x96\x16\x3b\xfe\xb1"
    b"\xde\x80\x35\x12\xc7\x25\xa7\x06\xdc\x9b\x94\x26\x69\xcf\x74\xf1\x9b\xc1\xd2\x4a\xf1\x9e"
    b"\xc1\x69\x9b\xe4\xe3\x25\x4f\x38\x86\x47\xbe\xef\xb5\xd5\x8c\x8b\xc6\x9d\xc1\x0f\x65\x9c"
    b"\xac\x77\xcc\xa1\x0c\x24\x75\x02\x2b\x59\x6f\x2c\xe9\x2d\x83\xe4\xa6\x6e\xaa\x84\x74\x4a"
    b"\xd4\xfb\x41\xbd\xdc\xa9\xb0\x5c\xb5\x53\x11\x83\xda\x88\xf9\x76\xab\xdf\x66\xee\x52\x51"
    b"\x3e\x98\x10\x32\xb4\x2d\x6d\xc6\x31\xa8\x3f\x21\xfb\x98\xc8\x27\x03\xb0\xe4\x0e\xef\xbe"
    b"\xc7\x7f\x59\xbf\xc2\x8f\xa8\x3d\xf3\x0b\xe0\xc6\x25\xa7\x0a\x93\x47\x91\xa7\xd5\x6f\x82"
    b"\x03\xe0\x51\x63\xca\x06\x70\x6e\x0e\x0a\x67\x29\x29\x14\xfc\x2f\xd2\x46\x85\x0a\xb7\x27"
    b"\x26\xc9\x26\x5c\x38\x21\x1b\x2e\xed\x2a\xc4\x5a\xfc\x6d\x2c\x4d\xdf\xb3\x95\x9d\x13\x0d"
    b"\x38\x53\xde\x63\xaf\x8b\x54\x73\x0a\x65\xa8\xb2\x77\x3c\xbb\x0a\x6a\x76\xe6\xae\xed\x47"
    b"\x2e\xc9\xc2\x81\x3b\x35\x82\x14\x85\x2c\x72\x92\x64\x03\xf1\x4c\xa1\xe8\xbf\xa2\x01\x30"
    b"\x42\xbc\x4b\x66\x1a\xa8\x91\x97\xf8\xd0\x70\x8b\x4b\xc2\x30\xbe\x54\x06\xa3\x51\x6c\xc7"
    b"\x18\x52\xef\xd6\x19\xe8\x92\xd1\x10\xa9\x65\x55\x24\x06\x99\xd6\x2a\x20\x71\x57\x85\x35"
    b"\x0e\xf4\xb8\xd1\xbb\x32\x70\xa0\x6a\x10\xc8\xd0\xd2\xb8\x16\xc1\xa4\x19\x53\xab\x41\x51"
    b"\x08\x6c\x37\x1e\x99\xeb\x8e\xdf\x4c\x77\x48\x27\xa8\x48\x9b\xe1\xb5\xbc\xb0\x34\x63\x5a"
    b"\xc9\xc5\xb3\x0c\x1c\x39\xcb\x8a\x41\xe3\x4a\xaa\xd8\x4e\x73\xe3\x63\x77\x4f\xca\x9c\x5b"
    b"\xa3\xb8\xb2\xd6\xf3\x6f\x2e\x68\xfc\xb2\xef\x5d\xee\x82\x8f\x74\x60\x2f\x17\x43\x6f\x63"
    b"\xa5\x78\x72\xab\xf0\xa1\x14\x78\xc8\x84\xec\x39\x64\x1a\x08\x02\xc7\x8c\x28\x1e\x63\x23"
    b"\xfa\xff\xbe\x90\xe9\xbd\x82\xde\xeb\x6c\x50\xa4\x15\x79\xc6\xb2\xf7\xa3\xf9\xbe\x2b\x53"
    b"\x72\xe3\xf2\x78\x71\xc6\x9c\x61\x26\xea\xce\x3e\x27\xca\x07\xc2\xc0\x21\xc7\xb8\x86\xd1"
    b"\x1e\xeb\xe0\xcd\xd6\x7d\xda\xea\x78\xd1\x6e\xee\x7f\x4f\x7d\xf5\xba\x6f\x17\x72\xaa\x67"
    b"\xf0\x06\xa6\x98\xc8\xa2\xc5\x7d\x63\x0a\xae\x0d\xf9\xbe\x04\x98\x3f\x11\x1b\x47\x1c\x13"
    b"\x35\x0b\x71\x1b\x84\x7d\x04\x23\xf5\x77\xdb\x28\x93\x24\xc7\x40\x7b\xab\xca\x32\xbc\xbe"
    b"\xc9\x15\x0a\xbe\x9e\x3c\x4c\x0d\x10\x9c\xc4\x67\x1d\x43\xb6\x42\x3e\xcb\xbe\xd4\xc5\x4c"
    b"\x2a\x7e\x65\xfc\x9c\x29\x7f\x59\xec\xfa\xd6\x3a\xab\x6f\xcb\x5f\x17\x58\x47\x4a\x8c\x19"
    b"\x44\x6c"
)
_INITIAL = (
    b"\x08\xc9\xbc\xf3\x67\xe6\x09\x6a\x3b\xa7\xca\x84\x85\xae\x67\xbb\x2b\xf8\x94\xfe\x72\xf3"
    b"\x6e\x3c\xf1\x36\x1d\x5f\x3a\xf5\x4f\xa5\xd1\x82\xe6\xad\x7f\x52\x0e\x51\x1f\x6c\x3e\x2b"
    b"\x8c\x68\x05\x9b\x6b\xbd\x41\xfb\xab\xd9\x83\x1f\x79\x21\x7e\x13\x19\xcd\xe0\x5b"
)


# The constants as limbs, and a block's schedule: two pieces of 640 bytes, which are made once. On
# a heap that has been in use for weeks they may not be found again. Nothing of a hash is left in
# the schedule from one block to the next, so that hashes may take turns.
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
    state = _limbs(_INITIAL)
    if not _tables:
        _tables.append(_limbs(_K))
        _tables.append(array("H", bytes(640)))
    constants, schedule = _tables
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
    limbs = array("H", bytes(len(words)))
    for i in range(len(words) // 2):
        limbs[i] = words[2 * i] | words[2 * i + 1] << 8
    return limbs


def _native_steps(parts):
    yield hashlib.sha512(b"".join(parts)).digest()  # type: ignore[attr-defined,unused-ignore]


steps = _native_steps if hasattr(hashlib, "sha512") else pure_steps


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
            t0 = w[i - 8]
            t1 = w[i - 7]
            t2 = w[i - 6]
            t3 = w[i - 5]
            y0 = t0 | (t1 & n) << 16
            y1 = t1 | (t2 & n) << 16
            y2 = t2 | (t3 & n) << 16
            y3 = t3 | (t0 & n) << 16
            s0 += ((y1 >> 3 ^ y3 >> 13 ^ y0 >> 6) & m) + w[i - 64] + w[i - 28]
            s1 += ((y2 >> 3 ^ y0 >> 13 ^ y1 >> 6) & m) + w[i - 63] + w[i - 27] + (s0 >> 16)
            s2 += ((y3 >> 3 ^ y1 >> 13 ^ y2 >> 6) & m) + w[i - 62] + w[i - 26] + (s1 >> 16)
            s3 += ((y0 >> 3 ^ y2 >> 13 ^ t3 >> 6) & m) + w[i - 61] + w[i - 25] + (s2 >> 16)
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
