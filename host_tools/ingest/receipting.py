"""Closes a receipt at each midnight of WITA and when one is asked for, in short steps between
batches (docs/evidence.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.archive.chain import Chain
from host_tools.common.errors import DesalinkError, KeyFileError
from host_tools.common.i18n import _
from host_tools.common.times import DAY_S, WITA_S
from host_tools.people.office_log import entry_hash
from host_tools.people.office_pen import check_named
from host_tools.people.receipts import (
    BEGINNING,
    Receipt,
    end_and_made,
    receipt_hash,
    sign_receipt,
)
from host_tools.people.trust import INGEST
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.store import Database, StoreLocked, lock, open_database
from host_tools.store.meta import get_meta, set_meta
from host_tools.store.receipts import Counted, add_receipt, count_reports, newest_receipt

PAUSE_S = 60
"""A receipt is closed so long after midnight."""

REQUEST = "receipt_request"  # in `meta`: a Unix time; what arrived before is to be in a receipt
_PATIENCE_S = 120
_POLL_S = 0.2


class ReceiptNotMade(DesalinkError):
    """A receipt that was asked for does not come."""


class ReceiptSource(Protocol):
    """What a receipt needs from outside the database."""

    def key(self) -> Ed25519PrivateKey | None:
        """The ingest's key; None where the province has none yet.

        Raises:
            KeyFileError: it is damaged, or was replaced.
        """

    def office(self) -> tuple[tuple[int, bytes] | None, int]:
        """Number and hash of the newest entry of the office log; version of the newest trust."""

    def archive(self) -> str | None:
        """The digest of the newest line of the archive's list."""


class ProvinceReceipts:
    """All that of a province."""

    def __init__(self, province: Province) -> None:
        self._province = province

    def key(self) -> Ed25519PrivateKey | None:
        path = self._province.receipt_key
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(
                _("{path} is not an Ed25519 key; put it back from the backup.").format(path=path)
            )
        with Registry.open(self._province.directory) as registry:
            check_named(registry, key, INGEST)
        return key

    def office(self) -> tuple[tuple[int, bytes] | None, int]:
        with Registry.open(self._province.directory) as registry:
            newest, trust = registry.newest_office_entry(), registry.newest_trust()
        return (
            None if newest is None else (newest[0], entry_hash(newest[1])),
            trust[0] if trust else 0,
        )

    def archive(self) -> str | None:
        chain = Chain(self._province.archive)
        return chain.head if chain.files else None


def last_midnight(now: float) -> int:
    """The midnight of WITA before a time, or at it."""
    return int(now + WITA_S) // DAY_S * DAY_S - WITA_S


class Receipting:
    """Makes the receipts of a database, one after the other."""

    def __init__(
        self, db: Database, source: ReceiptSource, clock: Callable[[], float] | None = None
    ) -> None:
        """
        Args:
            clock: when receipts are signed, where that is another time than `now` of `step`.
        """
        self._clock = clock
        self._db = db
        self._source = source
        self._counting: tuple[Generator[None, None, Counted], int] | None = None
        self._asked = 0
        self._load()

    def _load(self) -> None:
        newest = newest_receipt(self._db)
        self._number, self._prev, self._begin, self._made = 0, BEGINNING, 0, 0
        if newest is not None:
            self._number, self._prev = newest[0] + 1, receipt_hash(newest[1])
            self._begin, self._made = end_and_made(newest[1])

    @property
    def counted_until(self) -> int:
        """The end of the newest receipt; 0: there is none."""
        return self._begin

    def due(self, now: float) -> bool:
        """Whether a receipt is to be made."""
        return self._begin < self._asked or self._midnight(now) <= now - PAUSE_S

    def ask(self, end: int) -> None:
        """Have what arrived before a time counted, although its day is not over."""
        self._asked = end

    def _midnight(self, now: float) -> int:
        """The midnight that ends the next receipt, if none is asked for before."""
        if not self._begin:
            return last_midnight(now - PAUSE_S)
        return last_midnight(self._begin) + DAY_S

    def _end(self, now: float) -> int:
        midnight = self._midnight(now)
        if self._begin < self._asked and not self._begin < midnight <= self._asked:
            return self._asked
        return midnight

    def step(self, now: float, seconds: float) -> Receipt | None:
        """Go on for about so long; returns the receipt that is stored with that.

        Raises:
            KeyFileError, RegistryError, ArchiveError: it can't be made now; try again later.
            StoreBusy, StoreFull: the same.
        """
        deadline = time.monotonic() + seconds
        if self._counting is None:
            end = self._end(now)
            self._counting = count_reports(self._db, self._begin, end), end
        (counting, end), self._counting = self._counting, None  # it begins anew after an error
        try:
            next(counting)
            while time.monotonic() < deadline:
                next(counting)
        except StopIteration as ended:
            made = int(self._clock() if self._clock else now)
            return self._close(ended.value, end, made)
        self._counting = counting, end
        return None

    def _close(self, counted: Counted, end: int, made: int) -> Receipt | None:
        key = self._source.key()
        if key is None:
            return None
        office, trust = self._source.office()
        receipt = Receipt(
            number=self._number,
            prev=self._prev,
            begin=self._begin,
            end=end,
            made=max(made, self._made),
            reports=counted.reports,
            births=counted.births,
            streams=counted.streams,
            office=office,
            trust=trust,
            births_digest=counted.births_digest,
            archive=self._source.archive(),
            late=counted.late,
            late_births=counted.late_births,
        )
        signed = sign_receipt(key, receipt)
        with self._db.transaction():
            add_receipt(self._db, receipt.number, signed, counted)
        self._number, self._prev = receipt.number + 1, receipt_hash(signed)
        self._begin, self._made = end, receipt.made
        return receipt


def close_all(
    db: Database,
    source: ReceiptSource,
    now: float,
    clock: Callable[[], float] | None = None,
    *,
    asked: int = 0,
) -> list[Receipt]:
    """Make every receipt that is due; arguments as those of `Receipting`.

    Args:
        asked: what arrived before is counted, too.
    """
    receipting, made = Receipting(db, source, clock), []
    receipting.ask(asked)
    while receipting.due(now) and source.key() is not None:
        receipt = receipting.step(now, 3600)
        if receipt is not None:
            made.append(receipt)
    return made


def receipt_now(province: Province) -> None:
    """Have all counted that has arrived: by the running ingest, or here where none runs.

    Raises:
        ReceiptNotMade: the province has no key for receipts, or the ingest does not make one.
        KeyFileError, RegistryError, ArchiveError: it can't be made.
        StoreMissing, StoreBusy, StoreFull: the database is not there, or can't be written.
    """
    # To the second's end: what is late within it is counted by the next receipt as late.
    source, now = ProvinceReceipts(province), int(time.time()) + 1
    if source.key() is None:
        raise ReceiptNotMade(
            _("This province makes no receipts; begin them with 'desalink evidence begin'.")
        )
    try:
        with lock(province.database), open_database(province.database) as db:
            close_all(db, source, now, asked=now)
    except StoreLocked:
        _ask_ingest(province, now)


def _ask_ingest(province: Province, now: int) -> None:
    with open_database(province.database) as db, db.transaction():
        set_meta(db, REQUEST, max(now, get_meta(db, REQUEST) + 1))
    until = time.monotonic() + _PATIENCE_S
    with open_database(province.database, readonly=True) as db:
        while Receipting(db, ProvinceReceipts(province)).counted_until < now:
            if time.monotonic() > until:
                raise ReceiptNotMade(
                    _(
                        "The running ingest has made no receipt within {seconds} s; its log says "
                        "why ('receipt_failed')."
                    ).format(seconds=_PATIENCE_S)
                )
            time.sleep(_POLL_S)
