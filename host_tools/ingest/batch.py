"""Writes one transaction's messages, each where its verdict says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from host_tools.archive.errors import ArchiveError
from host_tools.ingest.acks import Acks
from host_tools.ingest.allowance import Buckets
from host_tools.ingest.verdict import Decision, Verdict, Verified, decide
from host_tools.store import Database
from host_tools.store.evidence import (
    StoredReport,
    birth_message,
    count_duplicates,
    insert_reports,
    report_message,
)
from host_tools.store.quarantine import Quarantine, Quarantined, Refusal
from host_tools.store.streams import Stream, Streams, insert_birth
from host_tools.wire import Birth, Reason, Report, hash8


@dataclass(slots=True)
class Tally:
    """What became of the messages of a batch.

    refused: by (slot, reason). beyond: how many of those the quarantine had no room for.
    held: those beyond a device's allowance, by slot. restored: of the reports, those that took
    the place of a corrupt one.
    """

    reports: int = 0
    duplicates: int = 0
    births: int = 0
    ignored: int = 0
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    beyond: int = 0
    held: Counter[str] = field(default_factory=Counter)
    restored: int = 0


class WriteBatch:
    """Takes messages one after the other within a transaction of the caller's; `write` ends it.

    `stream`, `report`, `birth` and `may_begin` are what `verdict.Known` asks for.

    Its changes of `streams`, `acks` and `quarantine` in memory are valid only after the commit.
    After a transaction that failed they must be loaded again.

    Attributes:
        reports: by stream id and seq, the new rows, each with what the report says.
    """

    def __init__(
        self,
        db: Database,
        streams: Streams,
        quarantine: Quarantine,
        acks: Acks,
        now: float,
        beginnings: Buckets,
        streams_per_key: int,
    ) -> None:
        self._db = db
        self._streams = streams
        self._quarantine = quarantine
        self._acks = acks
        self._now = now
        self._beginnings = beginnings
        self._streams_per_key = streams_per_key
        self._duplicates: Counter[int] = Counter()
        self.reports: dict[tuple[int, int], tuple[StoredReport, Report]] = {}
        self.tally = Tally()

    def stream(self, kid: bytes, stream: bytes) -> Stream | None:
        return self._streams.find(kid, stream)

    def report(self, stream: Stream, seq: int) -> bytes | None:
        new = self.reports.get((stream.id, seq))
        if new is not None:
            return new[0].message
        return report_message(self._db, stream.id, seq) or self._quarantine.kept(stream.id, seq)

    def birth(self, stream: Stream, boot: int, conn: int) -> bytes | None:
        return birth_message(self._db, stream.id, boot, conn)

    def may_begin(self, kid: bytes) -> bool:
        few = len(self._streams.of_kid(kid)) < self._streams_per_key
        return few and self._beginnings.level(kid, self._now) >= 1

    def take(self, item: Verified) -> None:
        try:
            decision = decide(item, self)
        except ArchiveError:
            # Whether it is a duplicate can't be known now: its device keeps it.
            self.tally.held[item.slot] += 1
            return
        if decision.verdict is Verdict.HELD:
            self.tally.held[item.slot] += 1
            return
        stream = self._stream(item)
        if decision.verdict is not Verdict.REFUSED:
            self._accept(item, stream, decision.verdict)
            return
        refusal = self._refusal(item, stream, decision)
        kept = self.refuse(refusal)
        self._answer_refused(item, stream, decision.reason, kept)

    def refuse(self, refusal: Refusal) -> bool:
        """Put a message into the quarantine; False if there was no room."""
        self.tally.refused[refusal.slot, str(refusal.reason)] += 1
        if self._quarantine.add(refusal):
            return True
        self.tally.beyond += 1
        return False

    def take_back(self, item: Verified, kept: Quarantined) -> None:
        """Take a message out of the quarantine, or keep it there under its present reason."""
        if kept.stream_id is not None:
            # It counts as stored already, because the quarantine keeps it.
            if isinstance(item.content, Report):
                self._file(self._stream(item), item, item.content)
                self._quarantine.release(kept)
            return
        decision = decide(item, self)
        if decision.verdict is Verdict.HELD:
            return
        stream = self._stream(item)
        if decision.verdict is not Verdict.REFUSED:
            self._accept(item, stream, decision.verdict)
            self._quarantine.release(kept)
            return
        self._quarantine.change(kept, self._refusal(item, stream, decision))
        self._answer_refused(item, stream, decision.reason, True)

    def write(self) -> None:
        again = insert_reports(self._db, (row for row, _ in self.reports.values()))
        for key, received_at in again.items():
            row, report = self.reports[key]
            self.reports[key] = row._replace(received_at=received_at), report
        if self._duplicates:
            count_duplicates(self._db, self._duplicates)
        self.tally.reports = len(self.reports)
        self.tally.restored = len(again)
        if again:
            self._streams.save_ranges()

    def _accept(self, item: Verified, stream: Stream, verdict: Verdict) -> None:
        content = item.content
        if verdict is Verdict.LATE:
            self.tally.ignored += 1
        elif isinstance(content, Birth):
            if verdict is Verdict.STORED:
                insert_birth(self._db, stream, content, item.received_at, item.message)
                stream.birth = (content.boot, content.conn, hash8(item.message))
                self.tally.births += 1
            # The broker delivers the newest birth at each subscription: its device may still wait.
            self._acks.answer(stream, content.boot, content.conn)
        elif verdict is Verdict.DUPLICATE:
            self._duplicates[stream.id] += 1
            self.tally.duplicates += 1
            self._acks.at_once(stream)
        elif isinstance(content, Report):
            in_order = content.seq == stream.ranges.last + 1
            self._file(stream, item, content)
            if in_order:
                self._acks.stored(stream, self._now)
            else:
                self._acks.at_once(stream)

    def _answer_refused(self, item: Verified, stream: Stream, reason: Reason, kept: bool) -> None:
        content = item.content
        if isinstance(content, Birth):
            if reason is Reason.REPLAY:
                # Its device may have lost the end of its journal: it must know what is stored.
                self._acks.answer_older(stream, content.boot, content.conn)
            else:
                self._acks.answer(stream, content.boot, content.conn)
        elif reason is Reason.CONFLICT:
            self._acks.at_once(stream)
        elif kept and content.seq is not None:
            # It is kept for good and so counts as stored: the device need not send it again.
            self._mark(stream, content.seq)
            self._acks.at_once(stream)

    def _file(self, stream: Stream, item: Verified, report: Report) -> None:
        row = StoredReport(
            stream.id,
            report.seq,
            report.boot,
            report.up,
            report.start,
            item.received_at,
            item.message,
        )
        self.reports[row.stream_id, row.seq] = row, report
        self._mark(stream, row.seq)

    @staticmethod
    def _mark(stream: Stream, seq: int) -> None:
        stream.ranges.add(seq)
        stream.dirty = True

    def _stream(self, item: Verified) -> Stream:
        name = item.content.stream or b""
        found = self._streams.find(item.kid, name)
        if found is not None:
            return found
        self._beginnings.take(item.kid, self._now)
        return self._streams.add(item.kid, item.slot, name, item.received_at)

    @staticmethod
    def _refusal(item: Verified, stream: Stream, decision: Decision) -> Refusal:
        content = item.content
        # A birth has no place in its stream.
        place = (None, None) if isinstance(content, Birth) else (stream.id, content.seq)
        return Refusal(
            item.topic,
            item.message,
            decision.reason,
            decision.detail,
            item.slot,
            item.kid,
            item.received_at,
            *place,
        )
