"""Make a new province: keys, CA, villages, broker."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._output import counted
from host_tools.common import passphrase
from host_tools.common.i18n import _


@click.command()
@click.argument("directory", type=PATH, metavar="DIR")
@click.option(
    "--province", "code", required=True, metavar="CODE", help="Kemendagri code, e.g. 64."
)
@click.option("--name", metavar="TEXT", help="A name of your own for the province.")
@click.option(
    "--broker-host",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="Name or address under which devices reach the broker; may be repeated, the first is "
    "what devices connect to. [default: localhost]",
)
@click.option(
    "--broker-port",
    "port",
    type=int,
    default=8883,
    show_default=True,
    help="TCP port of the broker.",
)
@click.option(
    "--bind", default="", metavar="ADDRESS", help="Address the broker listens on. [default: all]"
)
@passphrase_option
@pass_app
def command(
    app: Application,
    directory: Path,
    code: str,
    name: str | None,
    hosts: tuple[str, ...],
    port: int,
    bind: str,
    passphrase_file: Path | None,
) -> None:
    """Make a new province in DIR: root key, CA, villages, broker configuration.

    The root key and the CA's key are kept under a passphrase. Nobody can replace it: write it down
    and lock it away.
    """
    from host_tools.office.founding import check_name, found_province, refuse_existing
    from host_tools.province.villages import province_name

    # Before anybody thinks up a passphrase.
    province_name(code)
    if name is not None:
        check_name(name)
    refuse_existing(directory)
    province, villages = found_province(
        directory,
        code,
        passphrase.new(passphrase_file),
        name=name,
        hosts=hosts or ("localhost",),
        port=port,
        bind=bind,
        tell=app.note,
    )
    many = counted(villages, "village")
    click.echo(
        _("Province {code} {name} with {many} is in {directory}.").format(
            code=province.code, name=province.name, many=many, directory=directory
        )
    )
    if not hosts:
        app.note(
            _(
                "The broker is known as 'localhost', which only this machine can reach; for "
                "devices elsewhere set hosts in {directory}, then run 'desalink broker config'."
            ).format(directory=directory / "province.toml")
        )
    place = quote(str(directory))
    click.echo(
        _(
            "Next: 'desalink -C {place} broker run', and in another terminal 'desalink -C {place} "
            "broker check'."
        ).format(place=place)
    )
