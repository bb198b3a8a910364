"""Enrol a device on this machine for a village."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._options import by_option, slot_number_option
from host_tools.cli._signing import open_authority
from host_tools.common import passphrase
from host_tools.common.i18n import _


@click.command()
@click.option(
    "--village", "code", required=True, metavar="CODE", help="Village code, e.g. 6403112001."
)
@slot_number_option
@click.option(
    "--device-dir",
    "directory",
    required=True,
    type=PATH,
    metavar="PATH",
    help="The device's own directory: key, certificate, configuration, journal.",
)
@click.option(
    "--interpreter",
    default="cpython",
    show_default=True,
    metavar="cpython|micropython|PATH",
    help="What runs the agent.",
)
@click.option(
    "--port", metavar="MODULE", help="The agent's board module. [default: the interpreter's]"
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of config.json; repeatable.",
)
@click.option(
    "--replace", is_flag=True, help="It takes the place of the device that fills the slot."
)
@by_option
@click.option("--agent-command", hidden=True, help="Run this instead of '<interpreter> -m agent'.")
@passphrase_option
@pass_app
def command(
    app: Application,
    code: str,
    number: int,
    directory: Path,
    interpreter: str,
    port: str | None,
    settings: tuple[str, ...],
    replace: bool,
    by: str,
    agent_command: str | None,
    passphrase_file: Path | None,
) -> None:
    """Enrol a device that runs on this machine (Raspberry Pi, Linux router, a test).

    The device makes its own key and proves that it holds it; the private key stays in its
    directory. May be interrupted and run again: what is done already is kept.
    """
    from host_tools.devices.config import parse_setting
    from host_tools.devices.proof import ROOT
    from host_tools.office.enrol import enrol_here
    from host_tools.province.villages import find_village

    province = app.province

    with app.registry() as registry:
        village = find_village(registry, code)
        done = enrol_here(
            province,
            registry,
            village,
            number,
            directory,
            open_authority=lambda: open_authority(
                app, passphrase.existing(passphrase_file), registry
            ),
            by=by,
            interpreter=interpreter,
            port=port,
            settings=dict(map(parse_setting, settings)),
            replace=replace,
            agent=shlex.split(agent_command) if agent_command else None,
        )
    what = {
        "enrolled": _("is enrolled for"),
        "replaced": _("has taken over"),
        "already": _("is already enrolled for"),
    }[done.outcome]
    device = done.device
    click.echo(
        _(
            "Device {kid} ({board}, agent {firmware}) {what} slot {slot}, {name} in {district}."
        ).format(
            kid=device.kid.hex(),
            board=device.board,
            firmware=device.firmware,
            what=what,
            slot=device.slot,
            name=village.name,
            district=village.district,
        )
    )
    for warning in done.warnings:
        app.note(warning)
    click.echo(
        _("Start it in {root} with: {names}").format(root=ROOT, names=shlex.join(done.command))
    )
