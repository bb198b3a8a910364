"""ASN.1's basic encoding rules, as far as SNMP uses them (X.690; RFC 3417, section 8).

Reading is bounded: definite lengths of at most four bytes (more than needed are allowed), tags of
one byte, nothing beyond `end`.
Whatever does not comply raises ValueError.
"""


def tlv(tag, *parts):
    """Encode `parts` as the contents of one value with this tag."""
    body = b"".join(parts)
    n = len(body)
    if n < 0x80:
        head = bytes((tag, n))
    elif n < 0x100:
        head = bytes((tag, 0x81, n))
    else:
        head = bytes((tag, 0x82, n >> 8, n & 0xFF))
    return head + body


def integer(n, tag=2):
    """Encode an INTEGER."""
    size = 1
    while not -(1 << 8 * size - 1) <= n < 1 << 8 * size - 1:
        size += 1
    return tlv(tag, (n & (1 << 8 * size) - 1).to_bytes(size, "big"))


def oid(text):
    """The contents of an OBJECT IDENTIFIER, from "1.3.6.1...": one's own begin with its
    parents'."""
    arcs = [int(arc) for arc in text.split(".")]
    out = bytearray((arcs[0] * 40 + arcs[1],))
    for arc in arcs[2:]:
        group = [arc & 0x7F]
        while arc >> 7:
            arc >>= 7
            group.insert(0, arc & 0x7F | 0x80)
        out.extend(bytes(group))
    return bytes(out)


def arcs(data):
    """The arcs of an encoded OBJECT IDENTIFIER in their order, for comparing (first two as
    one)."""
    out = []
    value = 0
    for byte in data:
        value = value << 7 | byte & 0x7F
        if value >> 32:
            raise ValueError
        if byte < 0x80:
            out.append(value)
            value = 0
    return out


def read(data, at, end, want=None):
    """Read a head at `at`: (tag, start of contents, end of contents), all of it before `end`.

    `want` is the only tag that is accepted, if given."""
    if at + 2 > end:
        raise ValueError
    tag = data[at]
    n = data[at + 1]
    at += 2
    if n >= 0x80:
        count = n & 0x7F
        if not 0 < count < 5 or at + count > end:
            raise ValueError
        n = int.from_bytes(data[at : at + count], "big")
        at += count
    if at + n > end or want not in (None, tag) or tag & 0x1F == 0x1F:
        raise ValueError
    return tag, at, at + n


def value(data, at, end, want=2, signed=True):
    """Read an integer at `at`: (value, end of it). Unsigned ones may have nine bytes
    (Counter64)."""
    _, start, stop = read(data, at, end, want)
    if not 0 < stop - start < 10:
        raise ValueError
    n = int.from_bytes(data[start:stop], "big")
    if data[start] & 0x80 and signed:
        n -= 1 << 8 * (stop - start)
    return n, stop
