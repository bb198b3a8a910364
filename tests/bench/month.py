"""A month's report of 841 villages, from the derived rows to the last PDF page.

    python -m tests.bench.month [--villages 841]

The derived rows are made up: an outage or two a day, usage in each hour. What follows is what
`desalink report` does.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from host_tools.contracts.calendar import month_of
from host_tools.contracts.changes import add_all
from host_tools.contracts.table import OPEN_END
from host_tools.office.founding import found_province
from host_tools.people.office_pen import open_office
from host_tools.province.contract_records import Contract
from host_tools.province.registry import Registry
from host_tools.report.data import gather
from host_tools.report.files import write
from host_tools.store import Database, open_database

_MONTH = month_of("2026-10")
_HOUR_S = 3600
_PROVIDERS = ("IndiHome", "Telkom WMS", "Orbit 4G", "Comtelindo", "Icon+", "Bestcamp Starlink")
_EXCLUDED = ("agent", "force_majeure", "maintenance", "power", "site")


def _fill(db: Database, slots: list[str], rng: random.Random) -> None:
    for number, slot in enumerate(slots, 1):
        db.execute("INSERT INTO slots VALUES (?, ?, ?)", (number, slot, slot[:10]))
        intervals, at = [], _MONTH.begin
        while at < _MONTH.end:
            begin = at + rng.randrange(2 * _HOUR_S, 40 * _HOUR_S)
            end = begin + rng.choice((60, 200, 900, 5 * _HOUR_S))
            cause = rng.choice(("provider", "provider", "dns", "power", "gateway", "no_data"))
            intervals += [(number, at, begin, "up"), (number, begin, end, cause)]
            at = end
        db.executemany("INSERT INTO intervals VALUES (?, ?, ?, ?)", intervals)
        db.executemany(
            "INSERT INTO usage_hours (slot_id, hour, measured_s, bytes_down, bytes_up, "
            "clients_peak, clients_day) VALUES (?, ?, 3600, ?, ?, ?, 40)",
            [
                (number, hour, rng.randrange(10**9), rng.randrange(10**8), rng.randrange(30))
                for hour in range(_MONTH.begin, _MONTH.end, _HOUR_S)
            ],
        )


def run(villages: int = 841) -> dict[str, Any]:
    """Measure.

    Returns:
        month_villages; month_count_s: seconds until every second of the month is counted;
        month_report_s: of all, with pages and tables; month_report_mb: the most memory of the
        largest process, in megabytes.
    """
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        province, _ = found_province(
            folder / "province", "64", "only for measuring", bind="127.0.0.1"
        )
        with (
            Registry.open(province.directory) as registry,
            open_database(province.database, create=True) as db,
        ):
            slots = [f"{village.code}-1" for village in registry.villages()[:villages]]
            with db.transaction():
                _fill(db, slots, rng)
            contracts = [
                Contract(
                    slot,
                    _PROVIDERS[number % len(_PROVIDERS)],
                    "Desa 50",
                    "",
                    50,
                    1_150_000,
                    980_000,
                    _EXCLUDED,
                    None,
                    _MONTH.begin,
                    OPEN_END,
                )
                for number, slot in enumerate(slots)
            ]
            open_office(province, registry, "only for measuring")
            add_all(registry, contracts, by="bench", now=_MONTH.end)
            began = time.monotonic()
            report = gather("bench", registry, db, _MONTH)
            counted = time.monotonic()
            write(report, folder / "report")
            ended = time.monotonic()
    most = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "month_villages": len(slots),
        "month_count_s": round(counted - began, 1),
        "month_report_s": round(ended - began, 1),
        "month_report_mb": round(most / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--villages", type=int, default=841)
    options = parser.parse_args()
    print(json.dumps(run(options.villages), indent=2))


if __name__ == "__main__":
    main()
