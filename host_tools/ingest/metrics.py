"""The ingest's figures for Prometheus, on 127.0.0.1 only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from host_tools.common.errors import DesalinkError


@dataclass(slots=True)
class Figures:
    """Plain numbers that the loop counts; they cost it nothing."""

    reports: int = 0
    duplicates: int = 0
    births: int = 0
    acks: int = 0
    batches: int = 0
    store_seconds: float = 0.0
    store_failures: int = 0
    connections: int = 0
    connected: int = 0
    last_message: float = 0.0
    derived: int = 0
    derive_seconds: float = 0.0
    derive_pending: int = 0
    beyond: int = 0
    held: int = 0
    refused: Counter[str] = field(default_factory=Counter)


_COUNTERS = (
    ("reports", "Reports stored"),
    ("duplicates", "Reports that arrived again, byte for byte, and were dropped"),
    ("births", "Births stored"),
    ("acks", "Acknowledgements published to devices"),
    ("batches", "Transactions committed"),
    ("store_seconds", "Time spent verifying and storing"),
    ("store_failures", "Transactions that failed and were tried again"),
    ("connections", "Connections made to the broker"),
    ("derived", "Reports whose samples, outages and states were derived"),
    ("derive_seconds", "Time spent deriving"),
    ("beyond", "Refused messages that the quarantine had no room for"),
    ("held", "Messages beyond a device's allowance, neither stored nor acknowledged"),
)
_GAUGES = (
    ("connected", "1 while subscribed at the broker"),
    ("last_message", "Unix time of the last message"),
    ("derive_pending", "Reports stored and not derived yet"),
)


class _Collector:
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, text in _COUNTERS:
            yield CounterMetricFamily(
                f"desalink_ingest_{name}", text, value=getattr(self._figures, name)
            )
        for name, text in _GAUGES:
            yield GaugeMetricFamily(
                f"desalink_ingest_{name}", text, value=getattr(self._figures, name)
            )
        refused = CounterMetricFamily(
            "desalink_ingest_refused", "Messages put into quarantine", labels=["reason"]
        )
        for reason, count in list(self._figures.refused.items()):
            refused.add_metric([reason], count)
        yield refused


def serve(figures: Figures, port: int) -> Any:
    """Answer `GET /metrics` from a thread; returns what `shutdown()` ends it.

    Raises:
        DesalinkError: the port is taken.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(_Collector(figures))
    try:
        server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise DesalinkError(
            f"Port {port} can't be used for /metrics ({error.strerror}); choose another one "
            "with --metrics-port."
        ) from None
    return server
