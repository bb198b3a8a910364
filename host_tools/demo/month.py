"""The month's report of a demo: its few minutes, by contracts as villages have them, verified."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from host_tools.common.i18n import _
from host_tools.contracts.calendar import Month, month_at
from host_tools.contracts.changes import add_all
from host_tools.contracts.rules import EXCLUDABLE
from host_tools.contracts.table import OPEN_END
from host_tools.contracts.words import percent
from host_tools.demo.children import DemoError
from host_tools.demo.sites import Site
from host_tools.evidence.documents import read_roots
from host_tools.evidence.export import Exporter
from host_tools.evidence.verify import Checked, verify
from host_tools.ingest.receipting import receipt_now
from host_tools.province.contract_records import Contract
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.report.data import EvidenceFile, MonthReport, gather
from host_tools.report.files import write
from host_tools.store import open_database

_PRICE = 1_150_000  # rupiah a month
_TARGET_PPM = 980_000
# Shares no code with Desalink; an installed Desalink comes without it.
_INDEPENDENT = Path(__file__).resolve().parents[2] / "docs" / "verify_evidence.py"


def write_report(
    province: Province, registry: Registry, sites: Sequence[Site], folder: Path
) -> str:
    """Give the villages contracts, export the evidence of this month, check it, and write the
    report.

    Args:
        registry: signs what is changed.

    Returns:
        Sentences about it.

    Raises:
        DesalinkError: the evidence does not prove the figures.
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
    receipt_now(province)
    folder.mkdir(exist_ok=True)
    path = folder / f"{month.name}.evidence"
    checked = _export(province, registry, month, path)
    with open_database(province.database, readonly=True) as database:
        report = gather(
            *(province.name, registry, database, month),
            evidence=EvidenceFile(path.name, checked.digest),
        )
    files = write(report, folder, pdf=_can_write_pdf())
    for line in files[-1].read_text().splitlines():
        digest, name = line.split("  ", 1)
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise DemoError(
                _("{file} is not what {list} says; run the demo again.").format(
                    file=folder / name, list=files[-1]
                )
            )
    return f"{_sentence(report, len(files))}\n{_verified(path, checked)}"


def _export(province: Province, registry: Registry, month: Month, path: Path) -> Checked:
    """Write the evidence, and check it as an auditor does."""
    roots = read_roots(province.root_public)
    with open_database(province.database, readonly=True) as database:
        done = Exporter(registry, database, province.name, roots).export(
            path, month, {}, now=int(time.time())
        )
    checked = verify(path, roots, [done.head])
    if _INDEPENDENT.exists():
        command = [sys.executable, str(_INDEPENDENT), str(path), "--root"]
        other = subprocess.run(
            [*command, str(province.root_public), "--head", done.head],
            capture_output=True,
            text=True,
            check=False,
        )
        if other.returncode:
            raise DemoError(
                _("{program} does not agree with 'desalink evidence verify': {text}").format(
                    program=_INDEPENDENT.name, text=(other.stdout + other.stderr)[-300:]
                )
            )
    return checked


def _verified(path: Path, checked: Checked) -> str:
    programs = "'desalink evidence verify'"
    if _INDEPENDENT.exists():
        programs += f", {_INDEPENDENT.name}"
    return _(
        "Every figure of it follows from the {reports} signed reports in {file} (SHA-256 "
        "{digest}). Checked with {programs}."
    ).format(file=path.name, digest=checked.digest, reports=checked.reports, programs=programs)


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
