"""How much heap the agent needs, on real MicroPython (64-bit, unless the tests run on another).

Each attempt is 40 simulated minutes with all that a day has: the first connection, reports, an
outage, the broker gone and back, the end. Sources ask real equipment's stand-ins on loopback.

    DESALINK_TEST_MICROPYTHON=... python -m tests.bench.heap --write

renews boards/_esp32/heap.toml. It needs a MicroPython with 32 bits and ROMFS.
"""

import contextlib
import http.server
import re
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from host_tools.devices.boards import load_board
from host_tools.devices.release import build_release
from host_tools.devices.romfs import romfs_image
from tests import support
from tests.agent.sources.equipment import Village
from tests.bench.agent_ram import SECTIONS, mpy_sizes
from tests.sim.province import Province
from tests.sim.run import Device, Failed, Site
from tests.sim.world import Upstream

_KIB = 1024
# An attempt takes a few seconds. On a heap that is all but full the collector runs at every
# allocation, which is no life either.
_LIMIT_S = 90


class Bench:
    """A site with its broker and province, to start the agent at again and again.

    Args:
        equipment: running; each of its sections of the configuration that is in `usage` is in use.
        more: other keys of the configuration.
    """

    def __init__(
        self,
        folder: Path,
        equipment: Village | None = None,
        usage: Iterable[str] = (),
        more: Mapping[str, object] | None = None,
    ) -> None:
        self.equipment = equipment
        self.upstream = Upstream()
        port = support.free_port()
        targets = {
            "link.gateway": "127.0.0.1",
            "link.targets": [f"127.0.0.1:{self.upstream.port}"],
            **(more or {}),
        }
        if equipment:
            targets |= {f"usage.{name}": equipment.usage[name] for name in usage}
            targets["usage.arp"] = str(equipment.arp)
        self.site = Site(folder / "site", "127.0.0.1", port, targets)
        self.province: Province = self.site.province()
        self.port = port
        self.broker = support.Broker(folder / "broker", self.site.broker_lines(), port)

    def attempt(
        self,
        heapsize: str,
        agent: Path | None = None,
        sampled: bool = False,
        rom: Path | None = None,
    ) -> Device:
        """Run the agent once. `sampled`: its `peak` is asked for at the end.

        Raises:
            Failed: it ended early, or said that something went wrong.
        """
        modules = [("tests.sim.peak", 0)] if sampled else []
        if self.equipment:
            modules.append(("tests.sim.streams", 0))
        with (
            support.start_mosquitto(
                self.broker.folder, self.site.broker_lines(), self.port
            ) as broker,
            Device(
                self.site.config, heapsize=heapsize, agent=agent, modules=modules, rom=rom
            ) as device,
        ):
            limit = threading.Timer(_LIMIT_S, device.process.kill)
            limit.start()
            self.province.connect("127.0.0.1", self.port)
            try:
                while device.next_minute() < 40:
                    self.site.village.minute(device.minute)
                    if self.equipment:
                        self.equipment.transfer(1_000_000)
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
                limit.cancel()
                self.province.close()
            if "rror" in log:
                raise Failed(log)
            return device

    def finishes(self, heapsize: int, agent: Path | None, rom: Path | None) -> bool:
        with contextlib.suppress(Failed):
            self.attempt(str(heapsize), agent, rom=rom)
            return True
        return False

    def smallest(
        self,
        step: int,
        agent: Path | None = None,
        rom: Path | None = None,
        near: int = 160 * _KIB,
    ) -> int:
        """The smallest heap, in bytes and in steps of `step`, in which the agent does all this.
        near: what it may be; the better this is, the fewer attempts are made."""
        low = high = near
        reach = step
        if self.finishes(near, agent, rom):
            while low == high or self.finishes(low, agent, rom):
                low, high = low - reach, low
                reach *= 2
        else:
            while low == high or not self.finishes(high, agent, rom):
                low, high = high, high + reach
                reach *= 2
        while high - low > step:
            middle = (low + high) // 2 // step * step
            if self.finishes(middle, agent, rom):
                high = middle
            else:
                low = middle
        return high


def with_sources(folder: Path, mpy: Path, rom: Path, step: int, quick: bool) -> dict[str, int]:
    """The smallest heaps, in bytes, by key: with each source alone (not if `quick`) and, as "all",
    with all of them; from .mpy files, and compiled in ("rom")."""
    found = {}
    names = SECTIONS
    folder.mkdir()
    with Village(folder).running() as equipment:
        for name in ["all"] if quick else [*names, "all"]:
            usage = names if name == "all" else [name]
            bench = Bench(folder / f"with_{name}", equipment, usage)
            found[f"smallest_heap_{name}_mpy_bytes"] = bench.smallest(step, mpy)
            found[f"smallest_heap_{name}_rom_bytes"] = bench.smallest(step, rom=rom)
    return found


def run(quick: bool = False) -> dict[str, int]:
    """Measure.

    Returns:
        steady_heap_bytes: allocated after a collection, connected and with nothing to do;
        agent_peak_heap_bytes: the most that was allocated after a collection, at any time that the
        agent asked for the time of day; smallest_heap_bytes, smallest_heap_mpy_bytes: the smallest
        `-X heapsize` in which it finishes, from source and from .mpy files;
        smallest_heap_rom_bytes: compiled in, so that its code takes no heap;
        smallest_heap_<source>_mpy_bytes and ..._rom_bytes: with one source, or with "all".
    """
    step = 4 * _KIB if quick else _KIB
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mpy_sizes(folder / "mpy", ("-O3",))
        rom = folder / "agent.romfs"
        rom.write_bytes(romfs_image(build_release(load_board("unix"))))
        bench = Bench(folder)
        steady = bench.attempt("1m").heaps[0]
        return {
            "steady_heap_bytes": steady,
            "agent_peak_heap_bytes": bench.attempt("1m", sampled=True).heaps[-1],
            "smallest_heap_bytes": bench.smallest(step),
            "smallest_heap_mpy_bytes": bench.smallest(step, folder / "mpy"),
            "smallest_heap_rom_bytes": bench.smallest(step, rom=rom),
        } | with_sources(folder / "village", folder / "mpy", rom, 4 * _KIB, quick)


_IMPORTS = """
import gc, os, sys
for name in ("machine", "network", "esp32"):
    sys.modules[name] = sys  # nothing of them is used here
if sys.argv[1].endswith(".romfs"):
    import vfs
    with open(sys.argv[1], "rb") as file:
        vfs.mount(vfs.VfsRom(file.read()), "/rom")
    sys.argv[1] = "/rom"
sys.path.insert(0, sys.argv[1])
import agent.core
gc.collect()
before = gc.mem_alloc()
for name in sys.argv[2:]:
    __import__(name)
gc.collect()
print(gc.mem_alloc() - before)
"""


def _board_bytes(folder: Path, unix: dict[str, Path]) -> dict[str, int]:
    """What the ESP32's own modules with Wi-Fi take beyond those of the bench's board `unix`, from
    .mpy files and from ROMFS."""
    release = build_release(load_board("esp32-generic"), [{"board": {"wifi": []}}])
    for path, data in release.files.items():
        (folder / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (folder / path[1:]).write_bytes(data)
    rom = folder.with_suffix(".romfs")
    rom.write_bytes(romfs_image(release))

    def taken(place: Path, *modules: str) -> int:
        return int(support.run_micropython(_IMPORTS, place, *modules, check=True).stdout)

    own = [f"boards._esp32.{name}" for name in ("board", "storage", "wifi")]
    return {
        kind: taken(place, *own) - taken(unix[kind], "boards.unix.board")
        for kind, place in (("mpy", folder), ("romfs", rom))
    }


def needs(before: dict[str, dict[str, int]], step: int = 2 * _KIB) -> dict[str, dict[str, int]]:
    """The table of heap.toml: KiB by what is configured, from .mpy files and from ROMFS.
    before: the same as it was."""
    found: dict[str, dict[str, int]] = {"mpy": {}, "romfs": {}}
    with tempfile.TemporaryDirectory() as name, Village(Path(name)).running() as equipment:
        folder = Path(name)
        mpy_sizes(folder / "mpy", ("-O3",))
        rom = folder / "agent.romfs"
        rom.write_bytes(romfs_image(build_release(load_board("unix"))))
        for kind, size in _board_bytes(
            folder / "esp32", {"mpy": folder / "mpy", "romfs": rom}
        ).items():
            found[kind]["board"] = -(-size // _KIB)
            print(kind, "board", found[kind]["board"], flush=True)
        with answering() as page:
            parts = {"portal": {"link.portal": page}, "budget": {"budget.month_mb": 100}}
            for part in ["base", *parts, *SECTIONS, "all"]:
                usage = SECTIONS if part == "all" else [part] if part in SECTIONS else []
                with_equipment = equipment if usage else None
                bench = Bench(folder / part, with_equipment, usage, parts.get(part))
                for kind, files in (("mpy", {"agent": folder / "mpy"}), ("romfs", {"rom": rom})):
                    near = before[kind][part] * _KIB
                    found[kind][part] = bench.smallest(step, near=near, **files) // _KIB
                    print(kind, part, found[kind][part], flush=True)
    return found


@contextlib.contextmanager
def answering() -> Iterator[str]:
    """A page for the check of captive portals."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def write_needs() -> None:
    """Measure on a 32-bit MicroPython, and renew boards/_esp32/heap.toml."""
    asked = "import sys, vfs; print(sys.maxsize >> 32 or not hasattr(vfs, 'VfsRom'), sys.version)"
    answer = support.run_micropython(asked, check=True).stdout
    if not answer.startswith("0 ") and not answer.startswith("False "):
        sys.exit(
            "This is no MicroPython with 32 bits and ROMFS; name one in DESALINK_TEST_MICROPYTHON."
        )
    path = support.ROOT / "boards" / "_esp32" / "heap.toml"
    text = path.read_text()
    comment = re.match(r"(#.*\n)+", text)
    assert comment
    lines = [comment.group().rstrip("\n")]
    for kind, parts in needs(tomllib.loads(text)).items():
        lines += [f"[{kind}]", *(f"{part} = {kib}" for part, kib in parts.items()), ""]
    path.write_text("\n".join(lines))


if __name__ == "__main__":
    if "--write" in sys.argv:
        write_needs()
    else:
        print(run(quick=True))
