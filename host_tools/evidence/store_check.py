"""What is stored compared with what the receipts count."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import cbor2

from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.people.receipts import (
    Receipt,
    StreamDigest,
    StreamReceipt,
    verify_receipts,
)
from host_tools.people.trust import RoleSigner
from host_tools.store import Database
from host_tools.store.evidence import all_births
from host_tools.store.receipts import (
    ReceiptIndex,
    StreamName,
    receipts,
    stored_pages,
    stream_names,
)

Progress = Callable[[str], None]


class StoreCheck:
    """Compares what is stored with what the receipts count. Of each receipt, only sums are kept.

    Attributes:
        newest, head: the newest receipt and its hash.
        offices, archives: each head of the office log and of the archive's list that receipts
            name, and the first receipt that does.
    """

    def __init__(
        self,
        db: Database,
        keys: Mapping[bytes, RoleSigner],
        is_lost: Callable[[int], bool] = lambda receipt: False,
    ) -> None:
        """
        Args:
            is_lost: whether the reports of a receipt are declared lost.

        Raises:
            ReceiptError: the chain is not what the ingest signed.
        """
        self._db = db
        self._keys = keys
        self._is_lost = is_lost
        self.newest: Receipt | None = None
        self.head = b""
        self.offices: dict[tuple[int, bytes], int] = {}
        self.archives: dict[str, int] = {}
        self._births_counted: dict[int, tuple[int, bytes]] = {}
        self._sums: defaultdict[int, int] = defaultdict(int)
        self._index = ReceiptIndex(self._light())

    def _light(self) -> Iterator[Receipt]:
        """The chain, verified; notes what each receipt says."""
        for receipt, digest in verify_receipts(receipts(self._db), self._keys):
            if not self._is_lost(receipt.number):
                self._sums[receipt.number] = sum(map(_row_sum, receipt.streams))
                self._births_counted[receipt.number] = receipt.births, receipt.births_digest
            if receipt.office is not None:
                self.offices.setdefault(receipt.office, receipt.number)
            if receipt.archive is not None:
                self.archives.setdefault(receipt.archive, receipt.number)
            self.newest, self.head = receipt, digest
            yield receipt

    def differences(self, progress: Progress = lambda _name: None) -> Iterator[str]:
        """What is stored otherwise than it was counted."""
        names = stream_names(self._db)
        found: defaultdict[int, int] = defaultdict(int)
        for number, name in enumerate(names, 1):
            for receipt, row in self._rows(name):
                found[receipt] += _row_sum(row)
            if number % 100 == 0 or number == len(names):
                progress(f"{number} of {len(names)} streams are compared")
        for number in sorted(self._sums.keys() | found.keys()):
            if self._sums.get(number, 0) != found.get(number, 0):
                yield from self._named(number, names)
        yield from self._births()

    def stored(self, receipts: Collection[int]) -> int | None:
        """The first of some receipts of which a report is stored."""
        names = stream_names(self._db)
        found = {number for name in names for number, _row in self._rows(name)}
        return min(found & set(receipts), default=None)

    def _rows(self, name: StreamName) -> Iterator[tuple[int, StreamReceipt]]:
        """What receipts must say of a stream, by what is stored."""
        digests: dict[int, StreamDigest] = {}
        ends: dict[int, tuple[int, int]] = {}
        for page in stored_pages(self._db, name.id):
            for seq, received_at, message in page:
                number = self._index.of_report(name.kid, name.stream, seq, received_at)
                if number is None:
                    continue
                if number not in digests:
                    digests[number] = StreamDigest()
                    ends[number] = seq, seq
                digests[number].add(message, received_at)
                ends[number] = ends[number][0], seq
        highest = 0
        for number in sorted(digests):
            first, last = ends[number]
            highest = max(highest, last)
            digest = digests[number]
            names = (name.kid, name.stream, name.slot)
            yield (
                number,
                StreamReceipt(*names, digest.count, first, highest, digest.digest()),
            )

    def _named(self, number: int, names: Iterable[StreamName]) -> Iterator[str]:
        (receipt,) = (
            r for r, _ in verify_receipts(receipts(self._db), self._keys) if r.number == number
        )
        counted = {(s.kid, s.stream): s for s in receipt.streams}
        where = f"Receipt {number} of {day(receipt.end - 1)}"
        for name in names:
            stored = next((row for n, row in self._rows(name) if n == number), None)
            row = counted.pop((name.kid, name.stream), None)
            if stored == row:
                continue
            what = f"{name.slot}, stream {name.stream.hex()} of device {name.kid.hex()}"
            if row is None or stored is None or row.count != stored.count:
                has, count = stored.count if stored else 0, row.count if row else 0
                yield _("{where} counts {count} reports of {what}, and {has} are stored.").format(
                    where=where, count=count, what=what, has=has
                )
            elif row.slot != stored.slot:
                yield _("{where} says that {what} was {slot}.").format(
                    where=where, what=what, slot=row.slot
                )
            else:
                yield (
                    _(
                        "{where}: the {count} reports of {what} are not those that arrived: a "
                        "message or a time of receipt was changed."
                    ).format(where=where, count=row.count, what=what)
                )
        for row in counted.values():
            yield _("{where} counts {count} reports of a stream of {slot} that is gone.").format(
                where=where, count=row.count, slot=row.slot
            )

    def _births(self) -> Iterator[str]:
        digests: defaultdict[int, StreamDigest] = defaultdict(StreamDigest)
        for kid, stream, boot, conn, received_at, message in all_births(self._db):
            number = self._index.of_birth(kid, stream, boot, conn, received_at)
            if number is not None:
                digests[number].add(message, received_at)
        for number, (count, digest) in self._births_counted.items():
            stored = digests[number]
            if (count, digest) != (stored.count, stored.digest()):
                yield (
                    _(
                        "Receipt {number} counts {count} births, and the {stored_count} that are "
                        "stored are not these."
                    ).format(number=number, count=count, stored_count=stored.count)
                )


def _row_sum(row: StreamReceipt) -> int:
    fields = [row.kid, row.stream, row.slot, row.count, row.first_seq, row.highest_seq]
    return int.from_bytes(hashlib.sha256(cbor2.dumps([*fields, row.digest])).digest())
