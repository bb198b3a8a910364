"""Put a backup of a province back, without undoing any revocation."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.cli._output import counted
from host_tools.common.i18n import _
from host_tools.common.times import wita


@click.command()
@click.argument("backup", type=PATH, metavar="FILE")
@click.argument("directory", type=PATH, metavar="DIR")
@click.option(
    "--replace",
    is_flag=True,
    help="DIR is this province already: put the backup in its place, and keep the present one "
    "under another name.",
)
@pass_app
def command(app: Application, backup: Path, directory: Path, replace: bool) -> None:
    """Put the backup FILE of a province back as DIR.

    Stop ingest and broker first. What an existing province in DIR has revoked stays revoked, and
    devices that were enrolled since the backup stay enrolled. Devices send again what they still
    hold and the backup lacks. If it is interrupted, nothing has changed: run it again.
    """
    from host_tools.office.restore import restore
    from host_tools.store.restored_receipts import take_newer_receipts

    done = restore(backup, directory, replace_existing=replace, take_receipts=take_newer_receipts)
    for note in done.notes:
        app.note(note)
    click.echo(
        _("Province {code} {name} of {time} is in {directory}.").format(
            code=done.province.code,
            name=done.province.name,
            time=wita(done.manifest.made_at),
            directory=done.province.directory,
        )
    )
    if done.before is not None:
        click.echo(
            _("The province that was there is now {before}; delete it when all is well.").format(
                before=done.before
            )
        )
    if done.revocations:
        click.echo(
            _("{revocations} since the backup: taken over.").format(
                revocations=counted(done.revocations, "revocation")
            )
        )
    place = quote(str(directory))
    if done.unlisted:
        app.note(
            _(
                "{certificates} not in the revocation list yet: run 'desalink -C {place} broker "
                "config' before the broker starts."
            ).format(certificates=counted(done.unlisted, "revoked certificate"), place=place)
        )
    click.echo(
        _("Next: start 'desalink -C {place} broker run' and 'desalink -C {place} ingest'.").format(
            place=place
        )
    )
