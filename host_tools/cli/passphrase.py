"""Change the passphrase of the province's keys."""

from __future__ import annotations

from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._output import counted
from host_tools.common import passphrase
from host_tools.common.i18n import _


@click.group()
def command() -> None:
    """Change the passphrase of the province's keys."""


@command.command()
@passphrase_option
@click.option(
    "--new-passphrase-file",
    "new_file",
    type=PATH,
    metavar="FILE",
    help="The new passphrase, in the first line of FILE (else DESALINK_NEW_PASSPHRASE, asked).",
)
@pass_app
def change(app: Application, passphrase_file: Path | None, new_file: Path | None) -> None:
    """Change the passphrase of all the province's keys.

    These are the root key, the CA's key and the technicians' keys. All of them change or none,
    also if it is interrupted. Kits keep their own passphrases. Backups from before still open with
    the old passphrase: make a new backup, and delete old ones if others know the old passphrase.
    """
    from host_tools.office.rekeying import change_passphrase

    province = app.province
    old = passphrase.existing(passphrase_file)
    changed = change_passphrase(province, old, passphrase.successor(new_file))
    click.echo(_("{keys} now under the new passphrase.").format(keys=counted(len(changed), "key")))
    for name in ("keys/root.key", "ca/ca.key"):
        if name not in changed:
            app.note(
                _(
                    "{name} is not in the province; where it lies it keeps its old passphrase."
                ).format(name=name)
            )
