"""Write a month's report: pages, PDF, and tables for spreadsheets."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.cli._options import (
    Where,
    contract_option,
    json_option,
    month_option,
    where_options,
)
from host_tools.cli._output import counted, print_json, show_progress
from host_tools.cli._store import by_contract, note_underived, reading
from host_tools.common.i18n import _


@click.command()
@month_option
@click.option(
    "-o", "--output", type=PATH, required=True, metavar="DIR", help="The folder to write."
)
@where_options(contract_option)
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The evidence file that each page names, with its SHA-256.",
)
@click.option(
    "--speed",
    is_flag=True,
    help="With the samples of speed; reads every report, about a second a village.",
)
@click.option("--no-pdf", is_flag=True, help="HTML and tables only.")
@json_option
@pass_app
def command(
    app: Application,
    month: str,
    output: Path,
    where: Where,
    evidence: Path | None,
    speed: bool,
    no_pdf: bool,
    as_json: bool,
) -> None:
    """Write a month's report: pages, PDF, and tables for spreadsheets.

    DIR gets summary, strips (the month of every village), quality (of the data), a page for each
    village, figures.csv, outages.csv, usage.csv, report.xlsx, and SHA256SUMS. It is in the
    language of --lang.
    """
    from host_tools.contracts.calendar import month_of
    from host_tools.report.data import EvidenceFile, gather
    from host_tools.report.files import write

    when = month_of(month)
    with reading(app) as (registry, database):
        report = gather(
            app.province.name,
            registry,
            database,
            when,
            wanted=by_contract(registry, where),
            evidence=None if evidence is None else EvidenceFile(evidence.name, _digest(evidence)),
            speeds=speed,
            progress=lambda done: show_progress(_("{done} slots are counted").format(done=done)),
        )
        note_underived(app, database, when.end)
        files = write(
            report,
            output,
            pdf=not no_pdf,
            progress=lambda done, of: show_progress(
                _("{done} of {of} pages are written").format(done=done, of=of)
            ),
        )
    show_progress("")
    if as_json:
        print_json(
            {
                "month": when.name,
                "directory": str(output),
                "files": [str(file) for file in files],
                "slots": [slot.slot for slot in report.slots],
            }
        )
        return
    click.echo(
        _("{files} about {slots}: {output}").format(
            files=counted(len(files), "file"),
            slots=counted(len(report.slots), "slot"),
            output=output,
        )
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
