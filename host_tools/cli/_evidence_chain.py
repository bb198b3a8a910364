"""The verbs of a province's own evidence: begin it, list, check and publish it."""

from __future__ import annotations

import time
from dataclasses import asdict
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._options import by_option, form_option, json_option
from host_tools.cli._output import counted, print_json, show, show_progress
from host_tools.cli._signing import office_at_work
from host_tools.cli._store import reading
from host_tools.common import passphrase
from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.listings.model import CODE, UNIX, Column, Listing

if TYPE_CHECKING:
    from host_tools.people.receipts import Receipt
    from host_tools.province.registry import Registry


@click.command("begin")
@passphrase_option
@pass_app
def begin(app: Application, passphrase_file: Path | None) -> None:
    """Begin office log and receipts in a province that has none.

    Makes the keys of the office and of the ingest, names them in a new trust document, and enters
    the whole registry into the office log, marked as adopted. From then on, every change that
    figures depend on is signed. Within minutes the ingest makes its first receipt.
    """
    from host_tools.office.adopting import begin_log
    from host_tools.people.office_pen import has_log

    province = app.province
    with office_at_work(app) as registry:
        if has_log(registry):
            raise ProvinceError(
                _("This province keeps an office log already; nothing was changed.")
            )
        entries = begin_log(province, registry, passphrase.existing(passphrase_file))
    click.echo(
        _("The office log has begun with {rows}.").format(rows=counted(entries, "signed row"))
    )
    click.echo(_("Next: 'desalink evidence check', and a backup: it must hold keys/office.key."))


@click.command("renew-keys")
@click.option(
    "--only",
    type=click.Choice(["office", "ingest"]),
    help="Only this key. [default: both]",
)
@passphrase_option
@pass_app
def renew_keys(app: Application, only: str | None, passphrase_file: Path | None) -> None:
    """Make new keys of office and ingest, after a theft for example.

    A new trust document names them and ends the former keys. What the former keys have signed
    stays valid. The command needs the root key and its passphrase.
    """
    from host_tools.people.office_pen import renew_office_keys
    from host_tools.people.trust import INGEST, OFFICE

    province = app.province
    signed_at = max((receipt.made for receipt, _head in _chain(app)), default=0)
    with office_at_work(app) as registry:
        renew_office_keys(
            *(province, registry, passphrase.existing(passphrase_file)),
            {"office": (OFFICE,), "ingest": (INGEST,), None: (OFFICE, INGEST)}[only],
            signed_at=signed_at,
        )
    click.echo(
        _(
            "The new keys count from now on. Next: 'desalink evidence receipts --now', publish "
            "the line of 'desalink evidence commit', and make a backup."
        )
    )


@click.command("receipts")
@click.option(
    "--now",
    "make",
    is_flag=True,
    help="First make a receipt of what has arrived since the newest.",
)
@form_option
@pass_app
def receipts(app: Application, make: bool, form: str | None) -> None:
    """List the receipts: what the ingest stored, day by day.

    The ingest makes a receipt after each midnight. With --now it makes one at once, so that
    today's evidence can be exported; the next receipt counts the rest of the day.
    """

    if make:
        from host_tools.ingest.receipting import receipt_now

        receipt_now(app.province)
    columns = [
        Column("number", _("receipt"), of=lambda row: row[0].number, right=True),
        Column("", _("day"), of=lambda row: day(row[0].end - 1)),
        Column("begin", of=lambda row: row[0].begin),
        Column("end", of=lambda row: row[0].end),
        Column("made", of=lambda row: row[0].made),
        Column("reports", _("reports"), of=lambda row: row[0].reports, right=True),
        Column("births", _("births"), of=lambda row: row[0].births, right=True),
        Column("", _("made"), UNIX, lambda row: row[0].made),
        Column("late", of=lambda row: _late(row[0])),
        Column("head", _("head"), CODE, lambda row: row[1].hex()),
    ]
    nothing = _("There is no receipt yet; the ingest makes the first soon after it starts.")
    show(app, Listing("receipts", columns, list(_chain(app))), form, nothing)


def _late(receipt: Receipt) -> int:
    """How many reports it names that came after their day."""
    return sum(last - first + 1 for late in receipt.late for first, last in late.ranges)


@click.command("commit")
@click.option("--qr", type=PATH, metavar="FILE.png", help="Also write it as a QR code, for print.")
@json_option
@pass_app
def commit(app: Application, qr: Path | None, as_json: bool) -> None:
    """Print the line to publish: the newest receipt's head.

    Whoever keeps this line can prove later that no earlier report, contract or device was changed,
    removed or added. Publish it where the province can't change it: by e-mail to the providers and
    the auditor, in a newspaper, on a notice board.
    """
    from host_tools.people.office_log import verify_entries
    from host_tools.people.technicians import verified_trusts
    from host_tools.people.trust import OFFICE, signers

    *_older, newest = [None, *_chain(app)]
    if newest is None:
        app.abort(_("There is no receipt yet; the ingest makes the first soon after it starts."))
    receipt, head = newest
    with reading(app) as (registry, _database):
        keys = signers(verified_trusts(registry, _roots(app)), OFFICE)
        *_before, (entry, office) = verify_entries(registry.office_log(), keys)
    last_day = day(receipt.end - 1)
    line = (
        f"Desalink {app.province.name}: receipt {receipt.number} of {last_day}, head "
        f"{head.hex()}, office log {entry.number} {office.hex()}"
    )
    if as_json:
        print_json(
            {
                "province": app.province.name,
                "receipt": receipt.number,
                "day": last_day,
                "head": head.hex(),
                "office_entry": entry.number,
                "office_head": office.hex(),
                "line": line,
            }
        )
    else:
        click.echo(line)
    if qr is not None:
        import segno

        segno.make(line, error="m").save(str(qr), kind="png", scale=6)
        app.note(_("The QR code is in {qr}.").format(qr=qr))


@click.command("check")
@click.option(
    "--all", "everything", is_flag=True, help="Show everything that is wrong, not only the first."
)
@json_option
@pass_app
def check(app: Application, everything: bool, as_json: bool) -> None:
    """Compare registry and database with office log and receipts.

    Reads every stored report; the ingest may run meanwhile. Names the first thing that is wrong,
    and ends with exit code 1.
    """
    from itertools import islice

    from host_tools.archive.chain import Chain
    from host_tools.evidence.checking import check, lost_receipts

    with reading(app) as (registry, database):
        _need_log(app, registry)
        declared = lost_receipts(registry, _roots(app))
        found = check(registry, database, _roots(app), Chain(app.province.archive), show_progress)
        wrong = list(found if everything else islice(found, 1))
    show_progress("")
    if as_json:
        print_json(
            {
                "good": not wrong,
                "wrong": wrong,
                "declared_lost": [asdict(each) for each in declared],
            }
        )
        if wrong:
            raise SystemExit(1)
        return
    for each in declared:
        app.note(
            _("Declared lost: receipts {first} to {last} ({why}; {by}).").format(
                first=each.first, last=each.last, why=each.why, by=each.by
            )
        )
    for sentence in wrong[:-1]:
        app.note(sentence)
    if wrong:
        app.abort(wrong[-1])
    click.echo(_("Registry and reports are what the office and the ingest signed."))


@click.command("lost")
@click.argument("first", type=click.IntRange(0))
@click.argument("last", type=click.IntRange(0))
@click.option("--why", required=True, metavar="TEXT", help="For example: restored from a backup.")
@by_option
@passphrase_option
@pass_app
def lost(
    app: Application,
    first: int,
    last: int,
    why: str,
    by: str,
    passphrase_file: Path | None,
) -> None:
    """Declare the reports of receipts FIRST to LAST as lost.

    After a restore, receipts that are newer than the backup count reports that are gone. The
    declaration goes into the office log. Checks then name the loss as declared, and evidence can
    be exported again. Time that no report covers counts as unknown.
    """
    from host_tools.cli._signing import office_at_work, sign_changes
    from host_tools.evidence.checking import declare_lost
    from host_tools.store import open_database

    province = app.province
    with (
        office_at_work(app) as registry,
        open_database(province.database, readonly=True) as database,
    ):
        _need_log(app, registry)
        sign_changes(app, registry, passphrase_file)
        declare_lost(
            *(registry, database, _roots(app), first, last),
            why=why,
            by=by or getuser(),
            now=int(time.time()),
        )
    click.echo(_("Receipts {first} to {last} are declared lost.").format(first=first, last=last))


def _need_log(app: Application, registry: Registry) -> None:
    from host_tools.people.office_pen import has_log

    if not has_log(registry):
        app.abort(_("This province keeps no office log; begin it: 'desalink evidence begin'."))


def _roots(app: Application) -> list[bytes]:
    from host_tools.people.technicians import former_roots, root_public

    return [*former_roots(app.province), root_public(app.province)]


def _chain(app: Application) -> list[tuple[Receipt, bytes]]:
    from host_tools.people.receipts import verify_receipts
    from host_tools.people.technicians import verified_trusts
    from host_tools.people.trust import INGEST, signers
    from host_tools.store.receipts import receipts

    with reading(app) as (registry, database):
        _need_log(app, registry)
        if database is None:
            return []
        keys = signers(verified_trusts(registry, _roots(app)), INGEST)
        return list(verify_receipts(receipts(database), keys))
