"""The proof that nothing was lost, straight from docs/wire.md, without agent and host tools.

Reads the database, the register of keys and what the journals were seen to hold; verifies every
stored report with `cbor2` and `cryptography` alone. The host tools come in at the end only, where
what they derived with kills in between is compared with what they derive at once.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.world.filled import Filled
from tests.world.plant import Key, Plant

_DROPPED = 5  # the event that declares a hole


class Undeclared(AssertionError):
    """Reports are gone, and no device has said so."""


@dataclass
class Evidence:
    """What a province was found to hold.

    streams: of each (slot, stream) the payloads by seq. holes: what is missing between 1 and the
    last seq; declared: what `dropped` events name.
    """

    streams: dict[tuple[str, bytes], dict[int, dict[int, Any]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    holes: set[Key] = field(default_factory=set)
    declared: set[Key] = field(default_factory=set)

    def events(self, slot: str, kind: int) -> list[tuple[bytes, int, dict[int, Any]]]:
        """All events of a kind from a slot: (stream, seq, detail)."""
        return [
            (stream, seq, detail)
            for (of, stream), reports in self.streams.items()
            for seq, report in reports.items()
            for _, event, detail in report.get(9, [])
            if of == slot and event == kind
        ]


def audit(
    plant: Plant,
    *,
    dropped: Iterable[Key] = (),
    quarantined: Iterable[tuple[str, str]] = (),
) -> Evidence:
    """Hold the province to what its devices' journals have accepted. Nothing may run any more.

    Args:
        dropped: what devices had to give up before it was stored.
        quarantined: topic and reason of whatever may lie in the quarantine.
    """
    plant.look()
    accepted, stored = plant.accepted(), plant.stored()
    dropped = set(dropped)
    lost = accepted.keys() - stored.keys() - dropped
    assert not lost, f"{len(lost)} reports were accepted and are not stored: {sorted(lost)[:10]}"
    unknown = stored.keys() - accepted.keys()
    assert not unknown, f"stored, but of no journal: {sorted(unknown)[:10]}"
    changed = [key for key, message in stored.items() if accepted[key] != message]
    assert not changed, f"stored with other bytes: {sorted(changed)[:10]}"

    rows = plant.query("SELECT count(*), count(DISTINCT message) FROM reports")
    assert rows == [(len(stored), len(stored))], "a report is stored more than once"

    print(
        f"{len(stored)} reports in {len({key[:2] for key in stored})} streams, "
        f"{plant.duplicates()} duplicates; killed: {plant.broker_kills} times the broker"
        + "".join(f", {part.kills} {part.name}" for part in (plant.ingest, *plant.agents))
    )
    evidence = _verify(plant, stored)
    assert evidence.holes == dropped, sorted(evidence.holes ^ dropped)[:10]
    if not dropped <= evidence.declared:
        raise Undeclared(sorted(dropped - evidence.declared)[:10])

    held = plant.query("SELECT topic, reason, detail FROM quarantine")
    assert {row[:2] for row in held} <= set(quarantined), held
    findings = plant.query("SELECT kind, detail FROM findings WHERE resolved_at IS NULL")
    assert not {"gap", "chain_break"} & {kind for kind, _ in findings}, findings
    for agent in plant.agents:
        assert not agent.accepted.rewritten, agent.accepted.rewritten
        agent.check()
    plant.ingest.check()
    _is_derived_as_a_whole(plant)
    return evidence


def _verify(plant: Plant, stored: dict[Key, bytes]) -> Evidence:
    """Verify every report as docs/wire.md, "Verifying offline", has it."""
    keys = _register(plant)
    evidence = Evidence()
    links: dict[Key, tuple[bytes | None, bytes]] = {}
    for (slot, stream, seq), message in stored.items():
        topic = f"desa/1/{slot[:4]}/{slot}/report"
        report = _open(message, topic, keys[slot])
        assert (report[1], report[2]) == (stream, seq)
        evidence.streams[slot, stream][seq] = report
        links[slot, stream, seq] = report[3], hashlib.sha256(message).digest()[:8]
        for _, kind, detail in report.get(9, []):
            if kind == _DROPPED:
                first, last = detail[2]
                of = detail.get(3, stream)
                evidence.declared |= {(slot, of, gone) for gone in range(first, last + 1)}
    for (slot, stream), reports in evidence.streams.items():
        assert [report[4] for _, report in sorted(reports.items())] == sorted(
            report[4] for report in reports.values()
        ), "the count of boots goes back"
        for seq in range(1, max(reports) + 1):
            if seq not in reports:
                evidence.holes.add((slot, stream, seq))
                continue
            prev = links[slot, stream, seq][0]
            assert (prev is None) == (seq == 1)
            before = links.get((slot, stream, seq - 1))
            assert before is None or before[1] == prev, f"the chain is broken at {seq}"
    return evidence


def _is_derived_as_a_whole(plant: Plant) -> None:
    """What was derived piece by piece, with kills in between, is what follows from all at once."""
    path = plant.folder / "again.db"
    path.write_bytes(plant.province.database.read_bytes())
    filled = Filled(path)
    filled.derive()
    before = filled.facts()
    again = filled.rebuilt()
    filled.db.close()
    for table, rows in before.items():
        assert rows == again[table], (table, [row for row in rows if row not in again[table]][:6])


def _register(plant: Plant) -> dict[str, dict[bytes, bytes]]:
    """Of each slot its public keys by key id."""
    keys: dict[str, dict[bytes, bytes]] = defaultdict(dict)
    with closing(sqlite3.connect(plant.province.registry)) as db:
        for slot, key in db.execute("SELECT slot, public_key FROM devices"):
            keys[slot][hashlib.sha256(key).digest()[:8]] = key
    return keys


def _open(message: bytes, topic: str, keys: dict[bytes, bytes]) -> dict[int, Any]:
    """The payload of a message that its device has signed; fails for any other."""
    envelope = cbor2.loads(message)
    assert isinstance(envelope, cbor2.CBORTag) and envelope.tag == 18
    protected, unprotected, payload, signature = envelope.value
    assert cbor2.dumps(envelope, canonical=True) == message, "not deterministic, or trailing bytes"
    header = cbor2.loads(protected)
    assert header[1] in (-19, -8) and not unprotected
    signed = cbor2.dumps(["Signature1", protected, topic.encode(), payload])
    Ed25519PublicKey.from_public_bytes(keys[header[4]]).verify(signature, signed)
    report = cbor2.loads(payload)
    assert cbor2.dumps(report, canonical=True) == payload
    return report


def measured(message: bytes) -> bytes:
    """What a report has measured, without stream, seq and prev. b"" for others."""
    report = cbor2.loads(cbor2.loads(message).value[2])
    if not isinstance(report[8], dict):
        return b""
    return cbor2.dumps({key: report[key] for key in report if key > 3}, canonical=True)
