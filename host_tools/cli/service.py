"""Show or install systemd units for broker, ingest, backup and checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.common.files import write_file
from host_tools.common.i18n import _

SYSTEM = Path("/etc/systemd/system")


@click.group()
def command() -> None:
    """Show or install systemd units for broker, ingest, backup and checks."""


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--keep",
            type=click.IntRange(1),
            default=30,
            show_default=True,
            metavar="N",
            help="How many nightly backups are kept.",
        ),
        click.option(
            "--backups",
            type=PATH,
            metavar="DIR",
            help="Where the nightly backup goes, best another disk. [default: no backup]",
        ),
        click.option(
            "--user", metavar="NAME", help="Who runs them. [default: the province's owner]"
        ),
    ):
        function = option(function)
    return function


@command.command()
@_options
@pass_app
def show(app: Application, user: str | None, backups: Path | None, keep: int) -> None:
    """Show the units."""
    from host_tools.office.service_units import default_settings, units

    settings = default_settings(app.province, user=user, backups=backups, keep=keep)
    for name, text in units(settings).items():
        click.echo(f"# ---- {name}\n{text}")


@command.command()
@_options
@click.option(
    "--directory",
    type=PATH,
    default=SYSTEM,
    show_default=True,
    metavar="DIR",
    help="Where systemd looks for units.",
)
@pass_app
def install(
    app: Application, user: str | None, backups: Path | None, keep: int, directory: Path
) -> None:
    """Write the units (as root), and say how to start them."""
    from host_tools.office.service_units import ServiceError, default_settings, units

    settings = default_settings(app.province, user=user, backups=backups, keep=keep)
    if not directory.is_dir():
        raise ServiceError(
            _("There is no directory {directory}; systemd does not run here.").format(
                directory=directory
            )
        )
    made = units(settings)
    for name, text in made.items():
        write_file(directory / name, text.encode())
        click.echo(_("Written: {directory}").format(directory=directory / name))
    # A service that a timer starts is not started by itself.
    start = [name for name in made if name.endswith(".timer") or f"{name[:-8]}.timer" not in made]
    if settings.user == "root":
        app.note(
            _(
                "The services will run as root, because the province belongs to root; better give "
                "the province to a user of its own with chown and install again."
            )
        )
    click.echo(
        _("Next: 'systemctl daemon-reload' and 'systemctl enable --now {names}'.").format(
            names=" ".join(start)
        )
    )
    if backups is None:
        app.note(_("There is no nightly backup: give --backups DIR, best on another disk."))
