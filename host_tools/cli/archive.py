"""Move the reports of closed months from the database into archives, or check these."""

from __future__ import annotations

import re
import time

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import json_option
from host_tools.cli._output import counted, print_json
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _, number


@click.command()
@click.option("--month", metavar="YYYY-MM", help="Only what arrived in this month.")
@click.option("--check", is_flag=True, help="Only compare every archive with its digest.")
@json_option
@pass_app
def command(app: Application, month: str | None, check: bool, as_json: bool) -> None:
    """Move the reports of closed months from the database into archives.

    Without --month, all that is older than `hot_months` of province.toml. The ingest may
    run meanwhile. The command may be killed at any time: run it again. It deletes only what is in
    a file of the directory `archive` and was compared with it, byte for byte. The file of the
    database keeps its size, and new reports use the room in it.
    """
    if month is not None and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        app.abort(_("'{month}' is no month; give for example 2026-10.").format(month=month), 2)
    if check and month:
        app.abort(_("Give --check or --month, not both."), 2)
    if check:
        _check(app, as_json)
        return
    from host_tools.store import StoreLocked, lock, open_database
    from host_tools.store.archiving import Archiver

    path = app.province.database
    if not path.exists():
        click.echo(_("There is nothing to archive: no report has come yet."))
        return
    now = time.time()
    try:
        # The lock of a rebuild: the two exclude each other.
        with lock(path.with_name(path.name + ".rebuild")), open_database(path) as database:
            archiver = Archiver(database, app.note)
            if month is None:
                moved = archiver.archive_older(app.province.hot_months, now)
            else:
                moved = archiver.archive_month(month, now)
    except StoreLocked:
        app.abort(_("A rebuild or another 'desalink archive' is running; try again later."), 75)
    if as_json:
        print_json(
            {
                "files": moved.files,
                "reports": moved.reports,
                "bytes": moved.bytes,
                "digest": archiver.chain.head,
            }
        )
    elif moved.files:
        click.echo(
            _("{reports} archived in {files}, {bytes} MB. Digest of the list: {head}").format(
                reports=counted(moved.reports, "report"),
                files=counted(moved.files, "file"),
                bytes=number(moved.bytes / 1000000.0, 1),
                head=archiver.chain.head,
            )
        )
    else:
        click.echo(_("There is nothing to archive."))


def _check(app: Application, as_json: bool) -> None:
    from host_tools.archive.chain import DIRECTORY, Chain
    from host_tools.store import StoreDamaged, open_database
    from host_tools.store.archived import check_chain

    with open_database(app.province.database, readonly=True) as database:
        chain = Chain(app.province.directory / DIRECTORY)
        check_chain(database, chain)
    bad = []
    for listed in chain:
        try:
            chain.check(listed)
        except DesalinkError as error:
            bad.append(str(error))
    if as_json:
        print_json({"files": len(chain.files), "digest": chain.head, "damaged": bad})
    else:
        for sentence in bad:
            app.note(sentence)
        click.echo(
            _("{files}. Digest of the list: {head}").format(
                files=counted(len(chain.files), "file"), head=chain.head
            )
        )
    if bad:
        raise StoreDamaged(
            _("{archives} can't be used; put them back from a backup.").format(
                archives=counted(len(bad), "archive")
            )
        )
