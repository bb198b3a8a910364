"""How an ingest is configured."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from host_tools.ingest.allowance import Limits
from host_tools.province.settings import TlsFiles
from host_tools.store.quarantine import Bounds

_MOST_CORES = 4  # with more, all that Python does for a message takes longer than verifying


@dataclass(frozen=True)
class BrokerAddress:
    """Where the broker is; `tls` None is for tests on a loopback port only."""

    host: str
    port: int
    tls: TlsFiles | None
    client_id: str = "ingest"


@dataclass(frozen=True)
class Options:
    """How an ingest works.

    ack_reports, ack_seconds: publish an ack after so many reports of a stream, or so long after
        the first of them (docs/wire.md, "Delivery", 4).
    batch: messages in one transaction, and the most that are held in memory.
    linger_s: how long the first message of a batch waits for others.
    give_up_s: end with an error after the database could not be written for so long.
    until_idle_s: end once nothing has arrived for so long; None: run for ever.
    filters: topics to subscribe to, so that work can be split by regency.
    bounds: how much the quarantine may hold. limits: how much one device may send.
    accept_clock: begin although the clock is behind what is stored.
    cores: so many threads verify signatures.
    """

    ack_reports: int = 24
    ack_seconds: float = 7200
    batch: int = 500
    linger_s: float = 0.05
    give_up_s: float = 120
    until_idle_s: float | None = None
    metrics_port: int | None = None
    filters: tuple[str, ...] = (
        "desa/1/+/+/birth",
        "desa/1/+/+/report",
        "desa/1/+/+/state",
    )
    bounds: Bounds = field(default_factory=Bounds)
    limits: Limits = field(default_factory=Limits)
    accept_clock: bool = False
    cores: int = field(default_factory=lambda: min(os.cpu_count() or 1, _MOST_CORES))
