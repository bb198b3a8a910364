"""Watch four villages report: a throw-away province with faults of its own making."""

from __future__ import annotations

from pathlib import Path

import click

from host_tools.cli import PATH
from host_tools.common.i18n import _, number


@click.command()
@click.option(
    "--minutes",
    type=click.FloatRange(1, 1440),
    default=3,
    show_default=True,
    metavar="N",
    help="How long the villages are watched, 1 or more.",
)
@click.option(
    "--keep",
    type=PATH,
    metavar="DIR",
    help="Make everything in DIR, a new directory, and keep it.",
)
@click.option("--no-faults", is_flag=True, help="Disturb nothing.")
@click.option(
    "--summary",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    metavar="FILE",
    help="Write what happened as JSON.",
)
@click.option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False, readable=False), hidden=True
)
def command(
    minutes: float, keep: Path | None, no_faults: bool, summary: Path | None, svg: Path | None
) -> None:
    """Watch four villages of Maratua report to a province on this machine.

    Three agents run on real MicroPython and one on CPython, over a real broker with TLS, into a
    real database. One village's upstream is cut for a while, one agent is killed and started
    again, and so is the broker; at the end the devices' own journals are compared with what the
    province has stored, the month's report is written, and its evidence is checked. Exit code 1 if
    anything is missing. Ctrl-C ends it; nothing stays.
    """
    from host_tools.demo.children import DemoError
    from host_tools.demo.result import DemoResult
    from host_tools.demo.run import Demo

    for file in (summary, svg):
        if file is not None and not file.absolute().parent.is_dir():
            raise DemoError(
                _("{file} can't be written: its directory does not exist; make it first.").format(
                    file=file
                )
            )
    with Demo(60 * minutes, keep, not no_faults) as demo:
        demo.screen.print(
            _(
                "Four agents on this machine report to a small province, also here, for {minutes} "
                "min. To watch, open the address of the wall in a browser. Ctrl-C ends the demo."
            ).format(minutes=number(minutes))
        )
        demo.set_up()
        demo.watch(svg)
        demo.wind_down()
        result = DemoResult(demo)
        demo.screen.print("", result.table(), "")
        if summary is not None:
            result.save(summary)
        demo.screen.print(demo.write_report())
        kept = _("Nothing of this stays. 'desalink demo --keep DIR' keeps province, report, logs.")
        if keep is not None:
            kept = _(
                "The province is in {folder}, for every other verb; the report is in {report}."
            ).format(folder=demo.folder / "province", report=demo.folder / "report")
        demo.screen.print(kept)
        if result.problems:
            raise DemoError(" ".join(result.problems))
        demo.screen.print(_("Nothing was lost: every report in the devices' journals is stored."))
