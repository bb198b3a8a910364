"""The part of CBOR that neither reports nor acks hold; see cbor.py, which loads this when needed.

Floats, simple values, bignums that are read, indefinite lengths, text beyond ASCII. A port with
single-precision floats reads doubles rounded, shortest or not.
"""

import struct

from agent.device.interpreter import const
from agent.wire.cbor import CborError, write_head

_BYTES = const(0x40)  # major types, already shifted
_MAP = const(0xA0)
_TAG = const(0xC0)
_SIMPLE = const(0xE0)
_BREAK = const(0xFF)

_DOUBLE = 1.0 + 1e-12 != 1.0


class Simple:
    """A simple value (3.3) other than false, true and null: `n` from 0 to 19, 23 or 32 to 255."""

    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return isinstance(other, Simple) and self.n == other.n


UNDEFINED = Simple(23)


def write(out, value):
    if isinstance(value, float):
        out.extend(_float(value))
    elif not isinstance(value, Simple):
        raise CborError("can't encode a %s" % type(value).__name__)
    elif value.n in (20, 21, 22) or 24 <= value.n < 32:
        raise CborError("can't encode simple value %d" % value.n)
    else:
        write_head(out, _SIMPLE, value.n)


def write_bignum(out, major, n):
    """A byte string under tag 2 or 3 (3.4.3)."""
    out.append(_TAG | 2 | major >> 5)
    size = 9
    while n >> 8 * size:
        size += 1
    write_head(out, _BYTES, size)
    out.extend(n.to_bytes(size, "big"))


def _float(value):
    """The shortest encoding that keeps the value; every NaN becomes the one of Appendix A."""
    if value != value:
        return b"\xf9\x7e\x00"
    try:
        single = struct.pack(">f", value)
    except OverflowError:  # CPython; MicroPython makes it infinite
        return b"\xfb" + struct.pack(">d", value)
    if struct.unpack(">f", single)[0] != value:
        return b"\xfb" + struct.pack(">d", value)
    # Not struct's "e": MicroPython 1.24 does not have it.
    exponent = ((single[0] & 0x7F) << 1 | single[1] >> 7) - 112
    fraction = (single[1] & 0x7F) << 16 | single[2] << 8 | single[3]
    half = None
    if exponent == -112 and fraction == 0:
        half = 0
    elif exponent == 143:
        half = 0x7C00
    elif 0 < exponent < 31:
        if not fraction & 0x1FFF:
            half = exponent << 10 | fraction >> 13
    elif -10 <= exponent <= 0:
        fraction |= 0x800000
        if not fraction & (1 << 14 - exponent) - 1:
            half = fraction >> 14 - exponent
    if half is None:
        return b"\xfa" + single
    return bytes((0xF9, single[0] & 0x80 | half >> 8, half & 0xFF))


def _half(n):
    """The value of a half-precision float's 16 bits."""
    exponent = n >> 10 & 31
    fraction = n & 0x3FF
    if exponent == 31:
        value = float("nan" if fraction else "inf")
    elif exponent:
        value = (fraction | 0x400) * 2.0 ** (exponent - 25)
    else:
        value = fraction * 2.0**-24
    return -value if n & 0x8000 else value


def simple(reader, info, start):
    """The rest of a simple value or a float."""
    if info < 24:
        return UNDEFINED if info == 23 else Simple(info)
    if info > 27:
        reader.fail("malformed", start)
    encoded = reader.take(1 << info - 24)
    if info == 24:
        if encoded[0] < 32:
            reader.fail("malformed", start)
        return Simple(encoded[0])
    if info == 25:
        value = _half(int.from_bytes(encoded, "big"))
    else:
        value = struct.unpack(">f" if info == 26 else ">d", encoded)[0]
    if reader.strict and (info < 27 or _DOUBLE) and _float(value)[1:] != encoded:
        reader.fail("malformed", start)
    return value


def check_indefinite(reader, first, start):
    """Let a first byte with additional information above 27 pass only as an indefinite length."""
    if first & 31 != 31 or not _BYTES <= first <= _MAP | 31:
        reader.fail("malformed", start)
    if reader.strict:
        reader.fail("malformed", start)


def chunks(reader, major):
    """The rest of an indefinite-length string (3.2.3): definite ones of its type, a break."""
    parts = []
    while True:
        start = reader.pos
        first = reader.take(1)[0]
        if first == _BREAK:
            return (b"" if major == _BYTES else "").join(parts)
        if first & 0xE0 != major or first & 31 == 31:
            reader.fail("malformed", start)
        reader.pos = start
        parts.append(reader.item(0))


def bignum(reader, number, value, start):
    """The integer whose tag is `number` and content `value` (3.4.3)."""
    if not isinstance(value, bytes):
        reader.fail("bignum", start)
    if reader.strict and (len(value) < 9 or value[0] == 0):
        reader.fail("malformed", start)
    n = int.from_bytes(value, "big")
    return n if number == 2 else -1 - n


def check_utf8(reader, raw, start):
    """RFC 3629. MicroPython's decoder takes overlong forms, surrogates and beyond U+10FFFF."""
    need = 0
    low = 0x80
    high = 0xBF
    for byte in raw:
        if need:
            if not low <= byte <= high:
                break
            need -= 1
            low = 0x80
            high = 0xBF
        elif byte >= 0x80:
            need = 1 + (byte >= 0xE0) + (byte >= 0xF0)
            if not 0xC2 <= byte <= 0xF4:
                break
            if byte == 0xE0:
                low = 0xA0
            elif byte == 0xED:
                high = 0x9F
            elif byte == 0xF0:
                low = 0x90
            elif byte == 0xF4:
                high = 0x8F
    if need:
        reader.fail("not UTF-8", start)
