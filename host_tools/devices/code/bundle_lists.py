"""Which modules become one (bundles.py)."""

from __future__ import annotations

CORE_PATH = "agent/core.py"
# What is needed first: to collect often, to read the settings and the certificate.
BASE = tuple(
    f"agent/{name}.py"
    for name in ("device/interpreter", "device/heap", "device/board", "net/errors")
)
# What else every agent keeps in memory while it runs.
CORE = tuple(
    f"agent/{name}.py"
    for name in (
        "device/clock wire/cbor wire/cose wire/ed25519 wire/sha512 wire/comb"
        " net/tasks net/traffic net/udp net/dns net/packet net/connection net/mqtt"
        " journal/segment journal/stream journal/journal link/linux link/probes link/broker"
        " link/names link/outages link/quality link/upstream link/ladder measure/report"
        " measure/sampler province/acks province/backoff province/birth province/certificate"
        " province/delivery province/session supervise"
    ).split()
)
BUNDLES = {"agent/base.py": BASE, CORE_PATH: CORE}
BUNDLE_OF = {path: bundle for bundle, paths in BUNDLES.items() for path in paths}
