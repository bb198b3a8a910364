"""From messages to committed rows: verify each, then store all in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from host_tools.common.i18n import _
from host_tools.ingest.acks import Acks
from host_tools.ingest.allowance import NO_LIMITS, Buckets, Limits
from host_tools.ingest.batch import Tally, WriteBatch
from host_tools.ingest.verdict import Verified
from host_tools.province.settings import CHECK_VILLAGE
from host_tools.store import Database, StoreReplaced
from host_tools.store.evidence import StoredReport, mark_dirty, newest_report
from host_tools.store.quarantine import Bounds, Quarantine, Refusal
from host_tools.store.streams import Streams
from host_tools.wire import (
    Birth,
    Key,
    Reason,
    Refused,
    Report,
    Verifier,
    parse_birth,
    parse_report,
)

_RETRY_BATCH = 200
_WORTH_SHARING = 50  # messages: fewer are verified before another thread is awake
# `desalink broker check` publishes under these, in each regency. The broker's rules keep others
# from it.
_CHECK_SLOTS = f"/{CHECK_VILLAGE}-"


class Message(NamedTuple):
    """A message as the broker delivered it; `mid` is what its PUBACK must say, 0: none is due."""

    topic: str
    payload: bytes
    mid: int = 0


Stored = Callable[[StoredReport, Report], None]


class Pipeline:
    """Stores batches, for the only process that writes to the database.

    Args:
        stored: called with each report that a batch has stored, once it is on the disk.
        cores: so many threads verify a batch. Python runs one of them at a time, but a signature's
            check is not Python.

    Attributes:
        verifier: its keys may be exchanged at any time between batches.
    """

    def __init__(
        self,
        db: Database,
        streams: Streams,
        acks: Acks,
        keys: dict[bytes, Key],
        bounds: Bounds | None = None,
        limits: Limits = NO_LIMITS,
        stored: Stored | None = None,
        cores: int = 1,
    ) -> None:
        self._db = db
        self._streams = streams
        self._acks = acks
        self._quarantine = Quarantine(db, bounds)
        self._newest = newest_report(db)
        self._limits = limits
        self._stored = stored
        # By kind of message.
        self._sent = {"report": Buckets(limits.reports), "birth": Buckets(limits.births)}
        self._beginnings = Buckets(limits.streams)
        self._cores = cores
        self._helpers = ThreadPoolExecutor(cores - 1, "verify") if cores > 1 else None
        self.verifier = Verifier(keys)

    def close(self) -> None:
        if self._helpers is not None:
            self._helpers.shutdown()

    def reload(self) -> None:
        """Read everything that is kept in memory from the database again, after a failure."""
        untold = self._acks.forget()
        self._streams.load()
        for stream in (self._streams.find(*key) for key in untold):
            if stream is not None:
                self._acks.at_once(stream)
        self._quarantine.forget()
        # A commit whose failure was reported may have happened all the same.
        self._newest = newest_report(self._db)

    def admit(self, messages: list[Message], now: float) -> tuple[list[Message], Counter[str]]:
        """The messages that are within their slots' allowances; and how many others of each slot.

        No signature is verified for this: the broker has checked who publishes under a slot.
        """
        held: Counter[str] = Counter()
        admitted = []
        for message in messages:
            try:
                topic = self.verifier.topic(message.topic)
                slot, kind = topic.slot, topic.kind
            except Refused:
                slot, kind = "", "report"
            buckets = self._sent.get(kind, self._sent["report"])
            if buckets.take(slot, now):
                admitted.append(message)
            else:
                held[slot] += 1
        self._hold_acks(held, now)
        return admitted, held

    def _hold_acks(self, slots: Iterable[str], now: float) -> None:
        for slot in slots:
            self._acks.hold(slot, now + self._limits.hold_acks_s)

    def process(self, messages: Sequence[Message], received_at: int, now: float) -> Tally:
        """Store a batch; on return it is on the disk, and the acks that it calls for are due.

        Args:
            received_at: Unix time.
            now: monotonic seconds, for the pace of acks.

        Raises:
            StoreBusy, StoreFull: nothing of it is stored; call `reload` and try again.
            StoreReplaced: the database is not the one that this process wrote to.
        """
        items = self._all_verified(messages, received_at)
        with self._db.transaction():
            self._check_unchanged()
            batch = self._batch(now)
            for item in items:
                if isinstance(item, Verified):
                    batch.take(item)
                elif isinstance(item, Refusal):
                    batch.refuse(item)
                else:
                    batch.tally.ignored += 1
            batch.write()
        self._newest += batch.tally.reports - batch.tally.restored
        if self._stored is not None:
            for row, report in batch.reports.values():
                self._stored(row, report)
        self._hold_acks(batch.tally.held, now)
        return batch.tally

    def _batch(self, now: float) -> WriteBatch:
        most = self._limits.streams_per_key
        return WriteBatch(
            self._db, self._streams, self._quarantine, self._acks, now, self._beginnings, most
        )

    def retry(self, now: float, kids: frozenset[bytes] | None = None) -> Tally:
        """Try messages in the quarantine again; each keeps its date of arrival.

        Args:
            kids: only those refused for an unknown key that is one of these; None: all.

        Returns:
            What left the quarantine; what stays is not counted.
        """
        total = Tally()
        after = 0
        while kept := self._quarantine.next(after, _RETRY_BATCH, kids=kids):
            after = kept[-1].id
            with self._db.transaction():
                self._check_unchanged()
                batch = self._batch(now)
                for message in kept:
                    item = self._verified(message.topic, message.payload, message.received_at)
                    if isinstance(item, Verified):
                        batch.take_back(item, message)
                    elif isinstance(item, Refusal) and message.stream_id is None:
                        self._quarantine.change(message, item)
                batch.write()
                self._streams.save_ranges()
            self._newest += batch.tally.reports - batch.tally.restored
            total.reports += batch.tally.reports
            total.births += batch.tally.births
        return total

    def reload_quarantine(self) -> None:
        """Read how full the quarantine is: another process may have emptied it."""
        self._quarantine.renew()

    def ask_again(self) -> int:
        """Ask devices again for reports that another process has found corrupt; returns for how
        many."""
        found = self._streams.leave_out_corrupt()
        if found:
            with self._db.transaction():
                mark_dirty(self._db, found)
        for stream_id, _seqs in found:
            self._acks.at_once(self._streams.by_id(stream_id))
        return len(found)

    def unknown_kids(self) -> set[bytes]:
        """The key ids of messages that wait for an enrolment."""
        return self._quarantine.unknown_kids()

    def _check_unchanged(self) -> None:
        # The ingest is the only writer of reports: another newest one means another database.
        if newest_report(self._db) != self._newest:
            raise StoreReplaced(
                _(
                    "The reports in {path} changed under the running ingest; start it again, and "
                    "stop it the next time before a backup is put back."
                ).format(path=self._db.path)
            )

    def _all_verified(
        self, messages: Sequence[Message], at: int
    ) -> list[Verified | Refusal | None]:
        def verify(part: Sequence[Message]) -> list[Verified | Refusal | None]:
            return [self._verified(topic, payload, at) for topic, payload, _number in part]

        if self._helpers is None or len(messages) < _WORTH_SHARING:
            return verify(messages)
        share = -(-len(messages) // self._cores)
        parts = [messages[i : i + share] for i in range(0, len(messages), share)]
        others = [self._helpers.submit(verify, part) for part in parts[1:]]
        items = verify(parts[0])
        for other in others:
            items += other.result()
        return items

    def _verified(self, name: str, message: bytes, at: int) -> Verified | Refusal | None:
        """A message that its device has signed, or its refusal; None: a message of the check."""
        slot, kid = "", None
        try:
            if _CHECK_SLOTS in name:
                return None
            topic = self.verifier.topic(name)
            slot = topic.slot
            _aad, kid, payload = self.verifier.verify(topic, message)
            if topic.kind == "report":
                content: Report | Birth | Refused = parse_report(payload)
            elif topic.kind == "birth":
                content = parse_birth(payload)
            else:
                raise Refused(Reason.WRONG_TOPIC, f"'{topic.kind}' is not for the ingest")
        except Refused as refused:
            if kid is not None and refused.seq is not None:
                content = refused
            else:
                kid = kid or refused.kid
                return Refusal(name, message, refused.reason, str(refused), slot, kid, at)
        return Verified(name, slot, kid, message, at, content)
