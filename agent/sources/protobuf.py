"""Protocol Buffers' wire format, read only, as far as the dish's answer needs it.

Everything is bounded by the bytes that are there; whatever does not fit raises ValueError.
"""


def varint(data, at, end):
    """(value, position behind it)"""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError


def fields(data, at, end):
    """Iterate over a message: (number, value). A varint or fixed-size value is an int of its bits,
    anything with a length is (start, end) in `data`."""
    while at < end:
        key, at = varint(data, at, end)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at, end)
        elif kind == 2:
            n, at = varint(data, at, end)
            value = at, at + n
            at += n
        elif kind == 1 or kind == 5:
            n = 8 if kind == 1 else 4
            value = int.from_bytes(data[at : at + n], "little")
            at += n
        else:
            raise ValueError
        if at > end:
            raise ValueError
        yield key >> 3, value


def scaled(bits, scale):
    """A float (the 32 bits of IEEE 754) times `scale`, rounded, in integers only: a device's own
    floats may have 30 bits. None for what is no number, or beyond 2^40."""
    exponent = bits >> 23 & 0xFF
    if exponent == 0xFF or exponent > 127 + 40 or bits >> 32:
        return None
    value = (bits & 0x7FFFFF | 0x800000) * scale if exponent else 0
    shift = 150 - exponent
    value = value + (1 << shift - 1) >> shift if shift > 0 else value << -shift
    return -value if bits >> 31 else value
