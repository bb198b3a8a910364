"""Arrivals into the province's database: the only file here that knows how the ingest stores.

Either through the ingest's own pipeline, which verifies everything, or past it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from host_tools.derive import Deriver
from host_tools.ingest.acks import Acks
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.simulate.delivery import Arrival
from host_tools.simulate.signing import MessageSigner
from host_tools.simulate.world import SimulatedVillage
from host_tools.store import Database, open_database
from host_tools.store.evidence import StoredReport, count_duplicates, insert_reports
from host_tools.store.streams import Stream, Streams, insert_birth
from host_tools.wire import Key, parse_birth
from host_tools.wire.envelope import split


class _DatabaseStore:
    def __init__(self, path: Path) -> None:
        self.db = open_database(path, create=True)
        self.streams = Streams(self.db)

    def close(self) -> None:
        """End: what is stored is on the disk."""
        with self.db.transaction():
            self.streams.save_ranges()
        self.db.close()


class VerifiedStore(_DatabaseStore):
    """Stores what arrives as the ingest does: verified, the bad ones in quarantine."""

    def __init__(self, path: Path, villages: Sequence[SimulatedVillage]) -> None:
        super().__init__(path)
        keys: dict[bytes, Key] = {}
        self._revoked: list[tuple[int, bytes]] = []
        for village in villages:
            for device in village.devices:
                signer = MessageSigner(device, village.slot)
                keys[signer.kid] = Key(signer.public_key, village.slot, True)
                if device.revoked_at is not None:
                    self._revoked.append((device.revoked_at, signer.kid))
        self._revoked.sort(reverse=True)
        # Nobody waits for acks.
        self._acks = Acks(10**9, float("inf"))
        self._pipeline = Pipeline(self.db, self.streams, self._acks, keys)

    def store(self, at: int, arrivals: Sequence[Arrival]) -> None:
        keys = self._pipeline.verifier.keys
        while self._revoked and self._revoked[-1][0] <= at:
            kid = self._revoked.pop()[1]
            keys = {**keys, kid: keys[kid]._replace(active=False)}
        self._pipeline.verifier.keys = keys
        self._pipeline.process([Message(a.topic, a.message) for a in arrivals], at, at)
        self._acks.forget()


class TrustedStore(_DatabaseStore):
    """Stores what arrives unverified; it leaves out what the ingest would refuse."""

    def store(self, at: int, arrivals: Sequence[Arrival]) -> None:
        rows: list[StoredReport] = []
        again: Counter[int] = Counter()
        with self.db.transaction(durable=False):
            for arrival in arrivals:
                if not arrival.good:
                    continue
                if arrival.filed is None:
                    self._birth(at, arrival)
                    continue
                name, seq, boot, up, start = arrival.filed
                its = self._stream(at, arrival, name)
                if its.ranges.add(seq):
                    its.dirty = True
                    rows.append(StoredReport(its.id, seq, boot, up, start, at, arrival.message))
                else:
                    again[its.id] += 1
            insert_reports(self.db, rows)
            if again:
                count_duplicates(self.db, again)

    def _birth(self, at: int, arrival: Arrival) -> None:
        birth = parse_birth(arrival.message[split(arrival.message)[1] : -66])
        stream = self._stream(at, arrival, birth.stream)
        insert_birth(self.db, stream, birth, at, arrival.message)

    def _stream(self, at: int, arrival: Arrival, name: bytes) -> Stream:
        found = self.streams.find(arrival.kid, name)
        return found or self.streams.add(arrival.kid, arrival.slot, name, at)


def derive_rest(db: Database) -> int:
    """Derive what is stored and not derived yet; returns how many reports that was."""
    deriver, done = Deriver(db, Streams(db)), 0
    while count := deriver.step(1000):
        done += count
    return done
