"""The month's report of a demo: its few minutes, by contracts as villages have them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from host_tools.common.i18n import _
from host_tools.contracts.calendar import month_at
from host_tools.contracts.changes import add_all
from host_tools.contracts.rules import EXCLUDABLE
from host_tools.contracts.table import OPEN_END
from host_tools.contracts.words import percent
from host_tools.demo.children import DemoError
from host_tools.demo.sites import Site
from host_tools.province.contract_records import Contract
from host_tools.province.registry import Registry
from host_tools.report.data import MonthReport, gather
from host_tools.report.files import write
from host_tools.store import Database

_PRICE = 1_150_000  # rupiah a month
_TARGET_PPM = 980_000


def write_report(
    name: str, registry: Registry, database: Database, sites: Sequence[Site], folder: Path
) -> str:
    """Give the villages contracts, and write the report of this month.

    Args:
        registry: signs what is changed.

    Returns:
        A sentence about it.

    Raises:
        DemoError: a file is not what the list of digests says.
    """
    now = int(time.time())
    month = month_at(now)
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
    report = gather(name, registry, database, month)
    files = write(report, folder, pdf=_can_write_pdf())
    for line in files[-1].read_text().splitlines():
        digest, name = line.split("  ", 1)
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise DemoError(
                _("{file} is not what {list} says; run the demo again.").format(
                    file=folder / name, list=files[-1]
                )
            )
    return _sentence(report, len(files))


def _sentence(report: MonthReport, files: int) -> str:
    total = report.total
    measured_s = sum(total.seconds.values()) - total.seconds["unknown"]
    return _(
        "The report of {month}: {files} files about {villages} villages. {minutes} minutes were "
        "measured, available {availability}. SHA-256 of the figures: {digest}"
    ).format(
        month=report.month.name,
        files=files,
        villages=len(report.slots),
        minutes=measured_s // 60,
        availability=percent(total.availability, 2),
        digest=report.digest,
    )


def _can_write_pdf() -> bool:
    try:
        import weasyprint  # type: ignore[import-untyped]  # noqa: F401
    except (ImportError, OSError):
        return False  # Pango is missing: pages and tables are enough here
    return True
