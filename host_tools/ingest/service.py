"""The loop of the ingest: read, store, confirm, acknowledge; and derive when there is time."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from host_tools.common.errors import BrokerError, DesalinkError
from host_tools.common.i18n import _
from host_tools.common.log import Log, Seldom, make_log
from host_tools.derive import Deriver
from host_tools.ingest.acks import Acks
from host_tools.ingest.batch import Tally
from host_tools.ingest.clock import ArrivalClock
from host_tools.ingest.keys import KeySource
from host_tools.ingest.metrics import Figures, serve
from host_tools.ingest.options import BrokerAddress, Options
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.ingest.presence import Presence
from host_tools.ingest.receipting import REQUEST as RECEIPT_REQUEST
from host_tools.ingest.receipting import ReceiptSource
from host_tools.ingest.receiver import Receiver
from host_tools.ingest.retry import REQUEST
from host_tools.ingest.turns import DeriveTurns, ReceiptTurns
from host_tools.store import Database, StoreBusy, StoreFull, lock, open_database
from host_tools.store.evidence import newest_arrival
from host_tools.store.meta import get_meta
from host_tools.store.size import size
from host_tools.store.streams import Streams
from host_tools.wire import Key

_MEASURE_S = 300.0  # how often the disk is measured
# How long one statement may wait for another process that writes; the broker hears nothing then.
_PATIENCE_S = 2.0
_OBJECTS = 100_000  # new ones between two searches for cycles
_IDLE_S = 1.0  # how often to check what does not come through the socket
_SAVE_RANGES_S = 60.0
_SAVE_RANGES_REPORTS = 50_000
T = TypeVar("T")

_BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Have Python search for cycles of objects more rarely. What an ingest keeps in memory holds
    none, and the search took a tenth of its time."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Ingest:
    """One ingest of one database. `run` returns when `stop` was called, or when nothing comes.

    Attributes:
        figures: what it has done so far.
    """

    def __init__(
        self,
        database: Path,
        keys: KeySource,
        broker: BrokerAddress,
        options: Options | None = None,
        log: Log | None = None,
        clock: Callable[[], float] = time.time,
        receipts: ReceiptSource | None = None,
    ) -> None:
        self._path = database
        self._receipt_source = receipts
        self._source = keys
        self._options = options or Options()
        self._log = log or make_log()
        self._clock = clock
        self._stopping = False
        self._seldom = Seldom()
        self._receiver = Receiver(broker, self._options.filters)
        self._presence = Presence()
        self.figures = Figures()

    def stop(self) -> None:
        """Ask `run` to finish what it has in hand; from a signal handler or another thread."""
        self._stopping = True
        self._receiver.wake()

    def run(self) -> None:
        """Work until stopped.

        Raises:
            BrokerError: nothing came for `until_idle_s`, since the broker was out of reach.
            StoreLocked: another ingest works on the database.
            StoreReplaced, StoreDamaged: the database is not what it was.
            ClockBehind: the clock is behind what is stored.
            StoreBusy, StoreFull: it could not be written for longer than `give_up_s`.
        """
        metrics = None
        with lock(self._path):
            if not self._path.exists():
                self._log("database_new", path=self._path)
            with (
                open_database(self._path, create=True, patience_s=_PATIENCE_S) as db,
                _rare_collections(),
                contextlib.ExitStack() as closing,
            ):
                try:
                    if self._options.metrics_port is not None:
                        metrics = serve(self.figures, self._options.metrics_port)
                    self._open(db)
                    closing.callback(self._pipeline.close)
                    self._loop()
                    self._end()
                finally:
                    if metrics is not None:
                        metrics.shutdown()
                        metrics.server_close()
                    self._receiver.release()

    def _open(self, db: Database) -> None:
        self._db = db
        self._streams = Streams(db)
        self._acks = Acks(self._options.ack_reports, self._options.ack_seconds)
        newest = 0 if self._options.accept_clock else newest_arrival(db)
        self._arrival = ArrivalClock(newest, self._clock)
        self._arrival.now()
        self._keys_version = self._source.version()
        keys = self._source.load()
        options = self._options
        self._deriver = Deriver(db, self._streams)
        self._pipeline = Pipeline(
            *(db, self._streams, self._acks, keys, options.bounds, options.limits),
            self._deriver.take,
            options.cores,
        )
        self._db_version = db.version()
        self._retry_request = get_meta(db, REQUEST)
        now = time.monotonic()
        self._checked_at = now - _IDLE_S
        self._measured_at = now - _MEASURE_S
        self._saved_at, self._saved_reports = now, 0
        self._derive = DeriveTurns(self._deriver, self.figures, self._log, self._seldom)
        self._receipts: ReceiptTurns | None = None
        if (source := self._receipt_source) is not None:
            asked = get_meta(db, RECEIPT_REQUEST)
            self._receipts = ReceiptTurns(db, source, self._clock, self._log, self._seldom, asked)
        self._next_connect, self._attempts = now, 0
        self._refused: BrokerError | None = None
        self._heard_at = now
        self._log("started", database=self._path, keys=len(keys), pending=self._deriver.pending())
        self._retry(frozenset(keys) & self._pipeline.unknown_kids())

    def _end(self) -> None:
        self._acks.everything()
        self._publish()
        self._receiver.close()
        # This only saves the next start some reading.
        with contextlib.suppress(StoreBusy, StoreFull):
            self._save_ranges()
        self._log("stopped", reports=self.figures.reports, duplicates=self.figures.duplicates)

    def _loop(self) -> None:
        options = self._options
        more = False
        while not self._stopping:
            if not self._receiver.connected and not self._connect():
                continue
            # What came while something was derived is still to be read.
            busy = self._has_work()
            last = self._idle_for_s() <= 0 and not busy
            wait_s = 0.0 if more or busy else _IDLE_S
            messages, more = self._receiver.read(options.batch, wait_s, options.linger_s)
            self._check_others()
            if messages:
                self._take(messages)
                self._heard_at = time.monotonic()
            self._publish()
            self._work(busy=more)
            self._save_sometimes()
            if last and not messages:
                return

    def _work(self, *, busy: bool) -> None:
        self._derive.turn(busy=busy)
        if self._receipts is not None:
            self._receipts.turn(busy=busy)

    def _has_work(self) -> bool:
        return self._derive.left or (self._receipts is not None and self._receipts.counting)

    def _idle_for_s(self) -> float:
        """Seconds without a message after which the ingest ends."""
        if self._options.until_idle_s is None:
            return math.inf
        return self._heard_at + self._options.until_idle_s - time.monotonic()

    def _connect(self) -> bool:
        now = time.monotonic()
        if now < self._next_connect:
            self._check_others()
            self._work(busy=False)
            busy = self._has_work()
            wait_s = min(self._next_connect - now, max(0.0, self._idle_for_s()))
            self._receiver.sleep(0 if busy else wait_s)
            if self._idle_for_s() <= 0 and not busy and self._refused is not None:
                seconds = self._options.until_idle_s
                raise BrokerError(
                    _("Ended after {seconds:g} s without a broker: {refused}").format(
                        seconds=seconds, refused=self._refused
                    )
                )
            return False
        self.figures.connected = 0
        try:
            self._receiver.connect()
        except BrokerError as error:
            self._refused = error
            delay = _BACKOFF_S[min(self._attempts, len(_BACKOFF_S) - 1)]
            self._attempts += 1
            self._next_connect = time.monotonic() + delay
            if self._attempts == 1 or delay == _BACKOFF_S[-1]:
                self._log("broker_unreachable", level="warning", error=error, retry_s=delay)
            return False
        self._attempts, self._next_connect = 0, time.monotonic() + _BACKOFF_S[0]
        self._refused = None
        self.figures.connected = 1
        self.figures.connections += 1
        self._heard_at = time.monotonic()
        self._log("connected")
        return True

    def _take(self, messages: list[Message]) -> None:
        """Store a batch and confirm it. What can't be stored stays unconfirmed."""
        begin = time.perf_counter()
        received_at = self._arrival.now()
        admitted, held = self._pipeline.admit(self._presence.take(messages), time.monotonic())

        def store() -> Tally:
            return self._pipeline.process(admitted, received_at, time.monotonic())

        outcome = self._write("batch", store) if admitted else Tally()
        self._receiver.confirm(messages)
        figures = self.figures
        for slot, number in (held + outcome.held).items():
            figures.held += number
            count = self._seldom.count((slot, "held"), number)
            if count is not None:
                self._log("held", level="warning", slot=slot, messages=count)
        figures.store_seconds += time.perf_counter() - begin
        figures.last_message = self._clock()
        figures.batches += 1
        figures.reports += outcome.reports
        figures.duplicates += outcome.duplicates
        figures.births += outcome.births
        figures.beyond += outcome.beyond
        self._derive.left = self._derive.left or outcome.reports > 0
        for (slot, reason), number in outcome.refused.items():
            figures.refused[reason] += number
            count = self._seldom.count((slot, reason), number)
            if count is not None:
                self._log("refused", level="warning", reason=reason, slot=slot, messages=count)

    def _write(self, what: str, action: Callable[[], T]) -> T:
        """Write to the database; retry while it can't be written."""
        failed_at: float | None = None
        for attempt in itertools.count():
            try:
                if failed_at is not None:
                    self._pipeline.reload()
                    self._deriver.load()
                result = action()
            except (StoreBusy, StoreFull) as error:
                now = time.monotonic()
                self.figures.store_failures += 1
                if failed_at is None:
                    failed_at = now
                    self._log("store_failed", level="error", what=what, error=error)
                if self._stopping or now - failed_at >= self._options.give_up_s:
                    raise
                self._receiver.stay_alive()
                self._receiver.sleep(_BACKOFF_S[min(attempt, 3)])
                continue
            if failed_at is not None:
                self._log("store_recovered", what=what, after_s=time.monotonic() - failed_at)
            return result
        raise AssertionError("unreachable")

    def _publish(self) -> None:
        acks = self._acks.take(time.monotonic(), self._clock)
        for topic, payload in acks:
            self._receiver.publish(topic, payload)
        if acks:
            self.figures.acks += len(acks)
            self._receiver.flush()

    def _check_others(self) -> None:
        """Notice changed keys, a replaced database, a moved clock, and requests of processes."""
        self._db.check_identity()
        try:
            version = self._source.version()
            if version >> 32 != self._keys_version >> 32:
                self._log("registry_replaced", level="warning")
            if version != self._keys_version:
                self._take_keys(self._source.load())
                self._keys_version = version
        except (DesalinkError, sqlite3.Error) as error:
            if self._seldom.count("registry") is not None:
                self._log("registry_unreadable", level="warning", error=error)
        now = time.monotonic()
        if now - self._checked_at < _IDLE_S:
            return
        self._checked_at = now
        self._note_presence()
        if now - self._measured_at >= _MEASURE_S:
            self._measured_at = now
            self.figures.disk = size(self._db, self._clock())
        moved = self._arrival.step()
        if moved is not None:
            self._log("clock_stepped", level="warning", by_s=moved)
        version = self._db.version()
        if version != self._db_version:
            self._db_version = version
            self._pipeline.reload_quarantine()
            self._ask_again()
            request = get_meta(self._db, REQUEST)
            if request > self._retry_request:
                self._retry_request = request
                self._retry(None)
            if self._receipts is not None:
                self._receipts.ask(get_meta(self._db, RECEIPT_REQUEST))

    def _ask_again(self) -> None:
        asked = self._write("corrupt", self._pipeline.ask_again)
        if asked:
            # What was remembered of the derived tables is of those before.
            self._deriver.load()
            self._derive.left = True
            self._log("corrupt_asked_again", level="warning", reports=asked)

    def _note_presence(self) -> None:
        # A hint may wait for as long as the database is busy.
        with contextlib.suppress(StoreBusy, StoreFull):
            at, now = int(self._clock()), time.monotonic()
            self._presence.save(self._db, at, now, connected=self._receiver.connected)

    def _take_keys(self, keys: dict[bytes, Key]) -> None:
        old = self._pipeline.verifier.keys
        self._pipeline.verifier.keys = keys
        new = frozenset(kid for kid, key in keys.items() if key.active and kid not in old)
        self._log("keys_changed", keys=len(keys), new=len(new))
        self._retry(new & self._pipeline.unknown_kids())

    def _retry(self, kids: frozenset[bytes] | None) -> None:
        if kids is not None and not kids:
            return
        outcome = self._write("quarantine", lambda: self._pipeline.retry(time.monotonic(), kids))
        self.figures.reports += outcome.reports
        self._derive.left = True
        self._log("quarantine_retried", reports=outcome.reports, births=outcome.births)

    def _save_sometimes(self) -> None:
        """Save the ranges now and then, so that a restart has little to read again."""
        new = self.figures.reports - self._saved_reports
        now = time.monotonic()
        if new >= _SAVE_RANGES_REPORTS or (new and now - self._saved_at >= _SAVE_RANGES_S):
            self._write("ranges", self._save_ranges)
            self._saved_at, self._saved_reports = now, self.figures.reports

    def _save_ranges(self) -> None:
        with self._db.transaction(durable=False):
            self._streams.save_ranges()
