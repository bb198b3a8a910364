"""The province's own check: the registry against the office log, what is stored against receipts.

Each function yields a sentence for each thing that is wrong, the most telling one first.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import cbor2

from host_tools.archive.chain import Chain
from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.evidence.container import EvidenceError
from host_tools.people.office_log import (
    LOST,
    LostReceipts,
    OfficeEntry,
    OfficeState,
    verify_entries,
)
from host_tools.people.receipts import (
    Receipt,
    StreamDigest,
    StreamReceipt,
    verify_receipts,
)
from host_tools.people.technicians import verified_trusts
from host_tools.people.trust import INGEST, OFFICE, RoleSigner, signers
from host_tools.province.registry import Registry
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


def check(
    registry: Registry,
    db: Database | None,
    roots: Sequence[bytes],
    archive: Chain,
    progress: Progress = lambda _name: None,
) -> Iterator[str]:
    """Everything that is wrong with a province's evidence, a sentence each.

    Args:
        roots: its public root keys, 32 bytes each.

    Raises:
        TrustError, OfficeLogError, ReceiptError: a document or chain is not what was signed.
    """
    trusts = verified_trusts(registry, roots)
    hashes: list[bytes] = []

    def noted() -> Iterator[tuple[OfficeEntry, bytes]]:
        for entry, digest in verify_entries(registry.office_log(), signers(trusts, OFFICE)):
            hashes.append(digest)
            yield entry, digest

    state = OfficeState.replay(noted())
    yield from registry_differences(registry, state)
    if db is None:
        return
    store = StoreCheck(db, signers(trusts, INGEST), state.is_lost)
    for (number, digest), receipt in store.offices.items():
        if number >= len(hashes) or hashes[number] != digest:
            yield (
                _(
                    "Receipt {receipt} names entry {number} of the office log, and the log holds "
                    "{found} there: it was cut or forked."
                ).format(
                    receipt=receipt,
                    number=number,
                    found=_("another one") if number < len(hashes) else _("none"),
                )
            )
    if store.newest is not None and store.newest.trust > trusts[-1].version:
        yield _("Trust document {trust} is gone, which the newest receipt names.").format(
            trust=store.newest.trust
        )
    lines = {listed.digest for listed in archive}
    for digest_of_line, receipt in store.archives.items():
        if digest_of_line not in lines:
            yield (
                _(
                    "Receipt {receipt} names a line of the archive's list that is not there; put "
                    "{path} back from a backup."
                ).format(receipt=receipt, path=archive.path)
            )
    yield from store.differences(progress)


def lost_receipts(registry: Registry, roots: Sequence[bytes]) -> list[LostReceipts]:
    """What the office has declared lost.

    Raises:
        TrustError, OfficeLogError: a document or the log is not what was signed.
    """
    keys = signers(verified_trusts(registry, roots), OFFICE)
    return OfficeState.replay(verify_entries(registry.office_log(), keys)).lost


def declare_lost(
    registry: Registry,
    db: Database,
    roots: Sequence[bytes],
    first: int,
    last: int,
    *,
    why: str,
    by: str,
    now: int,
) -> None:
    """Enter that the reports of receipts from first to last are lost, as after a restore.

    Args:
        registry: signs what is changed.

    Raises:
        EvidenceError: there are no such receipts, or one of their reports is stored.
        OfficeLogError: one of them is declared lost already.
        TrustError, ReceiptError: a document or chain is not what was signed.
    """
    trusts = verified_trusts(registry, roots)
    store = StoreCheck(db, signers(trusts, INGEST))
    newest = -1 if store.newest is None else store.newest.number
    if not 0 <= first <= last <= newest:
        raise EvidenceError(
            _(
                "There are no receipts {first} to {last}; 'desalink evidence receipts' lists them."
            ).format(first=first, last=last)
        )
    stored = store.stored(range(first, last + 1))
    if stored is not None:
        raise EvidenceError(
            _(
                "Reports that receipt {number} counts are stored. Only receipts whose reports are "
                "all gone can be declared lost; 'desalink evidence check --all' names them."
            ).format(number=stored)
        )
    body = {"first": first, "last": last, "why": why, "at": now}
    OfficeState.replay(verify_entries(registry.office_log(), signers(trusts, OFFICE))).apply(
        OfficeEntry(0, b"", now, LOST, body, by), b""
    )
    registry.enter(LOST, body, by=by)


# ---- the registry -----------------------------------------------------------------------------


def registry_differences(registry: Registry, state: OfficeState) -> Iterator[str]:
    """Where the registry's rows are not what the office log says."""
    for what, rows, log in _tables(registry, state):
        for key in rows.keys() | log.keys():
            name = key.hex() if isinstance(key, bytes) else key
            if key not in log:
                yield _("{what} {name} is in the registry, and the office log knows none.").format(
                    what=what, name=name
                )
            elif key not in rows:
                yield _(
                    "{what} {name} is in the office log, and the registry has lost it."
                ).format(what=what, name=name)
            else:
                for field, value in rows[key].items():
                    if value != log[key][field]:
                        yield (
                            _(
                                "{what} {name}: '{field}' is {shown} in the registry and {log} in "
                                "the office log."
                            ).format(
                                what=what,
                                name=name,
                                field=field,
                                shown=_shown(value),
                                log=_shown(log[key][field]),
                            )
                        )


_Rows = Mapping[Any, Mapping[str, Any]]


def _tables(registry: Registry, state: OfficeState) -> Iterator[tuple[str, _Rows, _Rows]]:
    yield (
        "Device",
        {
            d.kid: {
                **{"slot": d.slot, "key": d.public_key, "enrolled": d.enrolled_at},
                **{"revoked": d.revoked_at, "replaced by": d.replaced_by},
            }
            for d in registry.devices()
        },
        {
            d.kid: {
                **{"slot": d.slot, "key": d.key, "enrolled": d.begin},
                **{"revoked": d.end, "replaced by": d.replaced_by},
            }
            for d in state.devices.values()
        },
    )
    yield (
        "Contract",
        {e.id: _flat(e) for e in registry.contracts(withdrawn=True)},
        {e.id: _flat(e) for e in state.contracts.values()},
    )
    yield (
        "Event",
        {e.id: asdict(e) for e in registry.contract_events(withdrawn=True)},
        {e.id: asdict(e) for e in state.events.values()},
    )
    names = ("document", "added", "author")
    yield (
        "Rules",
        {str(v): dict(zip(names, row, strict=True)) for v, *row in registry.rule_documents()},
        {str(v): dict(zip(names, row, strict=True)) for v, row in state.rules.items()},
    )
    yield (
        "Closed month",
        {
            f"{c.month} edition {c.edition}": {
                **{"rules": c.rules, "digest": c.digest},
                **{"digest of its figures": hashlib.sha256(c.figures).digest()},
                **{"closed": c.closed_at, "opened": c.opened_at, "why opened": c.opened_why},
            }
            for c in registry.closed_months()
        },
        {
            f"{c.month} edition {c.edition}": {
                **{"rules": c.rules, "digest": c.digest, "digest of its figures": c.digest},
                **{"closed": c.closed_at, "opened": c.opened_at, "why opened": c.opened_why},
            }
            for c in state.months.values()
        },
    )
    yield (
        "Kit",
        {
            k.id: {"technician": k.technician, "expires": k.expires_at, "revoked": k.revoked_at}
            for k in registry.kits()
        },
        {
            id: {"technician": k.technician, "expires": k.expires, "revoked": k.revoked_at}
            for id, k in state.kits.items()
        },
    )
    # Others are of before the log began, or came back with trust.cbor: the root signed them all.
    yield (
        "Trust document",
        {
            str(version): {"SHA-256": hashlib.sha256(document).digest()}
            for version, document in registry.trusts()
            if version in state.trusts
        },
        {str(version): {"SHA-256": digest} for version, digest in state.trusts.items()},
    )
    villages = {v.code: v for v in registry.villages()}
    yield (
        "Village",
        {
            code: {"name": v.name, "district": v.district, "regency": v.regency}
            for code in state.villages
            if (v := villages.get(code))
        },
        {
            code: dict(zip(("name", "district", "regency"), row, strict=True))
            for code, row in state.villages.items()
        },
    )


def _flat(entry: Any) -> dict[str, Any]:
    table = asdict(entry)
    return {**table.pop("contract"), **table}


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


# ---- what is stored ---------------------------------------------------------------------------


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
            if row is None or stored is None:
                has = stored.count if stored else 0
                counts = row.count if row else 0
                yield _("{where} counts {counts} reports of {what}, and {has} are stored.").format(
                    where=where, counts=counts, what=what, has=has
                )
            elif row.count != stored.count:
                has = stored.count
                yield _("{where} counts {count} reports of {what}, and {has} are stored.").format(
                    where=where, count=row.count, what=what, has=has
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
