"""The four villages of the demo, all of Maratua island, and the devices that stand in them."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from host_tools.demo.village import UPLINK, DemoVillage
from host_tools.province.registry import slot_name

# Thirty times as fast as in a real village: nobody should have to wait five minutes for a report.
CADENCE_S = {"round_s": 1, "sample_s": 2, "report_samples": 5}


class Ports(TypedDict):
    """Where a village's provider listens on 127.0.0.1: from `Uplink.open`, through JSON."""

    targets: list[int]
    broker: int
    resolver: int


@dataclass(frozen=True)
class Site:
    """A village and its line. delay, jitter: seconds in one direction; mbps: of the line."""

    code: str
    interpreter: str
    provider: str
    busy: int
    mbps: int
    delay: float
    jitter: float

    @property
    def slot(self) -> str:
        return slot_name(self.code, 1)

    @property
    def device(self) -> str:
        """The interpreter's name for people."""
        return {"micropython": "MicroPython", "cpython": "CPython"}[self.interpreter]

    def surroundings(self, folder: Path, broker: tuple[str, int]) -> dict[str, Any]:
        """The slot as `world.py` needs it."""
        return {
            "folder": str(folder),
            "busy": self.busy,
            "capacity": self.mbps * 125_000,
            "delay": self.delay,
            "jitter": self.jitter,
            "broker": broker,
        }

    def settings(self, folder: Path, ports: Ports) -> dict[str, Any]:
        """Keys of the agent's configuration: its router's files, and the addresses that answer."""
        village = DemoVillage(folder, self.busy, 0)
        return {
            "broker.port": ports["broker"],
            "broker.backoff_max_s": 5,
            **{f"cadence.{key}": value for key, value in CADENCE_S.items()},
            "clock.source": "system",
            "link.interface": UPLINK,
            # The village's router; this machine answers pings like one.
            "link.gateway": "127.0.0.1",
            "link.targets": [f"dns:127.0.0.1:{port}" for port in ports["targets"]],
            "link.timeout_ms": 500,
            "link.dns": f"127.0.0.1:{ports['resolver']}",
            "link.sys_class_net": str(village.sys_class_net),
            "usage.interface": UPLINK,
            "usage.proc_net_dev": str(village.proc_net_dev),
            "usage.leases": str(village.leases),
        }


# As on the island: satellite, 4G over the water, radio from the mainland, a little fibre.
SITES = (
    Site(
        "6403112001",
        "micropython",
        "Telkomsat Starlink",
        busy=9,
        mbps=100,
        delay=0.019,
        jitter=0.004,
    ),
    Site("6403112002", "micropython", "Orbit 4G", busy=6, mbps=50, delay=0.024, jitter=0.007),
    Site("6403112003", "micropython", "Comtelindo", busy=4, mbps=20, delay=0.014, jitter=0.005),
    Site("6403112004", "cpython", "Icon+", busy=11, mbps=100, delay=0.004, jitter=0.001),
)

_PORTS = range(20000, 32000)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that no other program takes while the broker is down.

    Below 32768, where Linux takes the near ends of outgoing connections from."""
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise OSError("no TCP port from 20000 to 31999 is free on 127.0.0.1")
