"""Why a message is refused: the reasons under which the quarantine keeps it."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a message was refused; stored in the database as it is."""

    TOO_LARGE = "too_large"
    WRONG_TOPIC = "wrong_topic"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    WRONG_SLOT = "wrong_slot"
    BAD_SIGNATURE = "bad_signature"
    REVOKED_KEY = "revoked_key"
    CONFLICT = "conflict"
    REPLAY = "replay"


class Refused(Exception):
    """A message that is not what docs/wire.md describes; `str()` says in what.

    Attributes:
        reason: under which it is kept.
        kid: the key id that it names, once that was readable.
        stream, seq: what a well-signed report with a bad content says that it is; both or neither.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        kid: bytes | None = None,
        stream: bytes | None = None,
        seq: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.kid = kid
        self.stream = stream
        self.seq = seq


def malformed(detail: str) -> Refused:
    """The most common refusal; the caller raises it."""
    return Refused(Reason.MALFORMED, detail)
