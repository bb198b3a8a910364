"""Check whether this laptop can set up devices, and show how to correct problems."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from host_tools.cli import PATH, Application
from host_tools.cli._options import json_option
from host_tools.cli._output import print_json
from host_tools.common.i18n import _, ngettext, number

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


@click.command()
@click.option(
    "--kit",
    type=PATH,
    metavar="PATH",
    help="The opened kit, or a kit's file (else DESALINK_KIT, else the usual place).",
)
@click.option(
    "--kit-passphrase-file",
    "passphrase_file",
    type=PATH,
    metavar="FILE",
    help="Open the kit too, with the passphrase in the first line of FILE.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context, kit: Path | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Check whether this laptop can set up devices, and show how to correct problems.

    Changes nothing and touches no device. Exit code 0 if there is no problem.
    """
    from host_tools.field.doctor import Machine, examine
    from host_tools.people.kits import passphrase

    findings = examine(Machine(), kit, passphrase.given(passphrase_file))
    problems = sum(finding.level == "problem" for finding in findings)
    if as_json:
        print_json({"ok": not problems, "findings": [asdict(finding) for finding in findings]})
        ctx.exit(1 if problems else 0)
    for finding in findings:
        mark, colour = _MARKS[finding.level]
        click.echo(f"{click.style(mark, fg=colour)} {finding.text}")
        if finding.fix is not None:
            click.echo(f"    → {finding.fix}")
    if problems:
        app = ctx.find_object(Application)
        assert app is not None
        app.abort(
            ngettext(
                "There is {count} problem; correct it, then run 'desalink doctor' again.",
                "There are {count} problems; correct them, then run 'desalink doctor' again.",
                problems,
            ).format(count=number(problems))
        )
    click.echo(_("This laptop can set up devices."))
