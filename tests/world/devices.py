"""Devices made of `cbor2` and `cryptography`: the device's side of docs/wire.md for host tests.

Written from the page, not from the agent and not from the host's verifier, so that a mistake in
one of the three does not hide in another. Everything follows from a seed: the same seed makes the
same keys, streams and bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.wire import ids

START = 1_795_500_000  # 2026-11-24 15:20 WITA, a full minute
EPOCH_UP = 60  # a device's first sample begins a minute after its start

Metrics = Mapping[int, Sequence[int | None]]


def columns(metrics: Metrics, counts: Iterable[int] = (ids.BYTES_DOWN, ids.BYTES_UP)) -> dict:
    """Values to columns: gauges as differences, counts (multiples of 1024) in units of 1024;
    nothing left out."""
    result: dict[int, list[int | None]] = {}
    for metric, values in metrics.items():
        last: int | None = None
        column: list[int | None] = []
        for value in values:
            if value is None:
                column.append(value)
            elif metric in counts:
                column.append(value // 1024)
            else:
                column.append(value if last is None else value - last)
                last = value
        result[metric] = column
    return result


def ordinary(n: int = 5, state: int = ids.UP, base: int = 0) -> dict[int, list[int]]:
    """Fifteen metrics of `n` quiet samples."""
    rtt = [84 + (base * 7 + i * 3) % 8 for i in range(n)]
    return {
        ids.STATE: [state] * n,
        ids.RTT_GW_MIN: [8 + i % 2 for i in range(n)],
        ids.RTT_GW_MEAN: [11 + i % 3 for i in range(n)],
        ids.RTT_GW_MAX: [19 + i % 5 for i in range(n)],
        ids.LOSS_GW: [0] * n,
        ids.RTT_MIN: [value - 8 for value in rtt],
        ids.RTT_MEAN: rtt,
        ids.RTT_MAX: [value + 26 for value in rtt],
        ids.LOSS: [0] * n,
        ids.JITTER: [6 + i % 3 for i in range(n)],
        ids.DNS_TIME: [23 + i for i in range(n)],
        ids.BYTES_DOWN: [1024 * (1200 + i) for i in range(n)],
        ids.BYTES_UP: [1024 * (150 + i) for i in range(n)],
        ids.CLIENTS: [4 + i % 2 for i in range(n)],
        ids.JOURNAL_FILL: [12] * n,
    }


def enveloped(
    key: Ed25519PrivateKey, protected: bytes, aad: bytes, payload: bytes, unprotected: Any = None
) -> bytes:
    """COSE_Sign1 (RFC 9052) by a key, with the headers that are given."""
    signature = key.sign(cbor2.dumps(["Signature1", protected, aad, payload]))
    return cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected or {}, payload, signature]))


@dataclass
class Device:
    """A device with its key, stream and boot counter; each report continues its chain.

    Attributes:
        now: Unix time at which the next report's first sample begins.
        clock: False while the device does not know the time.
    """

    slot: str = "6403112001-1"
    seed: int = 1
    now: int = START
    boot: int = 1
    conn: int = 0
    seq: int = 0
    clock: bool = True
    step: int = 60
    booted_at: int = field(default=0)
    stream: bytes = b""
    last: bytes | None = None

    def __post_init__(self) -> None:
        material = hashlib.sha256(b"device" + self.seed.to_bytes(8, "big")).digest()
        self.key = Ed25519PrivateKey.from_private_bytes(material)
        self.public_key = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.kid = hashlib.sha256(self.public_key).digest()[:8]
        self.stream = self.stream or hashlib.sha256(b"stream" + material).digest()[:4]
        self.booted_at = self.booted_at or self.now - EPOCH_UP

    @property
    def village(self) -> str:
        return self.slot[:10]

    def topic(self, kind: str) -> str:
        return f"desa/1/{self.slot[:4]}/{self.slot}/{kind}"

    def sign(
        self, payload: Any, kind: str = "report", *, alg: int = -19, topic: str = ""
    ) -> bytes:
        """COSE_Sign1 over a payload (encoded here unless it is bytes already)."""
        body = payload if isinstance(payload, bytes) else cbor2.dumps(payload, canonical=True)
        protected = cbor2.dumps({1: alg, 4: self.kid}, canonical=True)
        return enveloped(self.key, protected, (topic or self.topic(kind)).encode(), body)

    def payload(
        self, metrics: Metrics | None = None, events: Sequence[Sequence[Any]] = (), **changes: Any
    ) -> dict[int, Any]:
        """The next report's payload; `changes` name fields (`seq=7`) and win."""
        metrics = ordinary() if metrics is None else metrics
        n = max((len(values) for values in metrics.values()), default=0)
        prev = None if self.last is None else hashlib.sha256(self.last).digest()[:8]
        table: dict[int, Any] = {
            1: self.stream,
            2: self.seq + 1,
            3: prev,
            4: self.boot,
            5: self.now - self.booted_at,
            6: self.now if self.clock else None,
            7: self.step,
            8: columns(metrics),
            10: [120, ids.CLOCK_NTP] if self.clock else [None, ids.CLOCK_NONE],
            11: n,
        }
        if events:
            table[9] = [list(event) for event in events]
        names = {
            "stream": 1,
            "seq": 2,
            "prev": 3,
            "boot": 4,
            "up": 5,
            "start": 6,
            "step": 7,
            "n": 11,
        }
        table.update({names[name]: value for name, value in changes.items()})
        return table

    def report(
        self, metrics: Metrics | None = None, events: Sequence[Sequence[Any]] = (), **changes: Any
    ) -> bytes:
        """The next report, signed; time, seq and chain move on."""
        table = self.payload(metrics, events, **changes)
        message = self.sign(table)
        self.seq, self.last = table[2], message
        self.now += table[11] * table[7]
        return message

    def reports(self, count: int) -> list[bytes]:
        """A run of quiet reports."""
        return [self.report(ordinary(base=self.seq)) for _ in range(count)]

    def birth(self, **changes: Any) -> bytes:
        """The birth of one more connection."""
        self.conn += 1
        names = {"boot": 2, "conn": 3, "next": 10, "cadence": 11, "stream": 1, "certificate": 13}
        table: dict[int, Any] = {
            1: self.stream,
            2: self.boot,
            3: self.conn,
            4: self.now - self.booted_at,
            5: self.now if self.clock else None,
            6: "unix",
            7: "0.1.0",
            8: "micropython 1.29",
            9: ids.RESET_POWER,
            10: self.seq + 1,
            11: [10, self.step, 5],
        }
        table.update({names[name]: value for name, value in changes.items()})
        return self.sign(table, "birth")

    def proof(self, changes: Mapping[int, Any] | None = None) -> bytes:
        """Its proof that it has its key; `changes` are fields that a test wants otherwise."""
        table = {1: self.slot, 2: self.public_key, 3: None, 4: "unix", 5: "0.1.0", 6: None}
        return self.sign(table | dict(changes or {}), "enrol")

    def reboot(
        self,
        after: int,
        *,
        cause: int = ids.RESET_POWER,
        alive: int | None = None,
        clean: bool = False,
        clock: bool = True,
    ) -> list[Any]:
        """Stop now, start again `after` seconds later; returns the `booted` event to send first.

        Args:
            alive: Unix time of the last sign of life; the present moment if None.
        """
        alive = self.now if alive is None else alive
        last = [self.boot, alive - self.booted_at]
        self.now += after
        self.boot, self.conn, self.booted_at, self.clock = self.boot + 1, 0, self.now, clock
        return [0, ids.BOOTED, {1: cause, 2: last, 3: alive, 4: clean}]


def outage_began(
    offset: int, cause: int, evidence: Sequence[Sequence[int]] = ((4, 0), (5, 1))
) -> list:
    """Event 1; the evidence is pairs [rung, result]."""
    return [offset, ids.OUTAGE_BEGAN, {1: cause, 2: [list(pair) for pair in evidence]}]


def outage_ended(offset: int, cause: int, duration: int, flaps: int = 0) -> list:
    """Event 2."""
    return [offset, ids.OUTAGE_ENDED, {1: cause, 3: duration, 4: flaps}]


def dropped(offset: int, first: int, last: int, reason: int = ids.DROPPED_FULL) -> list:
    """Event 5."""
    return [offset, ids.DROPPED, {1: reason, 2: [first, last]}]
