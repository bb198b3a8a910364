"""Payloads from CBOR to Python, checked against docs/wire.cddl, and the ack to CBOR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cbor2

from host_tools.wire.columns import MAX_VALUE, Column, check_columns
from host_tools.wire.envelope import strict_decode
from host_tools.wire.reasons import Refused, malformed
from host_tools.wire.shapes import Form, Optional, fits, nullable, octets, pair, row, text, uint

_MAX_SEQ = 0xFFFFFFFF
_MAX_ACK_RANGES = 16
MAX_TIME = 2**33
"""No Unix time, uptime or duration is more, in seconds: it would be after the year 2241."""
_MAX_OFFSET = 315_576_000  # of an event from its report: ten years, in seconds
# What a report has that does not say otherwise: seconds between samples, how many.
_STEP = 60
_SAMPLES = 5
_INT_KEYS = frozenset((int,))
_KEYS = frozenset((int, str))

DetailValue = int | bool | bytes | str | list[Any] | None


class Event(NamedTuple):
    """What happened, `offset` seconds from the report's `up`; kinds in docs/metrics.md."""

    offset: int
    kind: int
    detail: dict[int, DetailValue]


class Report(NamedTuple):
    """A report's payload. Times in seconds; `metrics` holds the columns as they were sent."""

    stream: bytes
    seq: int
    prev: bytes | None
    boot: int
    up: int
    start: int | None
    step: int
    n: int
    metrics: dict[int, Column]
    events: tuple[Event, ...]
    clock_age: int | None
    clock_source: int | None


class Birth(NamedTuple):
    """A birth's payload; `cadence` is seconds per round and per sample, and samples per report."""

    stream: bytes
    boot: int
    conn: int
    up: int
    time: int | None
    board: str
    agent: str
    interpreter: str
    reset_cause: int
    next: int
    cadence: tuple[int, int, int]
    config: bytes | None
    certificate: str | None
    """Serial number of the TLS certificate in use, in hexadecimal as in the registry."""


class Enrolment(NamedTuple):
    """An enrolment's payload: what a device says of itself when it makes its key known."""

    slot: str
    public_key: bytes
    unique_id: str | None
    board: str
    agent: str
    time: int | None
    firmware: bytes | None = None
    """SHA-256 of the firmware that runs; None: the device does not report it."""


def decode(payload: bytes) -> dict[Any, Any]:
    """Decode a payload's map; unknown keys stay in it and are ignored.

    Raises:
        Refused: malformed.
    """
    table = strict_decode(payload, tags=False)
    if type(table) is not dict:
        raise malformed("the payload is not a map")
    # Among others: True and 1.0 are found under 1 in a Python dict, and are not the key 1.
    if not _KEYS.issuperset(map(type, table)):
        raise malformed("a key of the payload is neither an integer nor a text")
    return table


def _uint(value: Any, most: int = MAX_VALUE, least: int = 0) -> bool:
    return type(value) is int and least <= value <= most


def _uint_or_null(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value <= MAX_VALUE)


def _bytes(value: Any, size: int) -> bool:
    return type(value) is bytes and len(value) == size


def parse_report(payload: bytes) -> Report:
    """Parse a report.

    Raises:
        Refused: malformed; carries stream and seq if those were readable.
    """
    table = decode(payload)
    stream, seq = table.get(1), table.get(2)
    if not _bytes(stream, 4) or not _uint(seq, _MAX_SEQ, 1):
        raise malformed("stream or seq of the report is missing or not valid")
    try:
        return _report(payload, table, stream, seq)
    except Refused as refused:
        refused.stream, refused.seq = stream, seq
        raise


def _report(payload: bytes, table: dict[Any, Any], stream: Any, seq: Any) -> Report:
    get = table.get
    prev, boot, up, start = get(3, 0), get(4), get(5), get(6, -1)
    step, metrics, n = get(7, _STEP), get(8), get(11, _SAMPLES)
    # One condition for the common case; which part failed is looked for only when one has.
    if not (
        (prev is None or (type(prev) is bytes and len(prev) == 8))
        and type(boot) is int
        and 1 <= boot <= _MAX_SEQ
        and type(up) is int
        and 0 <= up <= MAX_TIME
        and (start is None or (type(start) is int and 0 <= start <= MAX_TIME))
        and type(step) is int
        and 1 <= step <= 86400
        and type(n) is int
        and 0 <= n <= 60
        and type(metrics) is dict
    ):
        raise malformed(_what_is_wrong(table))
    if not _INT_KEYS.issuperset(map(type, metrics)) or min(metrics, default=0) < 0:
        raise malformed("a metric's number is not an unsigned integer")
    check_columns(metrics, n, payload)
    age = source = None
    if 10 in table:
        clock = table[10]
        if type(clock) is not list or len(clock) != 2:
            raise malformed("clock (10) is not [age, source]")
        age, source = clock
        if not _uint_or_null(age) or not _uint(source, 15):
            raise malformed("clock (10) is not [age, source]")
    events = _events(table[9]) if 9 in table else ()
    return Report(stream, seq, prev, boot, up, start, step, n, metrics, events, age, source)


def _what_is_wrong(table: dict[Any, Any]) -> str:
    checks = (
        (3, "prev", "8 bytes or null", lambda v: v is None or _bytes(v, 8)),
        (4, "boot", "1 to 2^32 - 1", lambda v: _uint(v, _MAX_SEQ, 1)),
        (5, "up", "0 to 2^33", lambda v: _uint(v, MAX_TIME)),
        (6, "start", "0 to 2^33 or null", lambda v: v is None or _uint(v, MAX_TIME)),
        (7, "step", "1 to 86400", lambda v: _uint(v, 86400, 1)),
        (8, "metrics", "a map", lambda v: type(v) is dict),
        (11, "n", "0 to 60", lambda v: _uint(v, 60)),
    )
    for key, name, expected, valid in checks:
        if key not in table:
            if key in (7, 11):
                continue
            return f"{name} ({key}) is missing"
        if not valid(table[key]):
            return f"{name} ({key}) is not {expected}"
    return "the report is not valid"


def _events(items: Any) -> tuple[Event, ...]:
    if type(items) is not list or not items:
        raise malformed("events (9) is not an array with elements")
    events = []
    for item in items:
        if type(item) is not list or len(item) != 3:
            raise malformed("an event is not [offset, kind, detail]")
        offset, kind, detail = item
        if type(offset) is not int or abs(offset) > _MAX_OFFSET or not _uint(kind):
            raise malformed(
                "an event's offset is not within ten years, or its kind not an unsigned integer"
            )
        if type(detail) is not dict or not all(_uint(key) for key in detail):
            raise malformed("an event's detail is not a map with unsigned keys")
        if not all(_detail_value(value) for value in detail.values()):
            raise malformed("an event's detail holds a value of a type that is not allowed")
        events.append(Event(offset, kind, detail))
    return tuple(events)


def _detail_value(value: Any) -> bool:
    if value is None or type(value) in (int, bool, bytes, str):
        return True
    if type(value) is not list:
        return False
    if all(element is None or type(element) is int for element in value):
        return True
    return all(
        type(pair) is list and len(pair) == 2 and type(pair[0]) is type(pair[1]) is int
        for pair in value
    )


# A NUL would end the text for some readers of the database and not for others.
_TEXT = fits(text(200), lambda value: "\0" not in value)
_UINT = uint(MAX_VALUE)
_BIRTH = Form(
    "birth",
    {
        "stream": octets(4),
        "boot": uint(_MAX_SEQ, 1),
        "conn": _UINT,
        "up": _UINT,
        "time": nullable(_UINT),
        "board": _TEXT,
        "agent": _TEXT,
        "interpreter": _TEXT,
        "reset_cause": uint(15),
        "next": uint(_MAX_SEQ + 1),
        "cadence": row(pair, _UINT, _UINT, _UINT),
        "config": Optional(octets(8)),
        "certificate": Optional(octets(20, least=1)),
    },
)
_ENROLMENT = Form(
    "enrolment",
    {
        "slot": fits(_TEXT, lambda value: len(value) <= 14),
        "public_key": octets(32),
        "unique_id": nullable(_TEXT),
        "board": _TEXT,
        "agent": _TEXT,
        "time": nullable(_UINT),
        "firmware": Optional(nullable(octets(32))),
    },
)


def parse_birth(payload: bytes) -> Birth:
    """Parse a birth.

    Raises:
        Refused: malformed.
    """
    birth = _BIRTH.read(decode(payload))
    serial = birth["certificate"]
    birth["certificate"] = None if serial is None else serial.hex().lstrip("0")
    return Birth(**birth)


def parse_enrolment(payload: bytes) -> Enrolment:
    """Parse an enrolment; whether its key signed it is for the caller to verify.

    Raises:
        Refused: malformed.
    """
    return Enrolment(**_ENROLMENT.read(decode(payload)))


def encode_ack(
    stream: bytes,
    seq: int,
    ranges: Sequence[tuple[int, int]],
    time: int,
    answers: tuple[int, int] | None = None,
) -> bytes:
    """What is stored of a stream, as the device reads it.

    Args:
        seq: everything up to it is stored; 0: nothing is.
        ranges: what is stored beyond, ascending; only the oldest 16 are sent.
        time: the province's clock, Unix seconds.
        answers: (boot, conn) of the birth that this answers.
    """
    table: dict[int, Any] = {1: stream, 2: seq}
    if ranges:
        table[3] = [[first, last] for first, last in ranges[:_MAX_ACK_RANGES]]
    table[4] = time
    if answers is not None:
        table[5] = list(answers)
    return cbor2.dumps(table, canonical=True)
