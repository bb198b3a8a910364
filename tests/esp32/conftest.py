"""The agent on MicroPython over the ESP32's sockets, made up in memory (lwip.py)."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import ROOT, mpy_cross, run_micropython

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What a function of device.py returns.

    The agent runs from .mpy files, as on the chip: into sources, the unix port compiles Linux's
    error numbers."""
    folder = tmp_path_factory.mktemp("mpy")
    for room in ("", "link", "net", "device", "province", "wire"):
        (folder / "agent" / room).mkdir(exist_ok=True)
        for source in (ROOT / "agent" / room).glob("*.py"):
            target = folder / source.relative_to(ROOT).with_suffix(".mpy")
            subprocess.run([mpy_cross(), "-o", target, source], check=True)

    def run(name: str, **args: object) -> Any:
        script = ROOT / "tests/esp32/device.py"
        done = run_micropython(script, folder, name, json.dumps(args), check=True, timeout=120)
        return json.loads(done.stdout)

    return run
