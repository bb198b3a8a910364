"""CBOR (RFC 8949): encodes deterministically, decodes what strangers send and is not hurt by it.

`dumps` writes core deterministic encoding (4.2.1): shortest heads and floats, definite lengths,
map keys in bytewise order. `loads` by default accepts nothing else, so that a value has exactly
one encoding. Integers have any size (beyond 64 bits as bignums), map keys are integers or
strings, and what Python has no type for becomes a `Tag` or a `Simple`.

What no message between device and province holds is in `cbor_general.py`, loaded when it occurs.
A release does not have it: there these values are malformed.
"""

from agent.device import interpreter
from agent.device.interpreter import const

_INT = const(0x00)  # major types, already shifted
_NEGATIVE = const(0x20)
_BYTES = const(0x40)
_TEXT = const(0x60)
_ARRAY = const(0x80)
_MAP = const(0xA0)
_TAG = const(0xC0)
_SIMPLE = const(0xE0)


class CborError(ValueError):
    """Says what is wrong and, on decoding, at which offset."""


class Tag:
    """A tagged item (3.4): `tag` is its number, `value` its content."""

    def __init__(self, tag, value):
        self.tag = tag
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Tag) and self.tag == other.tag and self.value == other.value


def __getattr__(name):  # of this module: Simple and UNDEFINED
    if name[0] == "_":
        raise AttributeError(name)
    from agent.wire import cbor_general

    return getattr(cbor_general, name)


def dumps(value, max_depth=8):
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
        write_head(out, _NEGATIVE if value < 0 else _INT, -1 - value if value < 0 else value)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        write_head(out, _BYTES, len(value))
        out.extend(value)
    elif isinstance(value, str):
        try:
            value = value.encode()
        except UnicodeError:
            raise CborError("not UTF-8")
        write_head(out, _TEXT, len(value))
        out.extend(value)
    elif not isinstance(value, (list, tuple, dict, Tag)):
        if interpreter.FROM_SOURCE:
            from agent.wire import cbor_general

            cbor_general.write(out, value)
        else:
            raise CborError("malformed")
    elif depth == 0:
        raise CborError("too deep")
    elif isinstance(value, dict):
        write_head(out, _MAP, len(value))
        for key in sorted(value, key=dumps):  # on a device, all encodings at once take too much
            at = len(out)
            _write(out, key, 1)
            if out[at] >= _ARRAY:
                raise CborError("malformed")
            _write(out, value[key], depth - 1)
    elif isinstance(value, Tag):
        write_head(out, _TAG, value.tag)
        _write(out, value.value, depth - 1)
    else:
        write_head(out, _ARRAY, len(value))
        for item in value:
            _write(out, item, depth - 1)


def write_head(out, major, n):
    """Append the head of an item; an integer of more than 64 bits becomes a bignum."""
    if n < 24:
        out.append(major | n)
        return
    size = 1
    info = 24
    while n >> 8 * size:
        size *= 2
        info += 1
    if interpreter.FROM_SOURCE:
        if size > 8:
            from agent.wire import cbor_general

            return cbor_general.write_bignum(out, major, n)
    out.append(major | info)
    out.extend(n.to_bytes(size, "big"))


def loads(data, strict=True, max_depth=8, max_items=4096):
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
        reader.fail("no memory", reader.pos)
    if reader.pos != len(reader.data):
        reader.fail("too long", reader.pos)
    return value


class _Reader:
    def __init__(self, data, strict, items):
        self.data = data
        self.strict = strict
        self.items = items  # how many more there may be
        self.pos = 0

    def fail(self, what, at):
        raise CborError("%s, at offset %d" % (what, at))

    def take(self, n):
        """The next n bytes."""
        start = self.pos
        self.pos = start + n
        if self.pos > len(self.data):
            self.fail("malformed", start)
        return self.data[start : self.pos]

    def item(self, depth):
        start = self.pos
        major = self.take(1)[0]
        info = n = major & 0x1F
        major &= 0xE0
        if info > 27 or major == _SIMPLE and not 20 <= info < 23:
            if interpreter.FROM_SOURCE:
                from agent.wire import cbor_general

                if major == _SIMPLE:
                    return cbor_general.simple(self, info, start)
                cbor_general.check_indefinite(self, major | info, start)
                n = None
            else:
                self.fail("malformed", start)
        elif info >= 24:
            size = 1 << info - 24
            n = int.from_bytes(self.take(size), "big")
            if self.strict and (n < 24 or not n >> 4 * size and size > 1):
                self.fail("malformed", start)
        if major == _INT:
            return n
        if major == _NEGATIVE:
            return -1 - n
        if major == _SIMPLE:
            return (False, True, None)[info - 20]
        if major == _BYTES or major == _TEXT:
            if interpreter.FROM_SOURCE:
                if n is None:
                    return cbor_general.chunks(self, major)
            raw = self.take(n)
            if major == _BYTES:
                return raw
            if raw and max(raw) > 127:
                if interpreter.FROM_SOURCE:
                    from agent.wire import cbor_general

                    cbor_general.check_utf8(self, raw, start)
                else:
                    self.fail("not UTF-8", start)
            return raw.decode()
        if depth == 0:
            self.fail("too deep", start)
        depth -= 1
        if major == _TAG:
            value = self.item(depth)
            if interpreter.FROM_SOURCE:
                from agent.wire import cbor_general

                if n == 2 or n == 3:
                    return cbor_general.bignum(self, n, value, start)
            return Tag(n, value)
        # All in this one function: each call costs a device's small stack.
        step = 1 if major == _ARRAY else 2
        if n and n * step > min(len(self.data) - self.pos, self.items):
            self.fail("too long", start)
        array = []
        result = {}
        before = b""
        while n != 0:
            if interpreter.FROM_SOURCE:
                if n is None and self.data[self.pos : self.pos + 1] == b"\xff":
                    self.pos += 1
                    break
            n = n and n - 1
            self.items -= step
            if self.items < 0:
                self.fail("too long", self.pos)
            if major == _ARRAY:
                array.append(self.item(depth))
                continue
            at = self.pos
            key = self.item(depth)
            encoded = self.data[at : self.pos]
            if encoded[0] >= _ARRAY:
                self.fail("malformed", at)
            if key in result:
                self.fail("key twice", at)
            if self.strict and encoded < before:
                self.fail("malformed", at)
            before = encoded
            result[key] = self.item(depth)
        return array if major == _ARRAY else result
