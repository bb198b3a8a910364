"""The report's tables for spreadsheets: CSV, and one XLSX workbook."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from host_tools.common.times import iso
from host_tools.contracts.words import COLUMNS, row
from host_tools.report.data import MonthReport

OUTAGE_COLUMNS = (
    "slot",
    "village",
    "provider",
    "begin",
    "end",
    "length_s",
    "charged_s",
    "causes",
    "reports",
)
USAGE_COLUMNS = (
    "slot,village,measured_s,bytes_down,bytes_up,clients_peak,clients_day,measured_days,"
    "unused_days,busiest_hour,speed_samples,speed_median_kbits"
).split(",")

Cell = str | int | float | None


def _outages(report: MonthReport) -> Iterator[Sequence[Cell]]:
    for one in report.slots:
        for piece in one.pieces:
            provider = "" if piece.contract is None else piece.contract.provider
            for outage in piece.charged:
                yield (
                    one.slot,
                    one.village.name,
                    provider,
                    iso(outage.begin),
                    iso(outage.end),
                    outage.end - outage.begin,
                    outage.seconds,
                    " ".join(f"{cause}={length}" for cause, length in outage.causes.items()),
                    " ".join(f"{r.stream}:{r.seq}" for r in report.reports_of(one, outage)),
                )


def _usage(report: MonthReport) -> Iterator[Sequence[Cell]]:
    for one in report.slots:
        usage = one.usage
        speeds = (report.speeds or {}).get(one.slot, [])
        yield (
            one.slot,
            one.village.name,
            usage.measured_s,
            usage.bytes_down,
            usage.bytes_up,
            usage.clients_peak,
            usage.clients_day,
            usage.measured_days,
            usage.unused_days,
            usage.by_hour.index(max(usage.by_hour)) if any(usage.by_hour) else None,
            None if report.speeds is None else len(speeds),
            int(median(speeds)) if speeds else None,
        )


def _tables(report: MonthReport) -> Iterator[tuple[str, Sequence[str], Iterator[Sequence[Cell]]]]:
    figures = (row(one, piece) for one in report.slots for piece in one.pieces)
    yield "figures", COLUMNS, figures
    yield "outages", OUTAGE_COLUMNS, _outages(report)
    yield "usage", USAGE_COLUMNS, _usage(report)


# What a workbook can't hold: the characters that XML 1.0 has no place for.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def safe(cell: Cell) -> Cell:
    """A text that a spreadsheet can hold, and does not take for a formula: names come from
    outside."""
    if not isinstance(cell, str):
        return cell
    cell = _NOT_IN_XML.sub("\ufffd", cell)
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def write_csv(report: MonthReport, folder: Path) -> list[Path]:
    """Write figures.csv, outages.csv and usage.csv; returns their paths."""
    written = []
    for name, columns, rows in _tables(report):
        path = folder / f"{name}.csv"
        # With a byte order mark: without it spreadsheets on Windows take it for another encoding.
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([safe(cell) for cell in cells] for cells in rows)
        written.append(path)
    return written


def write_workbook(report: MonthReport, path: Path) -> None:
    """Write the same tables as one workbook."""
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    for name, columns, rows in _tables(report):
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "B2"
        sheet.append(list(columns))
        for cells in rows:
            sheet.append([safe(cell) for cell in cells])
    book.save(path)
