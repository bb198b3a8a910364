"""Writes the evidence of a month's figures into one file, slot by slot.

Each slot's figures are counted anew from what is written. Where they are not those that were
published, more receipts are taken in; where that does not help, no file is made.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from host_tools import __version__
from host_tools.common.i18n import _
from host_tools.contracts.calendar import Month
from host_tools.contracts.months import holding
from host_tools.evidence.chains import BEFORE_S, Expected, Office, ReceiptChain
from host_tools.evidence.container import (
    FORMAT,
    MAX_PART,
    EvidenceError,
    EvidenceWriter,
    PartMessage,
    pack,
)
from host_tools.evidence.documents import trusts_under
from host_tools.evidence.recount import Received, Recounter, dumped, totals
from host_tools.people.receipts import StreamDigest
from host_tools.people.trust import INGEST, OFFICE, Trust, signers
from host_tools.province.contract_records import ClosedMonth
from host_tools.province.registry import Registry
from host_tools.store import Database
from host_tools.store.evidence import stream_births
from host_tools.store.receipts import (
    ReceiptIndex,
    StreamName,
    receipts,
    stored_pages,
    stream_names,
)
from host_tools.wire import parse_report
from host_tools.wire.envelope import split

_PART_BYTES = 4 << 20

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What was written. digest: SHA-256 of the file; receipts: the first and last that count."""

    digest: str
    slots: int
    reports: int
    receipts: tuple[int, int]
    head: str


class _OtherFigures(Exception):
    """The reports that some receipts count do not give the figures of a slot."""

    def __init__(self, slot: str) -> None:
        self.slot = slot

    def sentence(self, month: Month) -> EvidenceError:
        """The error for people."""
        return EvidenceError(
            _(
                "{slot} was closed with other figures than those reports give that receipts "
                "count: some came in between the last receipt and the closing. Open the month "
                "again with 'desalink month reopen {name} --why TEXT', have a receipt made with "
                "'desalink evidence receipts --now', and close it."
            ).format(slot=self.slot, name=month.name)
        )


class Exporter:
    """Exports from an open province.

    Args:
        name: of the province.
        roots: its public root keys, 32 bytes each.
    """

    def __init__(
        self,
        registry: Registry,
        database: Database,
        name: str,
        roots: Sequence[bytes],
        progress: Progress = lambda _name: None,
    ) -> None:
        self._registry, self._database = registry, database
        self._name, self._progress = name, progress
        self._documents = [document for _, document in registry.trusts()]
        self._trusts: list[Trust] = trusts_under(self._documents, roots)

    def export(self, path: Path, month: Month, scope: Mapping[str, str], *, now: int) -> Exported:
        """Write the file of a month.

        Args:
            scope: `village`, `regency` or `provider` with its code or name; empty: all.

        Raises:
            EvidenceError: there are no receipts yet, or the evidence does not give the figures.
        """
        office = Office(self._registry.office_log(), signers(self._trusts, OFFICE), month)
        closed = holding(self._registry, month)
        chain, _end = self._chain(office, 0, -1)
        if not chain.spans:
            raise EvidenceError(
                _(
                    "No receipt was made yet; have one made with 'desalink evidence receipts "
                    "--now'."
                )
            )
        last = len(chain.spans) - 1
        signed = office.closed
        if (closed and (closed.edition, closed.digest)) != (
            signed and (signed.edition, signed.digest)
        ):
            raise EvidenceError(
                _(
                    "The registry says of {month} what the office has not signed; see 'desalink "
                    "evidence check'."
                ).format(month=month.name)
            )
        if signed is not None:
            if signed.receipt is None:
                raise EvidenceError(
                    _(
                        "{name} was closed before a receipt counted its reports; open it again "
                        "with 'desalink month reopen {name} --why TEXT', and close it."
                    ).format(name=month.name)
                )
            last = signed.receipt
        counted = last
        begins = [begin for begin, _ in chain.spans]
        first = start = max(0, min(last, bisect_right(begins, month.begin - BEFORE_S) - 1))
        while True:
            try:
                return self._write(path, office, closed, scope, (first, last), len(begins), now)
            except _OtherFigures as error:
                # A report that came between the last receipt and the closing is in the next one.
                if first:
                    first = max(0, 2 * first - last - 1)
                elif last == counted and last + 1 < len(chain.spans):
                    first, last = start, last + 1
                else:
                    raise error.sentence(month) from None

    def _chain(
        self, office: Office, first: int, last: int, count: int | None = None
    ) -> tuple[ReceiptChain, ReceiptIndex]:
        chain = ReceiptChain(office, self._trusts)
        rows = islice(receipts(self._database), count)
        walk = chain.walk(rows, signers(self._trusts, INGEST), first, last)
        return chain, ReceiptIndex(walk)

    def _write(
        self,
        path: Path,
        office: Office,
        closed: ClosedMonth | None,
        scope: Mapping[str, str],
        window: tuple[int, int],
        count: int,
        now: int,
    ) -> Exported:
        first, last = window
        chain, index = self._chain(office, first, last, count)
        slots = office.slots(scope, chain.reported)
        if not slots:
            raise EvidenceError(_("No slot of that has a contract or a device; choose another."))
        basis, published = office.basis, None
        if closed is not None:
            published = {one["slot"]: dumped(one) for one in json.loads(closed.figures)["slots"]}
        names = stream_names(self._database)
        reports, figures = 0, []
        with (
            EvidenceWriter(path) as file,
            tempfile.TemporaryDirectory(prefix="desalink-") as directory,
        ):
            recounter = Recounter(basis, Path(directory))
            file.put(
                {
                    "format": FORMAT,
                    "province": self._name,
                    "month": basis.month.name,
                    "scope": dict(scope),
                    "slots": slots,
                    "made": now,
                    "desalink": __version__,
                    "receipts": [first, last],
                    "edition": None if closed is None else closed.edition,
                }
            )
            self._write_chains(file, office, len(chain.spans), slots)
            file.put({"rules": office.rules_text})
            if closed is not None:
                file.put({"closed": zlib.compress(closed.figures)})
            for number, slot in enumerate(slots, 1):
                own = [name for name in names if name.slot == slot]
                rows = self._reports(own, index, first, last, chain.expected.get(slot, ()))
                mine = recounter.count(slot, map(_received, rows))
                if published is not None and published.get(slot) != mine:
                    raise _OtherFigures(slot)
                births = self._births(own, index, first, last)
                for kind, all_rows in (("births", births), ("reports", rows)):
                    for begin in range(0, len(all_rows), MAX_PART):
                        part = all_rows[begin : begin + MAX_PART]
                        file.put({"slot": slot, kind: pack(part)})
                reports += len(rows)
                figures.append(mine)
                self._progress(f"{number} of {len(slots)} slots are written")
            for slot, mine in zip(slots, figures, strict=True):
                file.put({"slot": slot, "figures": mine})
            file.put({"totals": totals(map(json.loads, figures))})
            file.finish()
        return Exported(file.digest, len(slots), reports, (first, last), chain.hashes[-1].hex())

    def _write_chains(
        self, file: EvidenceWriter, office: Office, count: int, slots: Sequence[str]
    ) -> None:
        for rows in _parts(self._documents, MAX_PART):
            file.put({"trust": rows})
        # What office and ingest have added since is not in the file.
        for rows in _parts(islice(self._registry.office_log(), len(office.hashes)), MAX_PART):
            file.put({"office": rows})
        for rows in _parts(islice(receipts(self._database), count), 64):
            file.put({"receipts": rows})
        named = {device.record for device in office.state.devices.values()}
        records = (
            record
            for slot in slots
            for record in self._registry.records_of_slot(slot)
            if hashlib.sha256(record).digest() in named
        )
        for rows in _parts(records, MAX_PART):
            file.put({"records": rows})

    def _reports(
        self,
        names: Iterable[StreamName],
        index: ReceiptIndex,
        first: int,
        last: int,
        expected: Iterable[Expected],
    ) -> list[PartMessage]:
        """The reports of a slot that receipts of the window count, as the file holds them."""
        found: list[tuple[int, bytes, bytes, int, PartMessage]] = []
        for name in names:
            for page in stored_pages(self._database, name.id):
                for seq, received_at, message in page:
                    number = index.of_report(name.kid, name.stream, seq, received_at)
                    if number is not None and first <= number <= last:
                        its = PartMessage(number, received_at, message)
                        found.append((number, name.kid, name.stream, seq, its))
        found.sort(key=lambda row: row[:4])
        counted = {}
        for key, rows in groupby(found, lambda row: row[:3]):
            digest = StreamDigest()
            for *_key, report in rows:
                digest.add(report.message, report.received_at)
            counted[key] = digest.count, digest.digest()
        for row in expected:
            if counted.pop(row[:3], None) != (row.reports, row.digest):
                raise EvidenceError(
                    _(
                        "Receipt {receipt} counts {reports} reports of stream {stream}, and those "
                        "that are stored are not these; see 'desalink evidence check'."
                    ).format(receipt=row.receipt, reports=row.reports, stream=row.stream.hex())
                )
        if counted:
            number, _slot, stream = min(counted)
            raise EvidenceError(
                _(
                    "Receipt {number} does not count the stored reports of stream {stream}; see "
                    "'desalink evidence check'."
                ).format(number=number, stream=stream.hex())
            )
        return [row[4] for row in found]

    def _births(
        self, names: Iterable[StreamName], index: ReceiptIndex, first: int, last: int
    ) -> list[PartMessage]:
        found: list[PartMessage] = []
        for name in names:
            for boot, conn, received_at, message in stream_births(self._database, name.id):
                number = index.of_birth(name.kid, name.stream, boot, conn, received_at)
                if number is not None and first <= number <= last:
                    found.append(PartMessage(number, received_at, message))
        return sorted(found)


def _received(row: PartMessage) -> Received:
    message = row.message
    return row.received_at, message, parse_report(message[split(message)[1] : -66])


def _parts(rows: Iterable[bytes], most: int) -> Iterator[list[bytes]]:
    """Lists of some of the rows each, and of no more bytes than an item should have."""
    part: list[bytes] = []
    size = 0
    for row in rows:
        if part and (len(part) == most or size + len(row) > _PART_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += len(row)
    if part:
        yield part
