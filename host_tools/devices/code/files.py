"""The files that become a device's code, and what is wrong with one of them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

from host_tools.common.errors import DesalinkError

ROOT = Path(__file__).resolve().parents[3]
IDS = ("agent/wire/ids.py", "agent/wire/ids_seldom.py")
# Only for CPython, or for an agent that runs from source.
NOT_RELEASED = frozenset(
    [
        "agent/device/cpython.py", "agent/device/expected.py", "agent/wire/cbor_general.py",
        "boards/_linux/cpython.py",
    ]
)  # fmt: skip

# Modules that become one (bundles.py).
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
        " net/tasks net/traffic net/udp net/dns net/sntp net/packet net/connection net/mqtt"
        " journal/segment journal/stream journal/journal link/linux link/probes link/broker"
        " link/names link/outages link/quality link/upstream link/ladder measure/report"
        " measure/sampler province/acks province/backoff province/birth province/certificate"
        " province/delivery province/session supervise"
    ).split()
)
BUNDLES = {"agent/base.py": BASE, CORE_PATH: CORE}
BUNDLE_OF = {path: bundle for bundle, paths in BUNDLES.items() for path in paths}


class DeviceCodeError(DesalinkError):
    """A file can't be made smaller: it uses a name in a form that can't be replaced."""


def constants(path: Path) -> dict[str, Any]:
    """Names and values of the constants at a file's top level."""
    found = {}
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                pass  # computed
    return found


@cache
def numbers(root: Path) -> dict[str, Any]:
    """The wire's numbers by their names."""
    return constants(root / IDS[0]) | constants(root / IDS[1])


def sources(root: Path) -> dict[str, ast.Module]:
    """Of each file that a device with MicroPython may get (its path from the root), the code."""
    return {
        name: ast.parse((root / name).read_bytes())
        for room in ("agent", "boards")
        for path in sorted((root / room).rglob("*.py"))
        # What is frozen into firmware keeps its names, and knows none of the agent's.
        if (name := path.relative_to(root).as_posix()) not in {*IDS, *NOT_RELEASED}
        and "/firmware/" not in name
    }


def module_path(module: str) -> str:
    """The path of a module's file from the root."""
    return module.replace(".", "/") + ".py"
