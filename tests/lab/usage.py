"""Usage against truth: bytes that the province shows, beside a packet filter's count of them.

The agent reads the counters of its router's way out, as the router shows them: 32 bits wide here,
so that they wrap in the middle of a download, and at zero again after the router was restarted.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from tests.lab.judge import measured, settle, told_until
from tests.lab.net import cable, call
from tests.lab.world import ROUND_S, SINK, Village, World

_WRAP = 1 << 32
_BEFORE_WRAP = 5_000_000
_ETHERNET = 14  # bytes of each frame that the packet filter does not see, and the interface does
_SAMPLE_S = 6
LIMIT = 0.01


@dataclass
class Usage:
    """Bytes of one transfer in one village."""

    what: str
    interpreter: str
    direction: str
    truth: int
    shown: int
    ok: bool

    def row(self) -> dict[str, Any]:
        """For the file."""
        return asdict(self)


class _Counters(threading.Thread):
    """Shows the router's counters to the agent as a router with 32 bits would."""

    def __init__(self, village: Village) -> None:
        super().__init__(daemon=True)
        self._village = village
        self.path = village.router.folder / "proc_net_dev"
        self._over = threading.Event()
        self._base = {"down": _BEFORE_WRAP - _WRAP, "up": _BEFORE_WRAP - _WRAP}
        self._first = self._real()

    def _real(self) -> tuple[int, int] | None:
        text = call(*self._village.router.command("cat", "/proc/net/dev"))
        found = re.search(r"wan0:\s*(\d+)(?:\s+\d+){7}\s+(\d+)", text)
        return (int(found[1]), int(found[2])) if found else None

    def restarted(self) -> None:
        """From now on the counters are those of a router that has just started."""
        self._base = {"down": 0, "up": 0}
        self._first = (0, 0)

    def show(self) -> None:
        """Write the file as it is now."""
        real = self._real()
        if real is None or self._first is None:
            self.path.write_text("Inter-|\n face |\n")  # the router does not run
            return
        down, up = (
            (value - first - self._base[name]) % _WRAP
            for value, first, name in zip(real, self._first, ("down", "up"), strict=True)
        )
        new = self.path.with_suffix(".new")
        new.write_text(f"Inter-|\n face |\n  wan0: {down} 0 0 0 0 0 0 0 {up} 0 0 0 0 0 0 0\n")
        new.replace(self.path)

    def run(self) -> None:
        while not self._over.wait(0.2):
            self.show()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self.join()


def _count(village: Village) -> None:
    hook = "type filter hook"
    village.router.nft(
        "table ip truth {\n"
        " counter down { }\n counter up { }\n"
        f' chain p {{ {hook} prerouting priority -400; iifname "wan0" counter name down; }}\n'
        f' chain o {{ {hook} postrouting priority 400; oifname "wan0" counter name up; }}\n'
        "}"
    )


def _truth(village: Village) -> dict[str, int]:
    listing = json.loads(village.router.nft_json("counters", "table", "ip", "truth"))
    return {
        item["counter"]["name"]: item["counter"]["bytes"] + _ETHERNET * item["counter"]["packets"]
        for item in listing["nftables"]
        if "counter" in item
    }


def _transfer(village: Village, kind: str, size: int) -> None:
    call(
        *village.device.command(
            sys.executable, "-m", "tests.lab.servers", kind, SINK, "9000", str(size)
        )
    )


def _measured(world: World, village: Village, what: str, begin: float, act: Any) -> list[Usage]:
    before = _truth(village)
    act()
    time.sleep(1)
    after = _truth(village)
    end = time.time() + _SAMPLE_S
    world.wait_until(lambda: told_until(world, village, end + 1), "samples are told", 90)
    samples = [s for s in measured(world, village, begin) if s.t >= begin]
    found = []
    for name in ("down", "up"):
        shown = sum(s.values.get(f"bytes_{name}") or 0 for s in samples)
        truth = after[name] - before[name]
        found.append(
            Usage(
                what,
                village.interpreter,
                name,
                truth,
                shown,
                abs(shown - truth) <= LIMIT * truth + 4000,
            )
        )
    return found


def compare(world: World, megabytes: int) -> list[Usage]:
    """Transfers in every village: over a wrap, and around a restart of the router."""
    settle(world)
    found = []
    for village in world.villages:
        _count(village)
        counters = _Counters(village)
        counters.show()
        counters.start()
        village.agent.stop(signal.SIGINT)
        village.configure({"usage.interface": "wan0", "usage.proc_net_dev": str(counters.path)})
        village.agent.start()
        try:
            found += _village(world, village, counters, megabytes * 1_000_000)
        finally:
            counters.stop()
    return found


def _village(world: World, village: Village, counters: _Counters, size: int) -> list[Usage]:
    def both() -> None:
        _transfer(village, "download", size)
        _transfer(village, "upload", size)

    def restart_between() -> None:
        _transfer(village, "download", size // 2)
        time.sleep(2 * _SAMPLE_S)  # a router's last bytes before it dies are nobody's to count
        village.router.ip("link", "del", "wan0")
        time.sleep(2 * ROUND_S)
        counters.restarted()
        cable(village.router, "wan0", world.provider, village.port)
        world.provider.ip("addr", "add", f"{village.wan_gateway}/30", "dev", village.port)
        village.address_wan()
        time.sleep(ROUND_S)
        both()

    # From a sample's start on, once the agent has its first reading.
    time.sleep(2 * _SAMPLE_S)
    begin = _next_sample(world, village)
    found = _measured(world, village, "over a 32-bit wrap", begin, both)
    begin = _next_sample(world, village)
    found += _measured(world, village, "through a router's restart", begin, restart_between)
    return found


def _next_sample(world: World, village: Village) -> float:
    """Wait for a sample to begin; its start."""

    def newest() -> float | None:
        ends = [s.t + s.step for s in measured(world, village, time.time() - 600)]
        return max(ends, default=None)

    known = newest()
    world.wait_until(lambda: newest() != known, "a new report", 90)
    # Reports come after several samples; the next ones begin at multiples of a sample from here.
    base = newest()
    assert base is not None
    begin = base + -(-(time.time() - base) // _SAMPLE_S) * _SAMPLE_S
    # On a busy machine the counters are read a little after a sample's end: act in the middle.
    time.sleep(max(0.0, begin - time.time()) + _SAMPLE_S / 2)
    return begin - 0.5
