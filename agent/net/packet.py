"""MQTT 3.1.1 packets to and from bytes (OASIS standard, 29 October 2014, chapters 2 and 3)."""

import struct

from agent.net.errors import NetError
from agent.wire.cbor import loads


DISCONNECT = b"\xe0\0"


def malformed(what):
    """The exception for a packet that no broker may send here."""
    return NetError("malformed from the broker: " + what)


def _text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(value)) + value


def _head(kind, n):
    out = bytes((kind,))
    while n > 127:
        out += bytes((n & 127 | 128,))
        n >>= 7
    return out + bytes((n,))


def connect(client_id, keepalive_s, will):
    """CONNECT into the session that the broker may have; `will` is (topic, payload, qos, retain)
    or None."""
    flags = 0
    body = _text(client_id)
    if will:
        topic, payload, qos, retain = will
        flags |= 4 | qos << 3 | (32 if retain else 0)
        body += _text(topic) + _text(payload)
    body = _text("MQTT") + struct.pack(">BBH", 4, flags, keepalive_s) + body
    return _head(0x10, len(body)) + body


def publish(topic, payload, pid, retain):
    """PUBLISH, QoS 1 if `pid` is not 0: one bytearray.

    In one buffer, so that it is one write and one TLS record: 22 to 29 bytes and maybe a TCP
    segment less than head and payload apart."""
    topic = _text(topic)
    at = len(topic) + (2 if pid else 0)
    head = _head((0x32 if pid else 0x30) | (1 if retain else 0), at + len(payload))
    packet = bytearray(len(head) + at + len(payload))
    at += len(head)
    packet[: len(head)] = head
    packet[len(head) : len(head) + len(topic)] = topic
    if pid:
        struct.pack_into(">H", packet, at - 2, pid)
    packet[at:] = payload
    return packet


def subscribe(pid, topics):
    """SUBSCRIBE to [(filter, qos), ...]."""
    body = struct.pack(">H", pid)
    for topic, qos in topics:
        body += _text(topic) + bytes((qos,))
    return _head(0x82, len(body)) + body


def check_head(kind, n):
    """Refuse a packet by its first byte and length, before its body is read: NetError."""
    if kind & 0xF0 == 0x30:
        good = n > 2 and not kind & 4 and kind & 14 != 8  # QoS 2 or 3, DUP with QoS 0
    elif kind in (0x20, 0x40):  # CONNACK, PUBACK
        good = n == 2
    elif kind == 0x90:  # SUBACK
        good = n > 2
    elif kind == 0xD0:  # PINGRESP
        good = n == 0
    else:
        good = False
    if not good:
        raise malformed("packet 0x%02x of %d bytes" % (kind, n))


def parse_publish(kind, body):
    """(topic, where the payload begins) of a PUBLISH; with QoS 1 the packet id is before that."""
    start = end = 2 + (body[0] << 8 | body[1])
    if kind & 6:
        start += 2
    if start > len(body):
        raise malformed("topic")
    if kind & 6 and not (body[end] or body[end + 1]):
        raise malformed("id 0")
    try:
        # A topic is encoded as CBOR's texts are, but for the first byte. Their decoder knows UTF-8
        # (1.5.3), MicroPython's own lets overlong forms and surrogates pass.
        topic = loads(b"\x79" + bytes(body[:end]), False)
    except ValueError:
        topic = ""
    if not topic or "\0" in topic or "+" in topic or "#" in topic:
        raise malformed("topic")
    return topic, start
