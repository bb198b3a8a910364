"""The SNTP client: which answers it believes (RFC 5905, section 14; RFC 4330, section 5)."""

import struct

import pytest

from tests.agent.net.mqtt_lab import INTERPRETERS, run
from tests.agent.sources.source_lab import udp

ERA = 2**32
EPOCH = 2208988800  # 1970-01-01 in NTP's seconds
NOW = 1790006400  # 2026-09-22


def answer(
    request: bytes,
    leap: int = 0,
    version: int = 4,
    mode: int = 4,
    stratum: int = 2,
    transmit: int = NOW + EPOCH,
    fraction: int = 1,
    origin: bytes | None = None,
) -> bytes:
    """A server's packet; its transmit time in NTP's seconds since 1900, less whole eras."""
    head = bytes((leap << 6 | version << 3 | mode, stratum, 6, 0xEC)) + bytes(20)
    # The client's transmit time comes back as the origin; the next is when it was received.
    times = (request[40:48] if origin is None else origin) + bytes(8)
    return head + times + struct.pack(">II", transmit % ERA, fraction)


# What a server makes of a request, and the Unix time that is read or a part of the reason.
ANSWERS = {
    "good": (lambda q: answer(q), NOW),
    "version 3, leap second, stratum 15": (
        lambda q: answer(q, leap=1, version=3, stratum=15),
        NOW,
    ),
    "with an authenticator": (lambda q: answer(q) + bytes(20), NOW),
    "2036, the last second of the era": (lambda q: answer(q, transmit=ERA - 1), ERA - 1 - EPOCH),
    "2036, the first of the next": (lambda q: answer(q, transmit=ERA), ERA - EPOCH),
    "2106, the last second of 32 bits": (lambda q: answer(q, transmit=ERA - 1 + EPOCH), ERA - 1),
    "1970": (lambda q: answer(q, transmit=EPOCH), "is wrong"),
    "2025": (lambda q: answer(q, transmit=1767225599 + EPOCH), "is wrong"),
    "2040": (lambda q: answer(q, transmit=2208988800 + EPOCH), 2208988800),
    "no transmit time": (lambda q: answer(q, transmit=0, fraction=0), "not synchronised"),
    "not synchronised": (lambda q: answer(q, leap=3), "not synchronised"),
    "kiss of death": (lambda q: answer(q, stratum=0), "not synchronised"),
    "stratum 16": (lambda q: answer(q, stratum=16), "not synchronised"),
    "broadcast": (lambda q: answer(q, mode=5), "bad answer"),
    "the request itself": (lambda q: q, "bad answer"),
    "another's answer": (lambda q: answer(q, origin=bytes(8)), "bad answer"),
    "cut": (lambda q: answer(q)[:47], "bad answer"),
    "empty": (lambda q: b"", "bad answer"),
}


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_only_a_synchronised_servers_answer_is_believed(interpreter: str) -> None:
    makers = iter(ANSWERS.values())
    requests = []

    def serve(request: bytes) -> list[bytes]:
        requests.append(request)
        return [next(makers)[0](request)]

    with udp(serve) as port:
        said = run(interpreter, "times", server=f"127.0.0.1:{port}", count=len(ANSWERS))
    for (name, (_, expected)), (what, value) in zip(ANSWERS.items(), said, strict=True):
        assert what == ("time" if isinstance(expected, int) else "failed"), (name, value)
        assert value == expected if isinstance(expected, int) else expected in str(value), name
    # A client's request (mode 3) tells nothing but a nonce.
    assert {(len(q), q[0] & 7, bytes(39) == q[1:40]) for q in requests} == {(48, 3, True)}
    assert len({q[40:] for q in requests}) == len(ANSWERS)
