"""Hostile messages through the ingest: only typed reasons come out, and nothing breaks.

    python -m tests.host_tools.fuzz_ingest --seconds 60 [--seed N]

Three kinds: noise and mutated messages that nobody signed; payloads that an enrolled device has
signed over mutated bytes; and reports that are well-formed CBOR with hostile values. What is
stored is derived too, since an enrolled device may lie about everything.
"""

from __future__ import annotations

import copy
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import cbor2

from host_tools.derive import Deriver
from host_tools.ingest.acks import Acks
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.store import Database, open_database, queries
from host_tools.store.quarantine import Bounds
from host_tools.store.streams import Streams
from host_tools.wire import Key, Reason, Refused, Verifier, decode_columns, parse_report
from tests.fuzzing import Fuzzing, begin
from tests.world.devices import START, Device, ordinary, outage_began, outage_ended

_INTS = (
    0, 1, -1, 5, 23, 24, 60, 255, 300, 301, 86400, 2**31, 2**32 - 1, 2**32, 2**33, 2**33 + 1,
    315_576_000, 315_576_001, START, 2**53 - 1, 2**53, 2**63, 2**64 - 1,
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, 1.5, float("nan"), b"", b"1234", b"12345678", "", "text", "\0", [], {}, [None],
    [1] * 61, [[1, 2]], {1: {1: {}}}, cbor2.undefined, cbor2.CBORTag(99, 1), -(2**64),
)  # fmt: skip


def any_value(rng: random.Random) -> Any:
    """A value of any type, mostly an integer."""
    if rng.random() < 0.6:
        return rng.choice(_INTS) * rng.choice((1, 1, 1, -1))
    value = rng.choice(_VALUES)
    return copy.deepcopy(value) if isinstance(value, (list, dict)) else value


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Some bytes changed, left out, put in or repeated."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(result) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(result):
            result[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            result[at:at] = rng.randbytes(rng.choice((1, 2, 9)))
        elif kind == 2:
            del result[at : at + rng.choice((1, 4, 50))]
        elif kind == 3:
            result[at:at] = result[: rng.randrange(60)]
        elif at < len(result):
            result[at] = rng.choice((0x9F, 0xBF, 0xFF, 0x5B, 0x9B, 0xBB, 0xD8, 0xF9, 0x81, 0xC2))
    return bytes(result)


def hostile_payload(rng: random.Random, device: Device) -> dict[Any, Any]:
    """A report's payload with some values that no honest device sends."""
    n = rng.choice((0, 1, 5, 60))
    events = [outage_began(rng.choice(_INTS), rng.randrange(12))] if rng.random() < 0.3 else []
    if rng.random() < 0.3:
        events.append(outage_ended(-rng.choice(_INTS), rng.randrange(12), rng.choice(_INTS)))
    if rng.random() < 0.3:
        detail = {rng.randrange(1, 5): any_value(rng) for _ in range(3)}
        events.append([rng.choice(_INTS), rng.randrange(12), detail])
    table = device.payload(ordinary(n) if n else {}, events)
    table[2] = rng.choice((table[2], table[2], rng.randrange(1, 400), 2**31, 2**32 - 1))
    table[4] = rng.choice((1, 1, 2, 3))
    for _ in range(rng.choice((0, 0, 1, 2))):
        place = rng.choice((3, 5, 6, 7, 8, 9, 10, 11, 12, "x", True))
        table[place] = any_value(rng)
    if isinstance(table.get(8), dict):
        for _ in range(rng.choice((0, 0, 1, 3))):
            column = [any_value(rng) for _ in range(rng.randrange(8))]
            table[8][rng.choice((1, 2, 13, 15, 99, -1))] = column
    return table


def check_alone(verifier: Verifier, message: Message) -> str:
    """One message by itself: refused with a reason, or read whole."""
    try:
        signed = verifier.verify(message.topic, message.payload)
        report = parse_report(signed.payload)
    except Refused as refused:
        assert refused.reason in Reason and str(refused)
        return str(refused.reason)
    columns = decode_columns(report)
    assert all(len(values) == report.n for values in columns.values())
    assert all(v is None or abs(v) < 2**53 for values in columns.values() for v in values)
    return "read"


def check_shown(db: Database) -> None:
    """Whatever devices say, nothing that is shown lies ahead of what arrived last."""
    latest = (db.value("SELECT max(received_at) FROM reports") or 0) + 300
    for outage in queries.outages(db):
        assert 0 <= outage.begin <= (outage.end or latest) <= latest, outage
    for usage in queries.usage(db, by="hour"):
        assert 0 <= usage.begin <= latest and usage.measured_s <= 3600, usage
    for table, column in (("intervals", "t_end"), ("events", "t"), ("pieces", "t_end")):
        ahead = db.value(f"SELECT max({column}) FROM {table}")
        assert ahead is None or ahead <= latest, (table, ahead)
    for slot in queries.status(db, START):
        assert 0 <= slot.gaps <= slot.backlog < 2**42, slot
    for usage in queries.usage(db):
        assert usage.measured_s <= 86400, usage
    queries.findings(db, resolved=True)


def messages(rng: random.Random, device: Device, stranger: Device, count: int) -> list[Message]:
    """A batch of hostile messages among good ones."""
    batch = []
    topic = device.topic("report")
    for _ in range(count):
        kind = rng.randrange(6)
        if kind == 0:
            payload = rng.randbytes(rng.choice((0, 1, 40, 300)))
        elif kind == 1:
            payload = mutated(rng, rng.choice((device, stranger)).sign(device.payload()))
        elif kind == 2:
            payload = device.sign(mutated(rng, cbor2.dumps(device.payload(), canonical=True)))
        elif kind == 3:
            payload = device.report()
        elif kind == 4:
            payload = device.birth(conn=rng.randrange(1, 50))
        else:
            payload = device.sign(cbor2.dumps(hostile_payload(rng, device)))
        name = topic if rng.random() < 0.9 else rng.choice((device.topic("birth"), "desa/1/x", ""))
        if kind == 4:
            name = device.topic("birth")
        batch.append(Message(name, payload))
    return batch


def run(fuzzing: Fuzzing) -> Counter[str]:
    """Fuzz; returns how often each reason came out. Raises what should not happen."""
    rng = fuzzing.dice
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        number = 0
        while fuzzing.goes_on():
            number += 1
            device, stranger = Device(seed=rng.randrange(2**32)), Device(seed=1)
            keys = {device.kid: Key(device.public_key, device.slot, True)}
            verifier = Verifier(keys)
            with open_database(Path(folder) / f"{number}.db", create=True) as db:
                db.execute("PRAGMA synchronous=OFF")
                streams = Streams(db)
                pipeline = Pipeline(db, streams, Acks(8, 1800), keys, Bounds(per_slot=50))
                deriver = Deriver(db, streams)
                for _ in range(20):
                    batch = messages(rng, device, stranger, 25)
                    seen.update(check_alone(verifier, message) for message in batch)
                    pipeline.process(batch, device.now + rng.choice((0, 0, 10**6)), 0.0)
                    deriver.step(rng.choice((1, 7, 200)))
                    if not fuzzing.goes_on():
                        break
                while deriver.step():
                    pass
                restarted = {s.id: s.ranges for s in Streams(db).all()}
                assert restarted == {s.id: s.ranges for s in streams.all()}
                check_shown(db)
            (Path(folder) / f"{number}.db").unlink()
    return seen


def main() -> int:
    fuzzing = begin("Hostile messages through the ingest.")
    for reason, count in sorted(run(fuzzing).items()):
        print(f"{count:8} {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
