"""Make a verified backup of the whole province while everything runs."""

from __future__ import annotations

from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.cli._options import json_option
from host_tools.cli._output import counted, print_json
from host_tools.common.i18n import _, number


@click.command()
@click.argument("target", type=PATH, metavar="DIR|FILE")
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    help="Keep the newest N backups of this province in DIR and delete older ones.",
)
@json_option
@pass_app
def command(app: Application, target: Path, keep: int | None, as_json: bool) -> None:
    """Make a verified backup of the whole province while everything runs.

    In an existing directory DIR the file is named after the time. Keys stay encrypted as they are:
    the backup needs the passphrase that was valid when it was made. Meanwhile the disk of DIR
    needs room for the backup and one more copy of the database. Archives are copied once, into a
    folder next to the backups: keep it with them. Exit code 75: another desalink is running, try
    again later.
    """
    from host_tools.office.backup import make_backup

    made = make_backup(app.province, target, keep=keep)
    for note in made.notes:
        app.note(note)
    reports = made.manifest.rows.get("province.db", {}).get("reports", 0)
    if as_json:
        print_json(
            {
                "path": str(made.path),
                "made_at": made.manifest.made_at,
                "files": len(made.manifest.files),
                "reports": reports,
                "bytes": made.size,
                "archives": len(made.manifest.archives),
                "new_archives": made.new_archives,
                "deleted": [str(path) for path in made.deleted],
                "notes": list(made.notes),
            }
        )
        return
    size = made.size / 1e6
    deleted = (
        _("; {backups} deleted").format(backups=counted(len(made.deleted), "older backup"))
        if made.deleted
        else ""
    )
    archives = ""
    if made.manifest.archives:
        count = counted(len(made.manifest.archives), "archive")
        archives = _("; {count} in {archives} next to it, {new_archives} of them new").format(
            count=count, archives=made.archives, new_archives=made.new_archives
        )
    click.echo(
        _("{path}: {files}, {reports}, {size} MB, verified{archives}{deleted}.").format(
            path=made.path,
            files=counted(len(made.manifest.files), "file"),
            reports=counted(reports, "report"),
            size=number(size, 1),
            archives=archives,
            deleted=deleted,
        )
    )
