"""The stick of a technician: how large it is, and how long a laptop takes to be ready.

Fetching needs the index that pip is set up with.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

from host_tools.field.stick.create import PYTHONS, create_stick
from host_tools.field.stick.platforms import PLATFORMS
from tests.bench.namespaces import enter
from tests.host_tools.field.menu.session import RealSession

_OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


def measure(quick: bool) -> dict[str, float]:
    """`stick_bytes`: for Windows and Linux with every Python, `quick` for Linux and one Python;
    `stick_ready_s`: from the first start to the menu; `stick_start_s`: every later start."""
    platforms = ("linux-x64",) if quick else ("windows-x64", "linux-x64")
    with tempfile.TemporaryDirectory() as name:
        stick, home = Path(name, "stick"), Path(name, "home")
        create_stick(stick, [PLATFORMS[p] for p in platforms], (_OWN,) if quick else PYTHONS)
        home.mkdir()
        return {
            "stick_bytes": sum(p.stat().st_size for p in stick.rglob("*") if p.is_file()),
            "stick_ready_s": _start(stick, home),
            "stick_start_s": _start(stick, home),
        }


def _start(stick: Path, home: Path) -> float:
    """Seconds from `mulai.sh` to the menu, without network where this machine allows it."""
    command = [*enter(), "sh", str(stick / "mulai.sh")]
    path = f"{Path(sys.executable).parent}:{os.defpath}"
    began = time.monotonic()
    session = RealSession(command, {"HOME": str(home), "PATH": path, "LANG": "C"}, home)
    with contextlib.closing(session):
        session.expect("Open the kit", 300)
    return time.monotonic() - began


if __name__ == "__main__":
    for key, value in measure("--quick" in sys.argv).items():
        print(f"{key:28} {value:12,.1f}")
