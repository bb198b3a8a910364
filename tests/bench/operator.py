"""What an operator waits for with 841 villages: each verb as a process, from its start to its end.

    python -m tests.bench.operator [--days 365]

Times are processor time of the whole process, so that other programs do not count. Python keeps
the compiled modules, as it does wherever desalink is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from host_tools.keys import private_keys
from host_tools.office.founding import found_province
from host_tools.people.office_pen import open_office
from host_tools.province.registry import Registry
from host_tools.store import open_database
from host_tools.store.sessions import save_alive
from tests import support
from tests.bench.queries import fill

_START = "from host_tools.cli import main; main()"
VERBS = {
    "status": ("status",),
    "check": ("status", "--check"),
    "outages": ("outages",),
    "outages_week_by_village": ("outages", "--since", "7d", "--by", "village"),
    "usage": ("usage",),
    "usage_month_by_regency": ("usage", "--since", "31d", "--by", "regency"),
    "quarantine": ("quarantine", "list"),
    "devices": ("devices", "list"),
}


def _make(directory: Path, days: int) -> None:
    private_keys.ROUNDS = 1  # nobody waits for the passphrase here
    province, _ = found_province(directory, "64", "only for the bench")
    now = int(time.time())
    with Registry.open(directory) as registry, registry.transaction():
        open_office(province, registry, "only for the bench")
        codes = [village.code for village in registry.villages()]
        for number, code in enumerate(codes):
            key = number.to_bytes(32, "big")
            registry.enrol(f"{code}-1", key, board="b", firmware="1", by="bench")
    with open_database(directory / "province.db", create=True) as db:
        fill(db, codes, days, end=now // 3600 * 3600)
        with db.transaction():
            db.execute("UPDATE latest SET received_at = ?, t_end = ?", (now, now))
            save_alive(db, now, connected=True)


def _ms(directory: Path, verb: tuple[str, ...]) -> tuple[float, int]:
    """The middle of five times, and how many lines it writes. The first does not count."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(directory.parent / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times, lines = [], 0
    for _ in range(6):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", _START, "-C", str(directory), *verb],
            cwd=support.ROOT,
            env=environment,
            capture_output=True,
            check=False,
        )
        after = os.times()
        if done.returncode not in (0, 1, 2):
            raise RuntimeError(done.stderr.decode())
        lines = done.stdout.count(b"\n")
        spent = after.children_user + after.children_system
        times.append((spent - before.children_user - before.children_system) * 1000)
    return sorted(times[1:])[2], lines


def run(days: int = 365) -> dict[str, Any]:
    """Measure: `operator_<verb>_ms`, and the lines of each (`operator_<verb>_lines`)."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="desalink-bench-") as folder:
        directory = Path(folder) / "kaltim"
        _make(directory, days)
        for name, verb in VERBS.items():
            found[f"operator_{name}_ms"], found[f"operator_{name}_lines"] = _ms(directory, verb)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An operator's verbs with 841 villages.")
    parser.add_argument("--days", type=int, default=365)
    print(json.dumps(run(parser.parse_args().days), indent=2))
