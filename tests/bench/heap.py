"""How much heap the agent needs, on real MicroPython (64-bit).

Each attempt is 40 simulated minutes with all that a day has: the first connection, reports, an
outage, the broker gone and back, the end.
"""

import contextlib
import tempfile
from pathlib import Path

from tests import support
from tests.bench.agent_ram import mpy_sizes
from tests.sim.province import Province
from tests.sim.run import Device, Failed, Site
from tests.sim.world import Upstream

_KIB = 1024


class Bench:
    """A site with its broker and province, to start the agent at again and again."""

    def __init__(self, folder: Path) -> None:
        self.upstream = Upstream()
        port = support.free_port()
        targets = {
            "link.gateway": "127.0.0.1",
            "link.targets": [f"127.0.0.1:{self.upstream.port}"],
        }
        self.site = Site(folder / "site", "127.0.0.1", port, targets)
        self.province: Province = self.site.province()
        self.port = port
        self.broker = support.Broker(folder / "broker", self.site.broker_lines(), port)

    def attempt(self, heapsize: str, agent: Path | None = None, sampled: bool = False) -> Device:
        """Run the agent once. `sampled`: its `peak` is asked for at the end.

        Raises:
            Failed: it ended early, or said that something went wrong.
        """
        modules = [("tests.sim.peak", 0)] if sampled else []
        with (
            support.start_mosquitto(
                self.broker.folder, self.site.broker_lines(), self.port
            ) as broker,
            Device(self.site.config, heapsize=heapsize, agent=agent, modules=modules) as device,
        ):
            self.province.connect("127.0.0.1", self.port)
            try:
                while device.next_minute() < 40:
                    self.site.village.minute(device.minute)
                    self.province.minute(device.now)
                    if device.minute == 12:
                        self.upstream.refuse()
                    if device.minute == 16:
                        self.upstream.answer()
                    if device.minute == 20:
                        self.province.close()
                        broker.restart()
                        self.province.connect("127.0.0.1", self.port)
                    if device.minute == 38:
                        device.heap()
                if sampled:
                    device.heaps.append(device.ask("peak"))
                log = device.finish()
            finally:
                self.province.close()
            if "rror" in log:
                raise Failed(log)
            return device

    def finishes(self, heapsize: int, agent: Path | None = None) -> bool:
        with contextlib.suppress(Failed):
            self.attempt(str(heapsize), agent)
            return True
        return False

    def smallest(self, step: int, agent: Path | None = None) -> int:
        """The smallest heap, in bytes and in steps of `step`, in which the agent does all this."""
        low, high = 32 * _KIB, 512 * _KIB
        while high - low > step:
            middle = (low + high) // 2 // step * step
            if self.finishes(middle, agent):
                high = middle
            else:
                low = middle
        return high


def run(quick: bool = False) -> dict[str, int]:
    """Measure.

    Returns:
        steady_heap_bytes: allocated after a collection, connected and with nothing to do;
        agent_peak_heap_bytes: the most that was allocated after a collection, at any time that the
        agent asked for the time of day; smallest_heap_bytes, smallest_heap_mpy_bytes: the smallest
        `-X heapsize` in which it finishes, from source and from .mpy files.
    """
    step = 4 * _KIB if quick else _KIB
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mpy_sizes(folder / "mpy", ("-O3",))
        bench = Bench(folder)
        steady = bench.attempt("1m").heaps[0]
        return {
            "steady_heap_bytes": steady,
            "agent_peak_heap_bytes": bench.attempt("1m", sampled=True).heaps[-1],
            "smallest_heap_bytes": bench.smallest(step),
            "smallest_heap_mpy_bytes": bench.smallest(step, folder / "mpy"),
        }


if __name__ == "__main__":
    print(run(quick=True))
