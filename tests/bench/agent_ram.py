"""Where the agent's memory goes, module by module: `python -m tests.bench.agent_ram`.

`agent.core` is what a release has in place of several (device_code.py).
Columns: bytes of the .mpy as released for ESP32; bytes that stay on the heap after the import,
from source and from .mpy (64-bit MicroPython; a 32-bit one needs about half for objects, the same
for bytecode), without the names that the module brought, which have a row of their own; and the
heap that it takes to compile the source alone.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from host_tools.devices.boards import load_board
from host_tools.devices.code.files import IDS, NOT_RELEASED
from host_tools.devices.device_code import source_code
from host_tools.devices.release import module_name, release_paths, traceback_name
from tests import support

RELEASE = ("-O3", "-march=xtensawin")

# Parts that a device loads only where its configuration asks for them, beside the sources.
OPTIONS = {
    "turns": ("sources.turns",),
    "budget": ("measure.budget",),
    "throughput": ("link.throughput",),
    "portal": ("link.portal",),
    # when its key is made, in the tests of its provisioning, and while a technician looks at it
    "provisioning": ("province.selftest", "device.enrolment", "visit"),
    # a new certificate
    "renewal": ("province.received", "province.renewal", "province.trial"),
    # a signature to verify, a value that reports don't have, a journal lost
    "rare": (
        "journal.reissue",
        "province.last_report",
        "wire.cose_verify",
        "wire.ed25519_verify",
    ),
}
# What every device loads has these two; "source" is what the sources with a section share.
NEARBY = {"interface": "eth0", "arp": "/proc/net/arp"}
SHARED = {"agent.sources.source", "agent.sources.counter"}
SECTIONS = sorted(
    path.stem
    for path in (support.ROOT / "agent" / "sources").glob("*.py")
    if "\nKEYS = " in path.read_text()
)
SOURCES = ("source", *SECTIONS, "snmpv3")
# All that a device on Wi-Fi with SNMP, portal and budget is configured with.
DEVICE = {
    "link": {"portal": "http://example.org/"},
    "budget": {"month_mb": 100},
    "usage": {"snmp": {"host": "192.168.1.1"}},
    "board": {"wifi": [{"ssid": "desa"}]},
}


def modules() -> list[str]:
    """The agent's modules, first those that `-m agent` loads, in about its order."""
    found = [
        ".".join(path.relative_to(support.ROOT).with_suffix("").parts)
        for path in sorted((support.ROOT / "agent").rglob("*.py"))
        if path.name != "__init__.py"
        and path.relative_to(support.ROOT).as_posix() not in {*NOT_RELEASED, *IDS}
    ]
    begin = [
        name for name in ("agent.__main__", "agent.start", "agent.supervise") if name in found
    ]
    return [*begin, "boards.unix.board", *(name for name in found if name not in begin)]


class Cost(NamedTuple):
    """Of one module, in bytes. `compiling` is in steps of 1 KiB."""

    module: str
    mpy: int
    from_source: int
    from_mpy: int
    compiling: int


def mpy_sizes(folder: Path, options: Sequence[str] = RELEASE) -> dict[str, int]:
    """Compile every module of the agent that devices load into `folder`, with the unix port's
    board, and return the sizes of the agent's by module name."""
    sizes = {}
    for path in release_paths(load_board("unix")):
        name = module_name(path)
        target = (folder / path).with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        source = target.with_suffix(".source")
        source.write_bytes(source_code(path, micropython=True))
        command = [support.mpy_cross(), *options, "-s", traceback_name(path), "-o", target, source]
        subprocess.run(command, check=True)
        source.unlink()
        if path.startswith("agent/"):
            sizes[name] = target.stat().st_size
    return sizes


def needed(config: dict[str, Any]) -> set[str]:
    """The agent's modules that an ESP32 with this configuration gets."""
    paths = release_paths(load_board("esp32-generic"), [config])
    return {module_name(path) for path in paths if path.startswith("agent/")}


def by_part(sizes: dict[str, int]) -> tuple[int, dict[str, int]]:
    """From sizes by module: the core, which every device loads to report link, bytes and clients,
    and what each of SOURCES and OPTIONS adds; what several need is counted with each of them."""
    base = needed({"usage": NEARBY})
    parts = {name: {f"agent.{module}" for module in part} for name, part in OPTIONS.items()}
    parts["source"] = SHARED
    for name in SECTIONS:
        section = {"url": "http://router", "command": "ubus"}
        parts[name] = needed({"usage": {**NEARBY, name: section}}) - base - SHARED
    snmpv3 = needed({"usage": {**NEARBY, "snmp": {"user": "desa"}}})
    parts["snmpv3"] = snmpv3 - base - SHARED - parts["snmp"]
    core = base.difference(*(parts[name] for name in OPTIONS))
    sums = {name: sum(sizes[module] for module in part) for name, part in parts.items()}
    return sum(sizes[module] for module in core), sums


def costs() -> list[Cost]:
    """Measure every module, in the order of import."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = mpy_sizes(folder)
        mpy_sizes(folder / "here", ("-O3",))  # bytecode that this machine loads
        loaded = _import(folder / "here", ["boards.unix.board", *sizes])
        source = _import(support.ROOT, modules())
        return [
            Cost(
                module,
                sizes.get(module, 0),
                source.get(module, 0),
                loaded.get(module, 0),
                _compiling(module) if module in source else 0,
            )
            for module in [*loaded, *(module for module in source if module not in loaded)]
        ]


def _import(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Bytes that each module keeps, in the order of import; "" is the names of all of them
    and the packages."""
    script = support.ROOT / "tests" / "bench" / "import_cost.py"
    result = support.run_micropython(script, folder, *names, heapsize="4m", check=True)
    found = {}
    stack = [("", 0, [0, 0])]  # module, names before, [bytes, names] of the imports within
    names = taken = 0
    ended = False
    for line in result.stdout.splitlines():
        word, _, value = line.partition(" ")
        if word == "import":
            stack.append((value, names, [0, 0]))
        elif word == "imported":
            taken, ended = int(value), True
        else:
            names = int(line.rpartition("n_total_bytes=")[2])
            if ended:
                module, before, within = stack.pop()
                own, own_names = taken - within[0], names - before - within[1]
                path = folder / module.replace(".", "/")
                if any(path.with_suffix(end).exists() for end in (".py", ".mpy")):
                    found[module] = own - own_names
                    own = own_names
                found[""] = found.get("", 0) + own
                stack[-1][2][0] += taken
                stack[-1][2][1] += names - before
                ended = False
    return found


def _compiling(module: str) -> int:
    if not module:
        return 0
    source = support.ROOT / (module.replace(".", "/") + ".py")
    low, high = 2, 256  # KiB; an empty file needs less than 3
    while high - low > 1:
        middle = (low + high) // 2
        command = [
            support.micropython(),
            "-X",
            f"heapsize={middle}k",
            "-X",
            "compile-only",
            source,
        ]
        if subprocess.run(command, capture_output=True).returncode:
            low = middle
        else:
            high = middle
    return high * 1024


def main() -> None:
    table = Table(title="The agent's modules, bytes")
    for heading in ("module", ".mpy, ESP32", "heap from .py", "heap from .mpy", "compiling"):
        table.add_column(heading, justify="left" if heading == "module" else "right")
    rows = costs()
    for cost in sorted(rows, key=lambda c: -c.from_source):
        cells = [f"{n:,}" if n else "" for n in cost[1:]]
        table.add_row(cost.module or "(names, packages)", *cells)
    table.add_section()
    sums = [sum(row[i] for row in rows) for i in range(1, 4)]
    table.add_row("all", *(f"{n:,}" for n in sums), f"{max(r.compiling for r in rows):,} at once")
    Console(width=None if sys.stdout.isatty() else 100).print(table)


if __name__ == "__main__":
    main()
