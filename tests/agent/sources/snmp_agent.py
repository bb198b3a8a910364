"""A scripted SNMP agent: the protocol's other side, written apart from the agent's own code."""

from collections.abc import Callable
from dataclasses import dataclass, field

INTEGER, OCTETS, NULL, OID = 0x02, 0x04, 0x05, 0x06
COUNTER32, GAUGE, TICKS, COUNTER64 = 0x41, 0x42, 0x43, 0x46
GET, GETNEXT, RESPONSE, GETBULK = 0xA0, 0xA1, 0xA2, 0xA5
NO_OBJECT, NO_INSTANCE, END = 0x80, 0x81, 0x82

Value = tuple[int, int | bytes | None]
Name = tuple[int, ...]


def name(text: str) -> Name:
    return tuple(int(arc) for arc in text.split("."))


def tlv(tag: int, body: bytes) -> bytes:
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(body).to_bytes(size, "big") + body


def number(value: int, tag: int = INTEGER) -> bytes:
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def oid(arcs: Name) -> bytes:
    out = b""
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        part = bytes([arc & 127])
        while arc := arc >> 7:
            part = bytes([arc & 127 | 128]) + part
        out += part
    return tlv(OID, out)


def value(tag: int, content: int | bytes | None) -> bytes:
    if content is None:
        return tlv(tag, b"")
    return tlv(tag, content) if isinstance(content, bytes) else number(content, tag)


def split(data: bytes) -> list[tuple[int, bytes]]:
    out = []
    while data:
        size, start = data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        out.append((data[0], data[start : start + size]))
        data = data[start + size :]
    return out


def arcs(data: bytes) -> Name:
    out, arc = [], 0
    for byte in data:
        arc = arc << 7 | byte & 127
        if byte < 128:
            out.append(arc)
            arc = 0
    return (*divmod(out[0], 40), *out[1:]) if out[0] < 80 else (2, out[0] - 80, *out[1:])


def integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def message(community: bytes, pdu: bytes) -> bytes:
    return tlv(0x30, number(1) + tlv(OCTETS, community) + pdu)


def response(request_id: int, binds: list[tuple[Name, Value]], error: int = 0) -> bytes:
    bodies = b"".join(tlv(0x30, oid(n) + value(*v)) for n, v in binds)
    fields = number(request_id) + number(error) + number(0) + tlv(0x30, bodies)
    return tlv(RESPONSE, fields)


@dataclass
class Agent:
    """Answers from `table`; call it with a datagram.

    limit: the most variables that fit into an answer; beyond it says tooBig.
    asked: (kind of PDU, names) of every request.
    spoil: changes the datagrams of an answer before they are sent.
    """

    table: dict[Name, Value] = field(default_factory=dict)
    community: bytes = b"public"
    limit: int = 100
    refuse: set[int] = field(default_factory=set)
    poison: set[Name] = field(default_factory=set)
    asked: list[tuple[int, list[Name]]] = field(default_factory=list)
    spoil: Callable[[bytes, bytes], list[bytes]] = lambda request, answer: [answer]

    def set(self, text: str, tag: int, content: int | bytes) -> None:
        self.table[name(text)] = (tag, content)

    def __call__(self, data: bytes) -> list[bytes]:
        (_, version), (_, community), (kind, pdu) = split(split(data)[0][1])
        assert integer(version) == 1
        if community != self.community:
            return []
        (_, number_), (_, first), (_, second), (_, binds) = split(pdu)
        names = [arcs(split(bind)[0][1]) for _, bind in split(binds)]
        self.asked.append((kind, names))
        found, error = self._answer(kind, names, integer(second))
        answer = message(community, response(integer(number_), found, error))
        return self.spoil(data, answer)

    def _answer(
        self, kind: int, names: list[Name], repetitions: int
    ) -> tuple[list[tuple[Name, Value]], int]:
        if kind in self.refuse or self.poison & set(names):
            return [(n, (NULL, None)) for n in names], 5
        if kind == GET:
            found = [(n, self._get(n)) for n in names]
        else:
            found = []
            for n in names:
                for _ in range(repetitions if kind == GETBULK else 1):
                    found.append(self._next(n))
                    n = found[-1][0]
        if len(found) > self.limit:
            return [], 1
        return found, 0

    def _get(self, n: Name) -> Value:
        if n in self.table:
            return self.table[n]
        known = any(other[: len(n) - 1] == n[:-1] for other in self.table)
        return (NO_INSTANCE if known else NO_OBJECT), None

    def _next(self, n: Name) -> tuple[Name, Value]:
        later = sorted(other for other in self.table if other > n)
        return (later[0], self.table[later[0]]) if later else (n, (END, None))
