"""The quarantine: messages that are not evidence, with the reason, within bounds.

What comes again byte for byte is counted, not kept twice. Each slot has a share of its own, so
that no device can push out the messages of others; what is beyond is counted. A bound never
touches what an ack has covered: `add` says whether it was kept. What a person has dismissed stays
until the quarantine is emptied, and what counts as stored stays for good.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from host_tools.store.database import Database
from host_tools.store.dialect import or_change
from host_tools.store.evidence import mark_dirty
from host_tools.wire import Reason

_MAX_PAYLOAD = 8192  # of a larger message the beginning is enough to see what it was
_MAX_TOPIC = 200
_MAX_DETAIL = 300
_OR_ONE_MORE = or_change("slot, reason", "count = count + 1, last_at = new.last_at")


@dataclass(frozen=True)
class Bounds:
    """How much the quarantine may hold.

    per_slot: messages for each slot and reason. unknown_per_slot: the same for an unknown key,
    which an enrolment log may make valid weeks later: 12 days of a device. kept_per_slot: the same
    where the signature was good; those count as stored. slot_bytes: of all payloads of a slot that
    don't count as stored. total_bytes: of all payloads; a thousand slots fill their shares in it.
    """

    per_slot: int = 500
    unknown_per_slot: int = 4000
    kept_per_slot: int = 5000
    slot_bytes: int = 2 * 1024 * 1024
    total_bytes: int = 4 * 1024 * 1024 * 1024


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


@dataclass(frozen=True)
class Note:
    """Who has decided on messages in quarantine, when (Unix seconds), and why."""

    who: str
    why: str
    at: int


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
        self._measured_at: int | None = None  # the newest note then; None: not measured
        # By slot, reason, and whether it counts as stored.
        self._counts: Counter[tuple[str, str, bool]] = Counter()
        self._slot_bytes: Counter[str] = Counter()  # of what does not count as stored
        self._bytes = 0

    def forget(self) -> None:
        """Measure again how full it is, after a transaction that failed."""
        self._measured_at = None

    def renew(self) -> None:
        """Measure again how full it is, if another process has deleted from it."""
        if self._measured_at != self._newest_note():
            self.forget()

    def _newest_note(self) -> int:
        return int(self._db.value("SELECT max(id) FROM quarantine_notes") or 0)

    def _measure(self) -> None:
        rows = self._db.all(
            "SELECT slot, reason, stream_id IS NOT NULL, count(*), sum(length(payload)) "
            "FROM quarantine GROUP BY 1, 2, 3"
        )
        self._measured_at = self._newest_note()
        self._counts.clear()
        self._slot_bytes.clear()
        self._bytes = 0
        for slot, reason, kept, count, size in rows:
            self._note(slot, reason, bool(kept), count, size)

    def _note(self, slot: str, reason: str, kept: bool, count: int, size: int) -> None:
        if self._measured_at is None:
            return
        self._counts[slot, reason, kept] += count
        self._bytes += size
        if not kept:
            self._slot_bytes[slot] += size

    def _has_room(self, slot: str, reason: str, kept: bool, size: int) -> bool:
        if self._measured_at is None:
            self._measure()
        bounds = self._bounds
        most = bounds.per_slot
        if kept:
            most = bounds.kept_per_slot
        elif reason == Reason.UNKNOWN_KEY:
            most = bounds.unknown_per_slot
        return (
            self._counts[slot, reason, kept] < most
            and (kept or self._slot_bytes[slot] + size <= bounds.slot_bytes)
            and self._bytes + size <= bounds.total_bytes
        )

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
        kept = refusal.stream_id is not None
        if not self._has_room(refusal.slot, reason, kept, len(payload)):
            self._db.execute(
                f"INSERT INTO quarantine_overflow VALUES (?, ?, 1, ?, ?) {_OR_ONE_MORE}",
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
        self._note(refusal.slot, reason, kept, 1, len(payload))
        self._mark(refusal)
        return True

    def _mark(self, refusal: Refusal) -> None:
        # A malformed report that counts as stored is a link of the chain, and fills a gap.
        if refusal.stream_id is not None and refusal.seq is not None:
            mark_dirty(self._db, [(refusal.stream_id, refusal.seq)])

    def release(self, message: Quarantined) -> None:
        """Remove a message that is evidence now."""
        self._db.execute("DELETE FROM quarantine WHERE id = ?", (message.id,))
        size = len(message.payload)
        self._note(message.slot, message.reason, message.stream_id is not None, -1, -size)

    def change(self, message: Quarantined, refusal: Refusal) -> None:
        """Keep a message under another reason from now on."""
        if str(refusal.reason) == message.reason and refusal.stream_id == message.stream_id:
            return
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
        size = len(message.payload)
        self._note(message.slot, message.reason, message.stream_id is not None, -1, -size)
        kept = refusal.stream_id is not None
        self._note(message.slot, str(refusal.reason), kept, 1, size)
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

    def total(self) -> int:
        """How many messages there are."""
        return int(self._db.value("SELECT count(*) FROM quarantine"))

    def newest(
        self,
        limit: int,
        *,
        village: str | None = None,
        reason: str | None = None,
        dismissed: bool = False,
    ) -> tuple[list[Quarantined], int]:
        """The newest messages, in the order of arrival, and how many there are in all.

        Args:
            dismissed: also those that a person has dismissed.
        """
        where, values = _matching(village, reason)
        if not dismissed:
            # Of a village, its slots are the better index.
            where += " AND note_id IS NULL" if village is None else " AND coalesce(note_id, 0) = 0"
        # The numbers come from an index: messages that are not shown are not read.
        rows = self._db.all(
            f"SELECT {_COLUMNS} FROM quarantine WHERE id IN "
            f"(SELECT id FROM quarantine WHERE {where} ORDER BY id DESC LIMIT ?) ORDER BY id",
            (*values, limit),
        )
        total = self._db.value(f"SELECT count(*) FROM quarantine WHERE {where}", values)
        return [Quarantined(*row) for row in rows], int(total)

    def unknown_kids(self) -> set[bytes]:
        """The key ids for whose messages an enrolment would help."""
        rows = self._db.all("SELECT DISTINCT kid FROM quarantine WHERE reason = 'unknown_key'")
        return {kid for (kid,) in rows if kid is not None}

    def overflow(self) -> list[tuple[str, str, int]]:
        """Slot, reason and number of what was beyond the bounds."""
        return self._db.all("SELECT slot, reason, count FROM quarantine_overflow ORDER BY 1, 2")

    # ---- what a person decides ---------------------------------------------------------------

    def dismiss(
        self,
        note: Note,
        *,
        numbers: Sequence[int] = (),
        village: str | None = None,
        reason: str | None = None,
    ) -> int:
        """Note that a person has seen messages; returns how many.

        Args:
            numbers: their ids; empty: all of a village and a reason.
        """
        where, values = _matching(village, reason)
        where += " AND note_id IS NULL"
        if numbers:
            where += f" AND id IN ({','.join('?' * len(numbers))})"
        with self._db.transaction():
            number = self._write_note("dismiss", note)
            count = self._db.execute(
                f"UPDATE quarantine SET note_id = ? WHERE {where}", (number, *values, *numbers)
            )
            self._count_note(number, count)
        return count

    def empty(self, note: Note) -> tuple[int, int]:
        """Delete what is dismissed and does not count as stored.

        Returns:
            How many were deleted, and how many dismissed ones stay because they count as stored.
        """
        with self._db.transaction():
            number = self._write_note("empty", note)
            count = self._db.execute(
                "DELETE FROM quarantine WHERE note_id IS NOT NULL AND stream_id IS NULL"
            )
            self._count_note(number, count)
            stay = int(self._db.value("SELECT count(*) FROM quarantine WHERE note_id IS NOT NULL"))
        self.forget()
        return count, stay

    def notes(self) -> list[tuple[int, str, str, str, int]]:
        """When, what (dismiss or empty), who, why, and how many messages; the oldest first."""
        return self._db.all(
            "SELECT noted_at, action, who, why, messages FROM quarantine_notes ORDER BY id"
        )

    def _write_note(self, action: str, note: Note) -> int:
        return self._db.insert(
            "INSERT INTO quarantine_notes (noted_at, action, who, why) VALUES (?, ?, ?, ?)",
            (note.at, action, note.who, note.why),
        )

    def _count_note(self, number: int, count: int) -> None:
        if count:
            self._db.execute(
                "UPDATE quarantine_notes SET messages = ? WHERE id = ?", (count, number)
            )
        else:
            self._db.execute("DELETE FROM quarantine_notes WHERE id = ?", (number,))


def _matching(village: str | None, reason: str | None) -> tuple[str, list[str]]:
    where, values = "TRUE", []
    if village is not None:
        # As a range, for the index: "." follows "-" in ASCII.
        where, values = "slot BETWEEN ? AND ?", [f"{village}-", f"{village}."]
    if reason is not None:
        where += " AND reason = ?"
        values.append(reason)
    return where, values
