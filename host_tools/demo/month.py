"""The month's report of a demo: its few minutes, by contracts as villages have them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from host_tools.contracts.calendar import month_at
from host_tools.contracts.changes import add_all
from host_tools.contracts.rules import EXCLUDABLE
from host_tools.contracts.table import OPEN_END
from host_tools.contracts.words import percent
from host_tools.demo.children import DemoError
from host_tools.demo.sites import Site
from host_tools.province.contract_records import Contract
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.report.data import MonthReport, gather
from host_tools.report.files import write
from host_tools.store import Database

_PRICE = 1_150_000  # rupiah a month
_TARGET_PPM = 980_000


def write_report(
    province: Province, database: Database, sites: Sequence[Site], folder: Path
) -> str:
    """Give the villages contracts, and write the report of this month.

    Returns:
        A sentence about it.

    Raises:
        DemoError: a file is not what the list of digests says.
    """
    now = int(time.time())
    month = month_at(now)
    with Registry.open(province.directory) as registry:
        contracts = [
            Contract(
                site.slot,
                site.provider,
                f"Desa {site.mbps}",
                "",
                site.mbps,
                _PRICE,
                _TARGET_PPM,
                tuple(sorted(EXCLUDABLE)),
                None,
                month.begin,
                OPEN_END,
            )
            for site in sites
        ]
        add_all(registry, contracts, by="demo", now=now)
        report = gather(province.name, registry, database, month)
    files = write(report, folder, pdf=_can_write_pdf())
    for line in files[-1].read_text().splitlines():
        digest, _, name = line.partition("  ")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise DemoError(f"{folder / name} is not what {files[-1]} says; run the demo again.")
    return _sentence(report, len(files))


def _sentence(report: MonthReport, files: int) -> str:
    total = report.total
    measured_s = sum(total.seconds.values()) - total.seconds["unknown"]
    return (
        f"The report of {report.month.name}: {files} files about {len(report.slots)} villages; "
        f"{measured_s // 60} minutes were measured, available {percent(total.availability, 2)}, "
        f"by rules {report.rules.version}. SHA-256 of the figures: {report.digest[:16]}..."
    )


def _can_write_pdf() -> bool:
    try:
        import weasyprint  # type: ignore[import-untyped]  # noqa: F401
    except (ImportError, OSError):
        return False  # Pango is missing: pages and tables are enough here
    return True
