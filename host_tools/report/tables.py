"""The report's tables for spreadsheets: CSV, and one XLSX workbook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from host_tools.common.times import iso
from host_tools.contracts.words import figures_table
from host_tools.listings.files import as_csv
from host_tools.listings.model import Cell, Listing, positional_columns
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


def tables(report: MonthReport) -> Iterator[Listing]:
    """What the report has as tables, each with its rows still to be read."""
    yield figures_table(report.slots)
    yield Listing("outages", positional_columns(OUTAGE_COLUMNS), _outages(report))
    yield Listing("usage", positional_columns(USAGE_COLUMNS), _usage(report))


def write_csv(report: MonthReport, folder: Path) -> list[Path]:
    """Write figures.csv, outages.csv and usage.csv; returns their paths."""
    written = []
    for table in tables(report):
        path = folder / f"{table.name}.csv"
        path.write_bytes(as_csv(table))
        written.append(path)
    return written
