"""The quarantine: messages that are not evidence, with the reason, within bounds.

What comes again byte for byte is counted, not kept twice. Each slot may fill so much for each
reason, and all together so much, so that neither a hostile device nor a broken one can fill the
disk; what is beyond is counted. A bound never touches what an ack has told: `add` says whether it
was kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

from host_tools.store.database import Database
from host_tools.store.evidence import mark_dirty
from host_tools.wire import Reason

_MAX_PAYLOAD = 8192  # of a larger message the beginning is enough to see what it was
_MAX_TOPIC = 200
_MAX_DETAIL = 300


@dataclass(frozen=True)
class Bounds:
    """How much the quarantine may hold.

    per_slot: messages for each slot and reason. kept_per_slot: the same where the signature was
    good: those count as stored, so that there is room for a real device's defects. total_bytes: of
    all payloads together.
    """

    per_slot: int = 500
    kept_per_slot: int = 5000
    total_bytes: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused message on its way into the quarantine."""

    topic: str
    payload: bytes
    reason: Reason
    detail: str
    slot: str
    kid: bytes | None
    received_at: int
    stream_id: int | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message in the quarantine."""

    id: int
    topic: str
    payload: bytes
    reason: str
    detail: str
    slot: str
    kid: bytes | None
    stream_id: int | None
    seq: int | None
    received_at: int
    times: int
    last_at: int


_COLUMNS = (
    "id, topic, payload, reason, detail, slot, kid, stream_id, seq, received_at, times, last_at"
)


class Quarantine:
    """The quarantine of an open database; all changes within a transaction of the caller's."""

    def __init__(self, db: Database, bounds: Bounds | None = None) -> None:
        self._db = db
        self._bounds = bounds or Bounds()
        # By slot, reason, and whether it counts as stored: those have room of their own.
        self._counts: Counter[tuple[str, str, bool]] = Counter()
        self._bytes = 0
        self.load()

    def load(self) -> None:
        """Read how full it is: at start, and after a transaction that failed."""
        rows = self._db.all(
            "SELECT slot, reason, stream_id IS NOT NULL, count(*), sum(length(payload)) "
            "FROM quarantine GROUP BY 1, 2, 3"
        )
        self._counts = Counter(
            {(slot, reason, bool(kept)): count for slot, reason, kept, count, _ in rows}
        )
        self._bytes = sum(size for *_, size in rows)

    def add(self, refusal: Refusal) -> bool:
        """Keep a message; True if it is kept now (or was before)."""
        topic, payload = refusal.topic[:_MAX_TOPIC], refusal.payload[:_MAX_PAYLOAD]
        digest = hashlib.sha256(topic.encode() + b"\0" + refusal.payload).digest()[:16]
        if self._db.execute(
            "UPDATE quarantine SET times = times + 1, last_at = ? WHERE digest = ?",
            (refusal.received_at, digest),
        ):
            return True
        reason = str(refusal.reason)
        key = (refusal.slot, reason, refusal.stream_id is not None)
        count = self._counts[key]
        bounds = self._bounds
        most = bounds.per_slot if refusal.stream_id is None else bounds.kept_per_slot
        if count >= most or self._bytes + len(payload) > bounds.total_bytes:
            self._db.execute(
                "INSERT INTO quarantine_overflow VALUES (?, ?, 1, ?, ?) "
                "ON CONFLICT (slot, reason) DO UPDATE "
                "SET count = count + 1, last_at = excluded.last_at",
                (refusal.slot, reason, refusal.received_at, refusal.received_at),
            )
            return False
        self._db.execute(
            "INSERT INTO quarantine (digest, topic, payload, reason, detail, slot, kid, "
            "stream_id, seq, received_at, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                digest,
                topic,
                payload,
                reason,
                refusal.detail[:_MAX_DETAIL],
                refusal.slot,
                refusal.kid,
                refusal.stream_id,
                refusal.seq,
                refusal.received_at,
                refusal.received_at,
            ),
        )
        self._counts[key] += 1
        self._bytes += len(payload)
        self._mark(refusal)
        return True

    def _mark(self, refusal: Refusal) -> None:
        # A malformed report that counts as stored is a link of the chain, and fills a gap.
        if refusal.stream_id is not None and refusal.seq is not None:
            mark_dirty(self._db, [(refusal.stream_id, refusal.seq)])

    def release(self, message: Quarantined) -> None:
        """Let a message go that has found its place among the evidence."""
        self._db.execute("DELETE FROM quarantine WHERE id = ?", (message.id,))
        self._counts[message.slot, message.reason, message.stream_id is not None] -= 1
        self._bytes -= len(message.payload)

    def change(self, message: Quarantined, refusal: Refusal) -> None:
        """Keep a message under another reason from now on."""
        self._db.execute(
            "UPDATE quarantine SET reason = ?, detail = ?, kid = ?, stream_id = ?, seq = ? "
            "WHERE id = ?",
            (
                str(refusal.reason),
                refusal.detail[:_MAX_DETAIL],
                refusal.kid,
                refusal.stream_id,
                refusal.seq,
                message.id,
            ),
        )
        self._counts[message.slot, message.reason, message.stream_id is not None] -= 1
        self._counts[message.slot, str(refusal.reason), refusal.stream_id is not None] += 1
        self._mark(refusal)

    def kept(self, stream_id: int, seq: int) -> bytes | None:
        """The message that counts as the stored report of a seq, or None."""
        payload: bytes | None = self._db.value(
            "SELECT payload FROM quarantine WHERE stream_id = ? AND seq = ? "
            "AND reason != 'conflict'",
            (stream_id, seq),
        )
        return payload

    def get(self, number: int) -> Quarantined | None:
        """One message, or None."""
        row = self._db.one(f"SELECT {_COLUMNS} FROM quarantine WHERE id = ?", (number,))
        return Quarantined(*row) if row else None

    def next(
        self, after: int, limit: int, *, kids: frozenset[bytes] | None = None
    ) -> list[Quarantined]:
        """Messages in the order of arrival that may be tried again.

        Args:
            after: the id of the last one seen.
            kids: only messages refused for an unknown key that is one of these; None: all whose
                refusal can change with the registry or a newer desalink.
        """
        if kids is None:
            sql = (
                f"SELECT {_COLUMNS} FROM quarantine WHERE id > ? "
                "AND reason NOT IN ('conflict', 'replay', 'too_large') ORDER BY id LIMIT ?"
            )
            return [Quarantined(*row) for row in self._db.all(sql, (after, limit))]
        found: list[Quarantined] = []
        for kid in sorted(kids):
            rows = self._db.all(
                f"SELECT {_COLUMNS} FROM quarantine WHERE reason = 'unknown_key' AND kid = ? "
                "AND id > ? ORDER BY id LIMIT ?",
                (kid, after, limit),
            )
            found += [Quarantined(*row) for row in rows]
        return sorted(found, key=lambda message: message.id)[:limit]

    def newest(
        self, limit: int, *, village: str | None = None, reason: str | None = None
    ) -> tuple[list[Quarantined], int]:
        """The newest messages, in the order of arrival, and how many there are in all."""
        where = "WHERE (? IS NULL OR substr(slot, 1, 10) = ?) AND (? IS NULL OR reason = ?)"
        values = (village, village, reason, reason)
        rows = self._db.all(
            f"SELECT {_COLUMNS} FROM quarantine {where} ORDER BY id DESC LIMIT ?", (*values, limit)
        )
        total = self._db.value(f"SELECT count(*) FROM quarantine {where}", values)
        return [Quarantined(*row) for row in reversed(rows)], int(total)

    def unknown_kids(self) -> set[bytes]:
        """The key ids for whose messages an enrolment would help."""
        rows = self._db.all("SELECT DISTINCT kid FROM quarantine WHERE reason = 'unknown_key'")
        return {kid for (kid,) in rows if kid is not None}
