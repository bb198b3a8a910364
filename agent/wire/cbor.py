"""CBOR (RFC 8949): encodes deterministically, decodes what strangers send and is not hurt by it.

`dumps` writes core deterministic encoding (4.2.1): shortest heads and floats, definite lengths,
map keys in bytewise order. `loads` by default accepts nothing else, so that a value has exactly
one encoding. Integers have any size (beyond 64 bits as bignums), map keys are integers or
strings, and what Python has no type for becomes a `Tag` or a `Simple`.

A port with single-precision floats reads doubles rounded, shortest or not.
"""

import struct

from agent.compat import const

_INT = const(0x00)  # major types, already shifted
_NEGATIVE = const(0x20)
_BYTES = const(0x40)
_TEXT = const(0x60)
_ARRAY = const(0x80)
_MAP = const(0xA0)
_TAG = const(0xC0)
_SIMPLE = const(0xE0)
_BREAK = const(0xFF)

_MAX_DEPTH = const(8)
_MAX_ITEMS = const(4096)

# The least value that needs a head's argument of 1, 2, 4 and 8 bytes.
_LEAST = (24, 0x100, 0x10000, 0x100000000)
_DOUBLE = 1.0 + 1e-12 != 1.0


class CborError(ValueError):
    """Says what is wrong and, on decoding, at which offset."""


class Tag:
    """A tagged item (3.4): `tag` is its number, `value` its content."""

    def __init__(self, tag, value):
        self.tag = tag
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Tag) and self.tag == other.tag and self.value == other.value


class Simple:
    """A simple value (3.3) other than false, true and null: `n` from 0 to 19, 23 or 32 to 255."""

    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return isinstance(other, Simple) and self.n == other.n


UNDEFINED = Simple(23)


def dumps(value, max_depth=_MAX_DEPTH):
    """The deterministic encoding of `value` as bytes.

    Takes None, bool, int, float, str, bytes-likes, list, tuple, dict, Tag and Simple. Raises
    CborError for any other type, for a map key that is neither integer nor string, and for more
    than `max_depth` containers and tags inside one another.
    """
    out = bytearray()
    _write(out, value, max_depth)
    return bytes(out)


def _write(out, value, depth):
    if value is None:
        out.append(0xF6)
    elif value is True:
        out.append(0xF5)
    elif value is False:
        out.append(0xF4)
    elif isinstance(value, int):
        _write_int(out, value)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        _write_head(out, _BYTES, len(value))
        out.extend(value)
    elif isinstance(value, str):
        try:
            value = value.encode()
        except UnicodeError:
            raise CborError("can't encode text that is not Unicode")
        _write_head(out, _TEXT, len(value))
        out.extend(value)
    elif isinstance(value, float):
        out.extend(_float(value))
    elif isinstance(value, Simple):
        if value.n in (20, 21, 22) or 24 <= value.n < 32:
            raise CborError("can't encode simple value %d" % value.n)
        _write_head(out, _SIMPLE, value.n)
    elif not isinstance(value, (list, tuple, dict, Tag)):
        raise CborError("can't encode a %s" % type(value).__name__)
    elif depth == 0:
        raise CborError("too deeply nested")
    elif isinstance(value, dict):
        _write_map(out, value, depth - 1)
    elif isinstance(value, Tag):
        _write_head(out, _TAG, value.tag)
        _write(out, value.value, depth - 1)
    else:
        _write_head(out, _ARRAY, len(value))
        for item in value:
            _write(out, item, depth - 1)


def _write_map(out, value, depth):
    pairs = []
    for key in value:
        encoded = dumps(key)
        if encoded[0] >= _ARRAY:
            raise CborError("map key %r is no integer or string" % (key,))
        pairs.append((encoded, value[key]))
    pairs.sort(key=lambda pair: pair[0])
    _write_head(out, _MAP, len(pairs))
    for encoded, item in pairs:
        out.extend(encoded)
        _write(out, item, depth)


def _write_head(out, major, n):
    if n < 24:
        out.append(major | n)
    else:
        i = 0
        while i < 3 and n >= _LEAST[i + 1]:
            i += 1
        out.append(major | 24 + i)
        out.extend(n.to_bytes(1 << i, "big"))


def _write_int(out, n):
    negative = n < 0
    if negative:
        n = -1 - n
    size = 8
    while n >> 8 * size:
        size += 1
    if size == 8:
        _write_head(out, _NEGATIVE if negative else _INT, n)
    else:
        out.append(0xC3 if negative else 0xC2)
        _write_head(out, _BYTES, size)
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


def loads(data, strict=True, max_depth=_MAX_DEPTH, max_items=_MAX_ITEMS):
    """The value that `data` (bytes-like) encodes, all of it. Raises CborError and nothing else.

    strict: accept deterministic encoding only; else everything that is well-formed and valid,
        indefinite lengths included.
    max_depth: how many containers and tags may stand inside one another.
    max_items: how many array elements, map keys and map values there may be in all.
    """
    reader = _Reader(bytes(data), strict, max_items)
    try:
        value = reader.item(max_depth)
    except (MemoryError, RuntimeError):  # the latter is what a full stack raises
        raise CborError("out of memory, at offset %d" % reader.pos)
    if reader.pos != len(reader.data):
        reader.fail("bytes after the end", reader.pos)
    return value


class _Reader:
    def __init__(self, data, strict, items):
        self.data = data
        self.strict = strict
        self.items = items  # how many more there may be
        self.pos = 0

    def fail(self, what, at):
        raise CborError("%s, at offset %d" % (what, at))

    def item(self, depth):
        data = self.data
        start = self.pos
        if start >= len(data):
            self.fail("the data ends too early", start)
        major = data[start] & 0xE0
        info = n = data[start] & 0x1F
        self.pos = start + 1
        if info >= 24:
            n = self.argument(major, info, start)
        if major == _INT:
            return n
        if major == _NEGATIVE:
            return -1 - n
        if major == _SIMPLE:
            return self.simple(info, n, start)
        left = len(data) - self.pos
        if major == _BYTES or major == _TEXT:
            if n is None:
                return self.chunks(major)
            if n > left:
                self.fail("string of %d bytes, %d left" % (n, left), start)
            raw = data[self.pos : self.pos + n]
            self.pos += n
            if major == _BYTES:
                return raw
            if not _is_utf8(raw):
                self.fail("not UTF-8", start)
            return raw.decode()
        if depth == 0:
            self.fail("too deeply nested", start)
        depth -= 1
        if major == _TAG:
            return self.tagged(n, depth, start)
        # From here on in this function, not in others: each call costs a device's small stack.
        step = 1 if major == _ARRAY else 2
        if n is not None and n * step > min(left, self.items):
            self.fail("container of %d, more than there can be" % n, start)
        array = []
        result = {}
        before = b""
        while n != 0:
            if n is None:
                if data[self.pos : self.pos + 1] == b"\xff":
                    self.pos += 1
                    break
            else:
                n -= 1
            self.items -= step
            if self.items < 0:
                self.fail("too many items", self.pos)
            if major == _ARRAY:
                array.append(self.item(depth))
                continue
            at = self.pos
            key = self.item(depth)
            encoded = data[at : self.pos]
            if encoded[0] >= _ARRAY:
                self.fail("map key is no integer or string", at)
            if key in result:
                self.fail("duplicate map key", at)
            if self.strict and encoded < before:
                self.fail("map keys out of order", at)
            before = encoded
            result[key] = self.item(depth)
        return array if major == _ARRAY else result

    def argument(self, major, info, start):
        """The head's argument where it is not in the first byte; None for an indefinite length."""
        if info == 31 and _BYTES <= major <= _MAP and not self.strict:
            return None
        if info > 27:
            if info == 31 and _BYTES <= major <= _MAP:
                self.fail("indefinite length", start)
            self.fail("reserved or misplaced byte 0x%02x" % (major | info), start)
        end = self.pos + (1 << info - 24)
        if end > len(self.data):
            self.fail("the data ends too early", start)
        n = int.from_bytes(self.data[self.pos : end], "big")
        self.pos = end
        if self.strict and major != _SIMPLE and n < _LEAST[info - 24]:
            self.fail("not the shortest encoding", start)
        return n

    def chunks(self, major):
        """The rest of an indefinite-length string (3.2.3): definite ones of its type, a break."""
        parts = []
        while True:
            start = self.pos
            first = self.data[start] if start < len(self.data) else _SIMPLE
            if first == _BREAK:
                self.pos += 1
                return (b"" if major == _BYTES else "").join(parts)
            if first & 0xE0 != major or first & 0x1F == 31:
                self.fail("no chunk of a string", start)
            parts.append(self.item(0))

    def tagged(self, number, depth, start):
        value = self.item(depth)
        if number != 2 and number != 3:
            return Tag(number, value)
        if not isinstance(value, bytes):
            self.fail("bignum is no byte string", start)
        if self.strict and (len(value) < 9 or value[0] == 0):
            self.fail("not the shortest encoding", start)
        n = int.from_bytes(value, "big")
        return n if number == 2 else -1 - n

    def simple(self, info, n, start):
        if info < 24:
            return (False, True, None, UNDEFINED)[info - 20] if info >= 20 else Simple(info)
        if info == 24:
            if n < 32:
                self.fail("reserved simple value", start)
            return Simple(n)
        encoded = self.data[start : self.pos]
        if info == 25:
            value = _half(n)
        else:
            value = struct.unpack(">f" if info == 26 else ">d", encoded[1:])[0]
        if self.strict and (info < 27 or _DOUBLE) and _float(value) != encoded:
            self.fail("not the shortest encoding", start)
        return value


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


def _is_utf8(data):
    """RFC 3629. MicroPython's decoder takes overlong forms, surrogates and beyond U+10FFFF."""
    need = 0
    low = 0x80
    high = 0xBF
    for byte in data:
        if need:
            if not low <= byte <= high:
                return False
            need -= 1
            low = 0x80
            high = 0xBF
        elif byte >= 0x80:
            if not 0xC2 <= byte <= 0xF4:
                return False
            need = 1 + (byte >= 0xE0) + (byte >= 0xF0)
            if byte == 0xE0:
                low = 0xA0
            elif byte == 0xED:
                high = 0x9F
            elif byte == 0xF0:
                low = 0x90
            elif byte == 0xF4:
                high = 0x8F
    return need == 0
