"""One verdict on each verified message, from what is known of its stream. Writes nothing."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol

from host_tools.store.streams import Stream
from host_tools.wire import Birth, Reason, Refused, Report, hash8


class Verified(NamedTuple):
    """A message that its device has signed.

    content: what it says; Refused, with stream and seq, if it is a report with a bad content.
    """

    topic: str
    slot: str
    kid: bytes
    message: bytes
    received_at: int
    content: Report | Birth | Refused


class Verdict(Enum):
    STORED = "stored"
    DUPLICATE = "duplicate"  # it is stored already, byte for byte
    LATE = "late"  # an older birth that is stored already
    HELD = "held"  # beyond the device's allowance: not stored, and no ack covers it
    REFUSED = "refused"  # goes to quarantine


class Decision(NamedTuple):
    """A verdict; reason and detail belong to REFUSED."""

    verdict: Verdict
    reason: Reason = Reason.MALFORMED
    detail: str = ""


_STORED, _DUPLICATE = Decision(Verdict.STORED), Decision(Verdict.DUPLICATE)
_LATE, _HELD = Decision(Verdict.LATE), Decision(Verdict.HELD)


class Known(Protocol):
    """What is stored, with what the same batch has stored before."""

    def stream(self, kid: bytes, stream: bytes) -> Stream | None:
        """A stream of which something is stored."""

    def report(self, stream: Stream, seq: int) -> bytes | None:
        """The signed bytes that count as the stored report of a seq."""

    def birth(self, stream: Stream, boot: int, conn: int) -> bytes | None:
        """The signed bytes of a stored birth."""

    def may_begin(self, kid: bytes) -> bool:
        """Whether a device may begin one more stream."""


def decide(item: Verified, known: Known) -> Decision:
    content = item.content
    stream = known.stream(item.kid, content.stream or b"")
    if stream is None and not known.may_begin(item.kid):
        return _HELD
    if isinstance(content, Birth):
        return _decide_birth(item, content, stream, known)
    seq = content.seq or 0
    if stream is not None and seq in stream.ranges:
        if known.report(stream, seq) == item.message:
            return _DUPLICATE
        detail = f"report {seq} of stream {stream.stream.hex()} is stored with other bytes"
        return Decision(Verdict.REFUSED, Reason.CONFLICT, detail)
    if isinstance(content, Report):
        return _STORED
    return Decision(Verdict.REFUSED, content.reason, str(content))


def _decide_birth(item: Verified, birth: Birth, stream: Stream | None, known: Known) -> Decision:
    newest = stream.birth if stream is not None else None
    if stream is None or newest is None or (birth.boot, birth.conn) > newest[:2]:
        return _STORED
    this = f"birth {birth.boot}/{birth.conn}"
    if (birth.boot, birth.conn) == newest[:2]:
        if hash8(item.message) == newest[2]:
            return _DUPLICATE
        return Decision(Verdict.REFUSED, Reason.CONFLICT, f"{this} is stored with other bytes")
    if known.birth(stream, birth.boot, birth.conn) == item.message:
        # A broker that crashed had retained it, and had not saved the newest one.
        return _LATE
    detail = f"{this} came after {newest[0]}/{newest[1]} of its stream"
    return Decision(Verdict.REFUSED, Reason.REPLAY, detail)
