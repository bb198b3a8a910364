"""What a report takes in the archive of a closed month, and what archiving and reading cost.

    python -m tests.bench.archive [--villages 40] [--days 4]

The reports are those of a simulated province, so that their bytes are as varied as real ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from host_tools.derive import rebuild
from host_tools.simulate.province import places
from host_tools.simulate.run import run as simulate
from host_tools.simulate.storing import TrustedStore, derive_rest
from host_tools.simulate.world import SimulationSettings
from host_tools.store import open_database
from host_tools.store.archiving import Archiver

_BEGIN = 1_767_196_800  # 2026-01-01 00:00 WITA


def run(villages: int = 40, days: int = 4) -> dict[str, Any]:
    """Measure; times are processor time of this process.

    Returns:
        `archive_bytes_per_report`, `archive_of_raw` (the same by the bytes of the messages),
        `archive_reports_per_s` (moved to the archive), `rebuild_hot_per_s` and
        `rebuild_archive_per_s` (derived again from the database and from the archive).
    """
    settings = SimulationSettings(villages, days, 1, _BEGIN, 300)
    with tempfile.TemporaryDirectory(prefix="desalink-bench-") as folder:
        path = Path(folder) / "province.db"
        store = TrustedStore(path)
        simulate(settings, places(villages), store)
        store.close()
        with open_database(path) as db:
            derive_rest(db)
            raw = int(db.value("SELECT sum(length(message)) FROM reports"))
            reports = int(db.value("SELECT count(*) FROM reports"))
            hot_s = _seconds(lambda: rebuild(db))
            archiver = Archiver(db, lambda _: None)
            archive_s = _seconds(lambda: archiver.archive_older(0, _BEGIN + 60 * 86_400))
            size = sum(listed.size for listed in archiver.chain)
            archived_s = _seconds(lambda: rebuild(db))
    return {
        "archive_bytes_per_report": size / reports,
        "archive_of_raw": size / raw,
        "archive_reports_per_s": reports / archive_s,
        "rebuild_hot_per_s": reports / hot_s,
        "rebuild_archive_per_s": reports / archived_s,
        "archive_reports": reports,
    }


def _seconds(act: Any) -> float:
    start = time.process_time()
    act()
    return time.process_time() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Archives of a simulated province.")
    parser.add_argument("--villages", type=int, default=40)
    parser.add_argument("--days", type=int, default=4)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.villages, arguments.days), indent=2))
