"""The ingest's figures for Prometheus, on 127.0.0.1 only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.store.size import Size


def _counter(meaning: str) -> Any:
    return field(default=0, metadata={"kind": "counter", "meaning": meaning})


def _gauge(meaning: str) -> Any:
    return field(default=0, metadata={"kind": "gauge", "meaning": meaning})


@dataclass(slots=True, eq=False)
class Figures:
    """Plain numbers that the loop counts; they cost it nothing."""

    reports: int = _counter("Reports stored")
    duplicates: int = _counter("Reports that arrived again, byte for byte, and were dropped")
    births: int = _counter("Births stored")
    acks: int = _counter("Acknowledgements published to devices")
    batches: int = _counter("Transactions committed")
    store_seconds: float = _counter("Time spent verifying and storing")
    store_failures: int = _counter("Transactions that failed and were tried again")
    connections: int = _counter("Connections made to the broker")
    derived: int = _counter("Reports whose samples, outages and states were derived")
    derive_seconds: float = _counter("Time spent deriving")
    beyond: int = _counter("Refused messages that the quarantine had no room for")
    held: int = _counter("Messages beyond a device's allowance, neither stored nor acknowledged")
    connected: int = _gauge("1 while subscribed at the broker")
    last_message: float = _gauge("Unix time of the last message")
    derive_pending: int = _gauge("Reports stored and not derived yet")
    refused: Counter[str] = field(default_factory=Counter)
    disk: Size | None = None

    def collect(self) -> Iterator[Any]:
        """The figures as prometheus_client's metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        for each in fields(self):
            if each.metadata:
                family = families[each.metadata["kind"]]
                name, meaning = f"desalink_ingest_{each.name}", each.metadata["meaning"]
                yield family(name, meaning, value=getattr(self, each.name))
        refused = CounterMetricFamily(
            "desalink_ingest_refused", "Messages put into quarantine", labels=["reason"]
        )
        for reason, count in list(self.refused.items()):
            refused.add_metric([reason], count)
        yield refused
        if self.disk is not None:
            for name, meaning, value in (
                ("database_bytes", "Size of the database", self.disk.bytes),
                ("archive_bytes", "Size of the archive", self.disk.archive),
                ("disk_free_bytes", "Free bytes of the database's disk", self.disk.free),
                (
                    "database_growth_bytes",
                    "By which the database grows in a day while nothing is archived",
                    self.disk.bytes_per_day,
                ),
                (
                    "disk_days_left",
                    "Days until the disk is full at that growth",
                    math.inf if self.disk.days_left is None else self.disk.days_left,
                ),
            ):
                yield GaugeMetricFamily(f"desalink_ingest_{name}", meaning, value=value)


def serve(figures: Figures, port: int) -> Any:
    """Answer `GET /metrics` from a thread; returns what `shutdown()` ends it.

    Raises:
        DesalinkError: the port is taken.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(figures)
    try:
        server, _thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise DesalinkError(
            _(
                "Port {port} can't be used for /metrics ({strerror}); choose another one with "
                "--metrics-port."
            ).format(port=port, strerror=error.strerror)
        ) from None
    return server
