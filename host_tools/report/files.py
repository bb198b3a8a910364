"""Writes the report into a folder: HTML, PDF, CSV, XLSX, and a list of their digests."""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.contracts.months import SlotMonth
from host_tools.listings.files import write_workbook
from host_tools.report import pages
from host_tools.report.data import MonthReport
from host_tools.report.tables import tables, write_csv

# A document's time grows faster than its pages, and many small ones keep all cores busy.
_VILLAGES_PER_FILE = 40


class ReportError(DesalinkError):
    """A report that can't be written."""


def _chunks(report: MonthReport) -> Iterator[tuple[str, Sequence[SlotMonth]]]:
    """Name of the file and slots: by regency, not too many in a file, about as many in each."""
    for code, group in groupby(report.slots, key=lambda one: one.village.regency_code):
        slots = list(group)
        parts = -(-len(slots) // _VILLAGES_PER_FILE)
        for part in range(parts):
            name = f"villages-{code}" + (f"-{part + 1}" if parts > 1 else "")
            yield name, slots[part * len(slots) // parts : (part + 1) * len(slots) // parts]


def _make_pdf(html: str, path: str) -> str:
    """In a process of its own: the library keeps a core busy."""
    import gc
    import logging

    from weasyprint import HTML  # type: ignore[import-untyped]

    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    # Nothing becomes garbage before the document is written; looking for it takes a tenth.
    gc.disable()
    HTML(string=html, url_fetcher=_only_within).write_pdf(path, pdf_variant="pdf/ua-1")
    gc.enable()
    gc.collect()
    return path


def _only_within(url: str, *_arguments: object, **_named: object) -> object:
    """What an image's URL holds itself; the report loads nothing from elsewhere."""
    from weasyprint.urls import URLFetcherResponse  # type: ignore[import-untyped]

    head, _comma, content = url.partition(",")
    if head != "data:image/png;base64":
        raise ValueError(f"the report loads nothing from elsewhere: {url[:80]}")
    return URLFetcherResponse(url, b64decode(content), {"Content-Type": "image/png"})


def write(
    report: MonthReport,
    folder: Path,
    *,
    pdf: bool = True,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Path]:
    """Write a report.

    Args:
        folder: is made; files of an earlier report in it are replaced.
        progress: called with how many files are written, of how many.

    Returns:
        The files, SHA256SUMS last.

    Raises:
        ReportError: there is nothing to report on.
        OSError: the folder can't be written.
    """
    if not report.slots:
        raise ReportError(
            _(
                "No slot has a contract or a device that {name} could be about; see 'desalink "
                "contracts list'."
            ).format(name=report.month.name)
        )
    folder.mkdir(parents=True, exist_ok=True)
    named: list[tuple[str, Callable[[], str]]] = [
        ("summary", lambda: pages.summary(report)),
        ("strips", lambda: pages.strips(report)),
        ("quality", lambda: pages.quality(report)),
    ]
    for name, slots in _chunks(report):
        named.append((name, lambda slots=slots: pages.villages(report, slots)))  # type: ignore[misc]
    written: list[Path] = []
    total, done = len(named) * (2 if pdf else 1), 0
    workers = min(os.cpu_count() or 1, len(named))
    # "spawn": the parent has an open database.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = []
        for name, render in named:
            html = render()
            path = folder / f"{name}.html"
            path.write_text(html, encoding="utf-8")
            written.append(path)
            done += 1
            progress(done, total)
            if pdf:
                target = str(folder / f"{name}.pdf")
                waiting.append(pool.submit(_make_pdf, html, target))
        # While the others are at work.
        written += write_csv(report, folder)
        workbook = folder / "report.xlsx"
        write_workbook(tables(report), workbook)
        written.append(workbook)
        for future in waiting:
            written.append(Path(future.result()))
            done += 1
            progress(done, total)
    sums = folder / "SHA256SUMS"
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in written]
    sums.write_text("\n".join(sorted(lines, key=lambda line: line[66:])) + "\n")
    return [*written, sums]
