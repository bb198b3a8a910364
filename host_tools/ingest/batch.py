"""One transaction's worth of verified messages: what is new, what is known, what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from host_tools.ingest.acks import Acks
from host_tools.store import Database
from host_tools.store.evidence import (
    StoredReport,
    Stream,
    Streams,
    birth_message,
    count_duplicates,
    insert_birth,
    insert_reports,
    report_message,
)
from host_tools.store.quarantine import Quarantine, Quarantined, Refusal
from host_tools.wire import Birth, Reason, Refused, hash8


class Filed(NamedTuple):
    """What a report is stored by. The rest of it, once checked, stays in the signed bytes."""

    stream: bytes
    seq: int
    boot: int
    up: int
    start: int | None


class Verified(NamedTuple):
    """A message that its device has signed.

    content: what it says; Refused, with stream and seq, if that is a report badly filled.
    """

    topic: str
    slot: str
    kid: bytes
    message: bytes
    received_at: int
    content: Filed | Birth | Refused


@dataclass(slots=True)
class Outcome:
    """What became of a batch.

    refused: by (slot, reason). beyond: how many of those the quarantine had no room for.
    """

    reports: int = 0
    duplicates: int = 0
    births: int = 0
    ignored: int = 0
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    beyond: int = 0


class Batch:
    """Takes messages one after the other within a transaction of the caller's; `write` ends it.

    What it does to `streams`, `acks` and `quarantine` in memory is only true once the transaction
    is committed: after one that failed they must be loaded anew.
    """

    def __init__(
        self, db: Database, streams: Streams, quarantine: Quarantine, acks: Acks, now: float
    ) -> None:
        self._db = db
        self._streams = streams
        self._quarantine = quarantine
        self._acks = acks
        self._now = now
        self._new: dict[tuple[int, int], StoredReport] = {}
        self._duplicates: Counter[int] = Counter()
        self._kept: Quarantined | None = None  # the message that is being taken back
        self._stays = False
        self.outcome = Outcome()

    def refuse(self, refusal: Refusal) -> bool:
        """Put a message into the quarantine; False if there was no room."""
        if self._kept is not None:
            self._quarantine.change(self._kept, refusal)
            self._stays = True
            return True
        self.outcome.refused[refusal.slot, str(refusal.reason)] += 1
        if self._quarantine.add(refusal):
            return True
        self.outcome.beyond += 1
        return False

    def take(self, item: Verified) -> None:
        """Take a message to where it belongs."""
        content = item.content
        if isinstance(content, Filed):
            stream = self._stream(item, content.stream)
            seq = content.seq
            ranges = stream.ranges
            in_order = seq == ranges.last + 1
            if ranges.add(seq):
                self._file(stream, item, content)
                stream.dirty = True
                if in_order:
                    self._acks.stored(stream, self._now)
                else:
                    self._acks.at_once(stream)
            else:
                self._again(item, stream, seq)
        elif isinstance(content, Birth):
            self._birth(item, content)
        else:
            self._badly_filled(item, content)

    def take_back(self, item: Verified, kept: Quarantined) -> bool:
        """Take a message that lies in the quarantine; True if it may leave it."""
        content = item.content
        if not isinstance(content, Birth) and kept.stream_id is not None:
            stream = self._stream(item, content.stream or b"")
            if (kept.stream_id, kept.seq) == (stream.id, content.seq):
                # It counts as stored already, by lying there.
                if isinstance(content, Filed):
                    self._file(stream, item, content)
                return isinstance(content, Filed)
        self._kept, self._stays = kept, False
        self.take(item)
        self._kept = None
        return not self._stays

    def write(self) -> None:
        """Write what was taken."""
        insert_reports(self._db, self._new.values())
        if self._duplicates:
            count_duplicates(self._db, self._duplicates)
        self.outcome.reports = len(self._new)

    def _file(self, stream: Stream, item: Verified, report: Filed) -> None:
        _, seq, boot, up, start = report
        self._new[stream.id, seq] = StoredReport(
            stream.id, seq, boot, up, start, item.received_at, item.message
        )

    def _stream(self, item: Verified, stream: bytes) -> Stream:
        return self._streams.find(item.kid, stream) or self._streams.add(
            item.kid, item.slot, stream, item.received_at
        )

    def _known(self, stream: Stream, seq: int) -> bytes | None:
        new = self._new.get((stream.id, seq))
        if new is not None:
            return new.message
        return report_message(self._db, stream.id, seq) or self._quarantine.kept(stream.id, seq)

    def _again(self, item: Verified, stream: Stream, seq: int) -> None:
        """A seq that is stored has arrived again: the same bytes, or others."""
        self._acks.at_once(stream)
        if self._known(stream, seq) == item.message:
            self._duplicates[stream.id] += 1
            self.outcome.duplicates += 1
            return
        detail = f"report {seq} of stream {stream.stream.hex()} is stored with other bytes"
        self.refuse(self._refusal(item, Reason.CONFLICT, detail, stream, seq))

    def _badly_filled(self, item: Verified, refused: Refused) -> None:
        assert refused.stream is not None and refused.seq is not None
        stream, seq = self._stream(item, refused.stream), refused.seq
        if seq in stream.ranges:
            self._again(item, stream, seq)
        elif self.refuse(self._refusal(item, refused.reason, str(refused), stream, seq)):
            # Kept for good, and so it counts as stored: the device need not send it for ever.
            stream.ranges.add(seq)
            stream.dirty = True
            self._acks.at_once(stream)

    def _birth(self, item: Verified, birth: Birth) -> None:
        stream = self._stream(item, birth.stream)
        this = (birth.boot, birth.conn)
        digest = hash8(item.message)
        newest = stream.birth
        if newest is not None and this < newest[:2]:
            if birth_message(self._db, stream.id, *this) == item.message:
                # Retained by a broker that crashed before it had saved the newest one.
                self.outcome.ignored += 1
                return
            detail = f"birth {this[0]}/{this[1]} came after {newest[0]}/{newest[1]} of its stream"
            self.refuse(self._refusal(item, Reason.REPLAY, detail))
            # Perhaps its device has lost its memory: let it know what there is of its stream.
            self._acks.answer_older(stream, *this)
            return
        if newest is None or this > newest[:2]:
            insert_birth(self._db, stream, birth, item.received_at, item.message)
            stream.birth = (*this, digest)
            self.outcome.births += 1
        elif digest != newest[2]:
            detail = f"birth {this[0]}/{this[1]} is stored with other bytes"
            self.refuse(self._refusal(item, Reason.CONFLICT, detail))
        # The broker delivers the newest birth whenever we subscribe: its device may still wait.
        self._acks.answer(stream, *this)

    def _refusal(
        self,
        item: Verified,
        reason: Reason,
        detail: str,
        stream: Stream | None = None,
        seq: int | None = None,
    ) -> Refusal:
        return Refusal(
            item.topic,
            item.message,
            reason,
            detail,
            item.slot,
            item.kid,
            item.received_at,
            stream.id if stream else None,
            seq,
        )
