"""Put a backup of a province back, without undoing any revocation."""

from __future__ import annotations

from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app


@click.command()
@click.argument("backup", type=PATH, metavar="FILE")
@click.argument("directory", type=PATH, metavar="DIR")
@click.option(
    "--replace",
    is_flag=True,
    help="DIR is this province already: put the backup in its place, and keep it beside.",
)
@pass_app
def command(app: Application, backup: Path, directory: Path, replace: bool) -> None:
    """Put the backup FILE of a province back as DIR.

    Stop ingest and broker first. What an existing province in DIR has revoked stays revoked, and
    devices that were enrolled since the backup stay enrolled. Devices send again what they still
    hold and the backup lacks. If it is interrupted, nothing has changed: run it again.
    """
    from shlex import quote

    from host_tools.cli._output import counted
    from host_tools.common.times import wita
    from host_tools.office.restore import restore
    from host_tools.store.restored_receipts import take_newer_receipts

    done = restore(backup, directory, replace_existing=replace, take_receipts=take_newer_receipts)
    for note in done.notes:
        app.note(note)
    click.echo(
        f"Province {done.province.code} {done.province.name} of {wita(done.manifest.made_at)} is "
        f"in {done.province.directory}."
    )
    if done.before is not None:
        click.echo(
            f"The province that was there is now {done.before}; delete it when all is well."
        )
    if done.revocations:
        click.echo(f"{counted(done.revocations, 'revocation')} since the backup: taken over.")
    place = quote(str(directory))
    if done.unlisted:
        app.note(
            f"{counted(done.unlisted, 'revoked certificate')} not in the revocation list yet: run "
            f"'desalink -C {place} broker config' before the broker starts."
        )
    click.echo(f"Next: start 'desalink -C {place} broker run' and 'desalink -C {place} ingest'.")
