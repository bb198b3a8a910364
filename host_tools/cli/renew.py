"""Renew certificates, the CA and the root key before they end."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._output import counted
from host_tools.cli._signing import office_at_work, open_authority
from host_tools.cli._store import reading
from host_tools.common import passphrase
from host_tools.common.i18n import _

if TYPE_CHECKING:
    from host_tools.keys.ca import Authority


@click.group()
def command() -> None:
    """Renew certificates, the CA and the root key before they end.

    Once a year is enough; 'desalink crl check' warns when it was forgotten.
    """


_within_option = click.option(
    "--within",
    "days",
    type=click.IntRange(1, 3650),
    metavar="DAYS",
    help="Renew what ends within so many days.",
)


@command.command()
@_within_option
@passphrase_option
@pass_app
def services(app: Application, days: int | None, passphrase_file: Path | None) -> None:
    """Renew the certificates of the province's services.

    These are ingest, operator and the identities of 'broker check'. What ends within 366 days is
    renewed, unless --within is given.
    """
    from host_tools.broker.services import RENEW_WITHIN, ending, renew_services

    province = app.province
    within = RENEW_WITHIN if days is None else timedelta(days=days)
    if not ending(province, within):
        text = _("No service's certificate ends within {days} days.")
        click.echo(text.format(days=within.days))
        return
    authority = open_authority(app, passphrase.existing(passphrase_file))
    with office_at_work(app) as registry:
        renewed = renew_services(province, registry, authority, within)
        left = ending(province, within)
    if renewed:
        click.echo(_("Renewed: {services}.").format(services=", ".join(renewed)))
    if left:
        app.abort(
            _end_of_authority(
                authority, _("{names} can't be renewed for longer").format(names=", ".join(left))
            )
        )


@command.command()
@_within_option
@click.option(
    "--certificate",
    "certificates",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="A device's client.pem from before the province kept certificates; may be repeated.",
)
@click.option("--publish-only", is_flag=True, help="Publish again what is renewed already.")
@passphrase_option
@pass_app
def devices(
    app: Application,
    days: int | None,
    certificates: tuple[Path, ...],
    publish_only: bool,
    passphrase_file: Path | None,
) -> None:
    """Renew the devices' certificates and publish them at the broker.

    Each keeps its key and gets new dates. What ends within two years is renewed, unless --within
    is given. The broker must run; if it loses its memory, --publish-only repeats the last
    step and needs no passphrase.
    """
    from host_tools.office.expiry import in_use
    from host_tools.office.renewal import (
        WITHIN,
        keep_certificates,
        publish_certificates,
        renew_devices,
    )
    from host_tools.store import queries

    province = app.province
    left: tuple[tuple[str, str], ...] = ()
    with office_at_work(app) as registry:
        keep_certificates(province, registry, certificates)
        if not publish_only:
            authority = open_authority(app, passphrase.existing(passphrase_file))
            within = WITHIN if days is None else timedelta(days=days)
            done = renew_devices(province, registry, authority, within)
            left = done.left
            click.echo(
                _("{certificates} renewed, {waiting} renewed before, {count} not renewed.").format(
                    certificates=counted(len(done.renewed), "certificate"),
                    waiting=done.waiting,
                    count=len(left),
                )
            )
            for slot, reason in left:
                app.note(f"{slot}: {reason}.")
        published = publish_certificates(province, registry)
    click.echo(
        _("{certificates} published.").format(
            certificates=counted(published, "renewed certificate")
        )
    )
    with reading(app) as (registry, database):
        if database:
            used = len(in_use(registry, queries.certificates(database)))
            click.echo(
                _("{used} of them in use by the device, as far as is known.").format(used=used)
            )
    if left:
        app.abort(
            _("{certificates} not renewed; see above.").format(
                certificates=counted(len(left), "certificate")
            )
        )


@command.command()
@click.option("--finish", is_flag=True, help="End the use of the former CA.")
@click.option("--yes", is_flag=True, help="Finish also where devices have not followed.")
@passphrase_option
@pass_app
def authority(app: Application, finish: bool, yes: bool, passphrase_file: Path | None) -> None:
    """Make the CA's successor, years before the CA ends.

    Both count until --finish. Devices accept the new one with their next certificate: restart
    broker and ingest after this command, then run 'desalink renew devices'. When all devices have
    followed, --finish ends the use of the former CA.
    """
    from host_tools.office.succession import (
        finish_authority,
        in_period,
        not_followed,
        renew_authority,
    )
    from host_tools.store import queries

    if finish and in_period(app.province):
        with reading(app) as (registry, database):
            shown = queries.certificates(database) if database else {}
            behind = not_followed(app.province, registry, shown)
        if behind and not yes:
            app.abort(
                _(
                    "{devices} would lose the broker, because the new CA is not accepted there "
                    "yet: {some}. Run 'desalink renew devices' and wait, or provision them again; "
                    "--yes finishes all the same."
                ).format(devices=counted(len(behind), "device"), some=_some(behind))
            )
    secret = passphrase.existing(passphrase_file)
    with office_at_work(app) as registry:
        change = finish_authority if finish else renew_authority
        end = change(app.province, registry, secret).certificate.not_valid_after_utc
    if finish:
        click.echo(_("Only the new CA counts now. Restart the broker."))
    else:
        text = _("The new CA issues from now on, and ends on {date}.")
        click.echo(f"{text.format(date=f'{end:%Y-%m-%d}')} {_next()}")


@command.command()
@passphrase_option
@pass_app
def root(app: Application, passphrase_file: Path | None) -> None:
    """Make a new root key; the old one signs that it takes its place.

    Devices accept it with their next certificate. Kits made before stay good until they expire.
    """
    from host_tools.office.succession import renew_root

    secret = passphrase.existing(passphrase_file)
    with office_at_work(app) as registry:
        renew_root(app.province, registry, secret)
    click.echo(f"{_('The province has a new root key.')} {_next()}")


def _next() -> str:
    return _(
        "Restart the broker and the ingest, then run 'desalink renew devices'. Make a backup, and "
        "put a new offline copy of keys/ and ca/ in place of the one from before."
    )


def _some(slots: tuple[str, ...]) -> str:
    return ", ".join(slots[:10]) + (" ..." if len(slots) > 10 else "")


def _end_of_authority(authority: Authority, what: str) -> str:
    end = authority.certificate.not_valid_after_utc
    return _(
        "{what}: the CA itself ends on {end:%Y-%m-%d}; make its successor with 'desalink renew "
        "authority'."
    ).format(what=what, end=end)
