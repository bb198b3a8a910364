"""`device check`: what a real board is like, for the first person who has one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.cli._options import json_option
from host_tools.cli._output import print_json
from host_tools.common.i18n import _


@click.command()
@click.argument("port", metavar="PORT")
@click.option(
    "--out",
    type=PATH,
    metavar="DIR",
    default=Path(),
    help="Where the report is written. [default: here]",
)
@json_option
@pass_app
def check(app: Application, port: str, out: Path, as_json: bool) -> None:
    """Measure a real board, and write a report.

    Measures memory, clock, flash, radio, sockets and network. The agent on the board is
    interrupted, and starts again at the end. The report holds no secret: send both files to the
    developers. Exit code 0 if all is as the agent expects.
    """
    from host_tools.field.device_check import check_board, figures, write_report
    from host_tools.field.provision.ports import one_port

    if not out.is_dir():  # before minutes of measuring
        app.abort(
            _("There is no folder {out}; make it, or choose another with --out.").format(out=out)
        )
    parts = check_board(
        one_port(port), lambda part: app.note(_("Checking: {part}").format(part=part))
    )
    found = figures(parts)
    paths = write_report(out, parts, found)
    wrong = sum(not figure.ok for figure in found)
    if as_json:
        print_json({"ok": not wrong, "figures": [asdict(figure) for figure in found]})
    else:
        for figure in found:
            mark = "✓" if figure.ok else "✗"
            click.echo(f"{mark} {figure.name}: {figure.value} ({figure.expected})")
    app.note(_("The report is written: {files}.").format(files=", ".join(map(str, paths))))
    if wrong:
        app.abort(
            _("{wrong} of {count} results differ from what the agent expects.").format(
                wrong=wrong, count=len(found)
            )
        )
