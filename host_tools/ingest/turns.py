"""What the ingest does between batches, a turn at a time: it derives, and makes receipts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from host_tools.archive.errors import ArchiveError
from host_tools.common.errors import DesalinkError
from host_tools.common.log import Log, Seldom
from host_tools.derive import Deriver
from host_tools.derive.deriver import STEP_S
from host_tools.ingest.metrics import Figures
from host_tools.ingest.receipting import Receipting, ReceiptSource
from host_tools.store import Database, StoreBusy, StoreFull

_DERIVE_REPORTS = 2000
# While more messages wait than are read at once, these get one part in so many of the time, in
# short steps: so they hardly slow the ingest, and who reports rarely is not derived late.
_SHARE = 8
_BUSY_STEP_S = 0.1
_DERIVE_PAUSE_S = 5.0
_RECEIPT_STEP_S = 0.2
_RECEIPT_DUE_S = 1.0  # how often to see whether a receipt is due
_RECEIPT_PAUSE_S = 60.0  # until a receipt that could not be made is tried again


class DeriveTurns:
    """Derives while `left`: whether anything is left to derive."""

    def __init__(self, deriver: Deriver, figures: Figures, log: Log, seldom: Seldom) -> None:
        self._deriver = deriver
        self._figures = figures
        self._log = log
        self._seldom = seldom
        self._after = time.monotonic()
        self.left = True

    def turn(self, *, busy: bool) -> None:
        """Derive some more, if it is time."""
        begin = time.monotonic()
        if not self.left or begin < self._after:
            return
        try:
            done = self._deriver.step(_DERIVE_REPORTS, _BUSY_STEP_S if busy else STEP_S)
        except (StoreBusy, StoreFull, ArchiveError) as error:
            self._deriver.load()
            self._after = begin + _DERIVE_PAUSE_S
            if self._seldom.count("derive") is not None:
                self._log("derive_failed", level="error", error=error)
            return
        took = time.monotonic() - begin
        self._after = begin + took * (_SHARE if busy else 1)
        figures = self._figures
        figures.derived += done
        figures.derive_seconds += took
        figures.derive_pending = self._deriver.pending()
        self.left = figures.derive_pending > 0


class ReceiptTurns:
    """Makes receipts. `counting`: whether one is begun and not made."""

    def __init__(
        self,
        db: Database,
        source: ReceiptSource,
        clock: Callable[[], float],
        log: Log,
        seldom: Seldom,
        asked: int,
    ) -> None:
        """
        Args:
            asked: the newest request for a receipt that needs no answer.
        """
        self._receipting = Receipting(db, source)
        self._source = source
        self._clock = clock
        self._log = log
        self._seldom = seldom
        self._asked = asked
        self._after = time.monotonic()
        self._said_keyless = False
        self.counting = False

    def ask(self, request: int) -> None:
        """Make a receipt up to a time, if that was not asked for before."""
        if request > self._asked:
            self._asked = request
            self._receipting.ask(request)
            self._after = time.monotonic()

    def turn(self, *, busy: bool) -> None:
        """Go on with the receipt of a day that is over, or of what was asked for."""
        now = time.monotonic()
        if now < self._after:
            return
        self.counting = False
        try:
            if not self._receipting.due(self._clock()):
                self._after = now + _RECEIPT_DUE_S
                return
            if self._source.key() is None:
                self._after = now + _RECEIPT_PAUSE_S
                if not self._said_keyless:
                    self._said_keyless = True
                    self._log("receipts_off", remedy="desalink evidence begin")
                return
            seconds = _BUSY_STEP_S if busy else _RECEIPT_STEP_S
            receipt = self._receipting.step(self._clock(), seconds)
        except (DesalinkError, sqlite3.Error, OSError) as error:
            self._after = now + _RECEIPT_PAUSE_S
            if self._seldom.count("receipt") is not None:
                self._log("receipt_failed", level="error", error=error)
            return
        self.counting = True
        took = time.monotonic() - now
        self._after = time.monotonic() + took * (_SHARE if busy else 0)
        if receipt is not None:
            self._log("receipt", number=receipt.number, reports=receipt.reports)
