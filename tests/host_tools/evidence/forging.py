"""An evidence file taken apart, and what somebody with some keys can make of it."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zlib
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import cbor2

from host_tools.contracts.calendar import month_of
from host_tools.evidence.chains import Office
from host_tools.evidence.container import EvidenceWriter, PartMessage, pack, unpack
from host_tools.evidence.recount import Received, Recounter, totals
from host_tools.keys.signing import public_bytes, sign1
from host_tools.people.office_log import AAD as OFFICE_AAD
from host_tools.people.receipts import AAD as RECEIPT_AAD
from host_tools.people.receipts import StreamDigest
from host_tools.people.trust import OFFICE, signers, verify_trust
from host_tools.wire import parse_report
from host_tools.wire.envelope import split
from tests.world.month import ROOT, key


def table_of(message: bytes) -> dict[int, Any]:
    """What a signed message holds."""
    return cbor2.loads(cbor2.loads(message).value[2])


def resigned(message: dict[int, Any], name: str, aad: bytes) -> bytes:
    return sign1(key(name), cbor2.dumps(message, canonical=True), aad)


def received(row: PartMessage) -> Received:
    payload = row.message[split(row.message)[1] : -66]
    return row.received_at, row.message, parse_report(payload)


class Forgery:
    """The parts of a file. `write` puts them together, with the right digest at the end."""

    def __init__(self, path: Path) -> None:
        items = []
        data = path.read_bytes()
        stream = BytesIO(data)
        while stream.tell() < len(data):
            items.append(cbor2.load(stream))
        self.header: dict[str, Any] = items[0]
        lists: dict[str, list[bytes]] = {"trust": [], "office": [], "receipts": [], "records": []}
        self.births: dict[str, bytes] = {}
        self.reports: dict[str, list[PartMessage]] = {}
        self.figures: dict[str, bytes] = {}
        self.closed: bytes | None = None
        for item in items[1:-1]:
            for kind, value in item.items():
                if kind in lists:
                    lists[kind] += value
                elif kind == "reports":
                    self.reports.setdefault(item["slot"], []).extend(unpack(value))
                elif kind == "births":
                    self.births[item["slot"]] = value
                elif kind == "figures":
                    self.figures[item["slot"]] = value
                elif kind == "closed":
                    self.closed = zlib.decompress(value)
                elif kind in ("rules", "totals"):
                    setattr(self, kind, value)
        self.trust, self.office = lists["trust"], lists["office"]
        self.receipts, self.records = lists["receipts"], lists["records"]
        self.rules: str
        self.totals: dict[str, Any]
        self.sorted = True

    def write(self, path: Path) -> None:
        with EvidenceWriter(path) as file:
            file.put(self.header)
            for kind in ("trust", "office", "receipts", "records"):
                if rows := getattr(self, kind):
                    file.put({kind: rows})
            file.put({"rules": self.rules})
            if self.closed is not None:
                file.put({"closed": zlib.compress(self.closed)})
            for slot in self.header["slots"]:
                if slot in self.births:
                    file.put({"slot": slot, "births": self.births[slot]})
                if rows := self.reports.get(slot):
                    file.put({"slot": slot, "reports": pack(self._ordered(rows))})
            for slot in self.header["slots"]:
                file.put({"slot": slot, "figures": self.figures[slot]})
            file.put({"totals": self.totals})
            file.finish()

    def _ordered(self, rows: Iterable[PartMessage]) -> list[PartMessage]:
        def place(row: PartMessage) -> tuple[int, bytes, bytes, int]:
            table = table_of(row.message)
            return row.receipt, split(row.message)[0], table[1], table[2]

        return sorted(rows, key=place) if self.sorted else list(rows)

    # ---- what needs a key --------------------------------------------------------------------

    def change_entry(
        self,
        kind: str,
        change: Callable[[dict[str, Any]], Any],
        name: str,
        which: int = 0,
    ) -> None:
        """Change the body of an entry, and sign it and all after it with somebody's key."""
        numbers = [n for n, entry in enumerate(self.office) if table_of(entry)[4] == kind]
        self.sign_office(numbers[which], name, lambda table: change(table[5]))

    def sign_office(
        self, first: int, name: str, change: Callable[[dict[int, Any]], Any] = lambda _: None
    ) -> None:
        """Sign the entries from a number on; `change` is for the first of them."""
        for number in range(first, len(self.office)):
            table = table_of(self.office[number])
            if number == first:
                change(table)
            table[1] = number
            table[2] = hashlib.sha256(self.office[number - 1]).digest() if number else bytes(32)
            self.office[number] = resigned(table, name, OFFICE_AAD)

    def add_entry(self, kind: str, body: dict[str, Any], name: str) -> None:
        """Add an entry to the end."""
        table = table_of(self.office[-1]) | {4: kind, 5: body}
        self.office.append(b"")
        table[1] = len(self.office) - 1
        table[2] = hashlib.sha256(self.office[-2]).digest()
        self.office[-1] = resigned(table, name, OFFICE_AAD)

    def sign_receipts(self, name: str = "ingest") -> None:
        """Make every receipt anew so that the chain says what the file holds now."""
        hashes = [hashlib.sha256(entry).digest() for entry in self.office]
        first, _ = self.header["receipts"]
        newest = max(verify_trust(t, public_bytes(ROOT), now=0).version for t in self.trust)
        seen: dict[tuple[bytes, bytes], int] = {}
        before = bytes(32)
        for number, receipt in enumerate(self.receipts):
            table = table_of(receipt)
            table[1], table[2] = number, before
            if table[9]:
                entry = min(table[9][0], len(hashes) - 1)
                table[9] = [entry, hashes[entry]]
            table[10] = min(table[10], newest)
            if number >= first:
                table[8] = self._streams(number, seen)
                table[6] = sum(row[3] for row in table[8])
            else:
                seen |= {(row[0], row[1]): row[5] for row in table[8]}
            self.receipts[number] = resigned(table, name, RECEIPT_AAD)
            before = hashlib.sha256(self.receipts[number]).digest()

    def _streams(self, number: int, seen: dict[tuple[bytes, bytes], int]) -> list[list[Any]]:
        found: dict[tuple[bytes, bytes, str], tuple[list[int], StreamDigest]] = {}
        for slot, rows in self.reports.items():
            for row in self._ordered(rows):
                if row.receipt == number:
                    table = table_of(row.message)
                    name = split(row.message)[0], table[1], slot
                    its = found.setdefault(name, ([], StreamDigest()))
                    its[0].append(table[2])
                    its[1].add(row.message, row.received_at)
        streams = []
        for (kid, stream, slot), (seqs, digest) in sorted(found.items()):
            highest = seen[kid, stream] = max(seen.get((kid, stream), 0), seqs[-1])
            its = [kid, stream, slot, len(seqs), seqs[0], highest, digest.digest()]
            streams.append(its)
        return streams

    def count_again(self) -> None:
        """Make figures and totals what the reports in the file give now."""
        month = month_of(self.header["month"])
        trusts = [verify_trust(document, public_bytes(ROOT), now=0) for document in self.trust]
        basis = Office(self.office, signers(trusts, OFFICE), month).basis
        with tempfile.TemporaryDirectory() as directory:
            recounter = Recounter(basis, Path(directory))
            for slot in self.header["slots"]:
                rows = self._ordered(self.reports.get(slot, ()))
                self.figures[slot] = recounter.count(slot, map(received, rows))
        self.sum_up()

    def sum_up(self) -> None:
        """Make the totals those of the figures."""
        slots = self.header["slots"]
        self.figures = {slot: self.figures[slot] for slot in slots}
        self.totals = totals(json.loads(self.figures[slot]) for slot in slots)

    def hash_of(self, number: int) -> str:
        """The head that was published when a receipt was the newest."""
        return hashlib.sha256(self.receipts[number]).hexdigest()
