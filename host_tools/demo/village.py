"""A village's router as an agent reads it: the files of Linux and dnsmasq.

Nothing here talks to the agent: it reads these files like those of a real router, on paths that
its configuration names. What lies behind the uplink is in `provider.py`.
"""

from __future__ import annotations

import os
import random
import secrets
from dataclasses import dataclass, field
from pathlib import Path

UPLINK = "wan0"
_IFINDEX = {"lo": 1, UPLINK: 2}

# Each person stays about a minute, so that a day's changes happen within minutes.
_LEASE_S = (15.0, 75.0)
# What one person at a hotspot loads, on average and in bytes a second; videos come in bursts.
_RATE_DOWN = 95_000
_UP_SHARE = 0.09
_PACKET = 1100

_PROC_NET_DEV = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast"
    "|bytes    packets errs drop fifo colls carrier compressed\n"
)


def _put(path: Path, text: str) -> None:
    # /proc answers one read with one state; a file that is being rewritten would not.
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    os.replace(temporary, path)


@dataclass
class _Lease:
    mac: str
    address: int
    expiry: float


@dataclass
class DemoVillage:
    """The router of one village: its uplink's counters and the people in its Wi-Fi.

    folder: where the files are. busy: how many people there are on average. capacity: of the
    uplink, bytes a second.
    """

    folder: Path
    busy: int
    capacity: int
    _leases: list[_Lease] = field(default_factory=list)
    # As on a device that has been running for a while: counting starts from any value.
    _down: int = field(default_factory=lambda: random.randrange(1 << 30))
    _up: int = field(default_factory=lambda: random.randrange(1 << 27))

    @property
    def proc_net_dev(self) -> Path:
        """Stands for /proc/net/dev, proc_net(5)."""
        return self.folder / "proc_net_dev"

    @property
    def sys_class_net(self) -> Path:
        """Stands for /sys/class/net, the kernel's Documentation/ABI/testing/sysfs-class-net."""
        return self.folder / "sys_class_net"

    @property
    def leases(self) -> Path:
        """Stands for dnsmasq's lease file, dnsmasq(8): expiry, MAC, address, name, client id."""
        return self.folder / "dnsmasq.leases"

    def build(self, now: float) -> None:
        """Make the files, with people already there."""
        for name, index in _IFINDEX.items():
            interface = self.sys_class_net / name
            interface.mkdir(parents=True)
            (interface / "ifindex").write_text(f"{index}\n")
            (interface / "operstate").write_text("unknown\n" if name == "lo" else "up\n")
        self._leases = [self._arrival(now) for _ in range(self.busy)]
        self._write(now)

    def live(self, now: float, seconds: float, online: bool) -> None:
        """Let `seconds` pass until Unix time `now`; offline nobody loads anything."""
        self._leases = [lease for lease in self._leases if lease.expiry > now]
        # On average as many people come as go; fewer come to a full place.
        crowd = 2 - len(self._leases) / self.busy
        if random.random() < crowd * self.busy * seconds / (sum(_LEASE_S) / 2):
            self._leases.append(self._arrival(now))
        if online:
            # As real usage: mostly little, sometimes much.
            wanted = sum(random.expovariate(1 / _RATE_DOWN) for _ in self._leases)
            down = int(min(wanted, self.capacity * random.uniform(0.9, 1)) * seconds)
            self._down += down
            self._up += int(down * _UP_SHARE * random.uniform(0.7, 1.3))
        self._write(now)

    def _arrival(self, now: float) -> _Lease:
        # The bit 02 marks an address that no manufacturer has given to anything.
        mac = "02:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(5))
        return _Lease(mac, random.randrange(10, 250), now + random.uniform(*_LEASE_S))

    def _write(self, now: float) -> None:
        lines = [
            f"{name:>6}: {down} {down // _PACKET} 0 0 0 0 0 0 {up} {up // _PACKET} 0 0 0 0 0 0\n"
            for name, down, up in (("lo", 0, 0), (UPLINK, self._down, self._up))
        ]
        _put(self.proc_net_dev, _PROC_NET_DEV + "".join(lines))
        _put(
            self.leases,
            "".join(
                f"{int(lease.expiry)} {lease.mac} 10.64.0.{lease.address} * *\n"
                for lease in self._leases
            ),
        )
