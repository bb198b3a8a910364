"""Add, list and revoke technicians and their keys."""

from __future__ import annotations

import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from host_tools.cli import Application, pass_app, passphrase_option
from host_tools.cli._asking import confirm
from host_tools.cli._options import by_option, form_option, yes_option
from host_tools.cli._output import counted, show
from host_tools.common import passphrase
from host_tools.common.i18n import _
from host_tools.common.times import wita
from host_tools.listings.model import CODE, UNIX, Column, Listing

if TYPE_CHECKING:
    from host_tools.province.records import RoleKey
    from host_tools.province.registry import Registry


@click.group()
def command() -> None:
    """Add, list and revoke technicians and their keys.

    A technician's key countersigns enrolments; the trust document, signed by the root key, says
    whose keys may. Every change makes a new version of it (trust.cbor).
    """


@command.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=365,
    show_default=True,
    help="How long the key may enrol.",
)
@click.option("--renew", is_flag=True, help="A second key for somebody who has a valid one.")
@passphrase_option
@pass_app
def add(app: Application, name: str, days: int, renew: bool, passphrase_file: Path | None) -> None:
    """Make a technician's key and a trust document that names it."""
    from host_tools.keys.root import load_root_key
    from host_tools.people import technicians
    from host_tools.people.office_pen import open_office

    province = app.province
    with app.registry() as registry:
        secret = passphrase.existing(passphrase_file)
        root = load_root_key(province.root_key, secret)
        open_office(province, registry, secret)
        added = technicians.add(province, registry, root, name, secret, days=days, renew=renew)
        newest = technicians.newest_trust(province, registry)
    assert newest is not None
    click.echo(
        _("Technician {name} has key {kid} until {time} (trust document {version}).").format(
            name=added.name,
            kid=added.kid.hex(),
            time=wita(added.not_after),
            version=newest[0].version,
        )
    )
    click.echo(
        _("Next: 'desalink kit create --technician {name} ...'.").format(name=quote(added.name))
    )


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also keys that are revoked or expired.")
@form_option
@pass_app
def list_(app: Application, everything: bool, form: str | None) -> None:
    """List technicians and their keys."""
    from host_tools.people import technicians

    now = time.time()
    with app.registry() as registry:
        known = technicians.technicians(registry)
    keys = [key for key in known if everything or key.valid(now)]
    nothing = _("There is no technician; add one with 'desalink technicians add NAME'.")
    if known:
        nothing = _(
            "No technician has a valid key: {keys} expired or revoked. 'desalink technicians "
            "list --all' shows them; 'desalink technicians add NAME' makes a new one."
        ).format(keys=counted(len(known), "key"))

    def state(key: RoleKey) -> str:
        if key.revoked_at is not None:
            return _("revoked {time} by {revoked_by}").format(
                time=wita(key.revoked_at), revoked_by=key.revoked_by
            )
        return _("valid") if key.valid(now) else _("expired")

    columns = [
        Column("name", _("name")),
        Column("key", _("key"), CODE, lambda key: key.kid.hex()),
        Column("added_at", _("added"), UNIX),
        Column("not_after", _("until"), UNIX),
        Column("revoked_at", _("state"), shown=state),
        Column("revoked_by"),
    ]
    show(app, Listing("technicians", columns, keys), form, nothing)


@command.command()
@click.argument("name", metavar="NAME|KEY")
@by_option
@yes_option
@passphrase_option
@pass_app
def revoke(app: Application, name: str, by: str, yes: bool, passphrase_file: Path | None) -> None:
    """Take a technician's keys, or one key, out of the trust document.

    Enrolments that they signed and that are not imported yet will be refused. Certificates in the
    technician's kits stay good: revoke a lost kit with 'desalink kit revoke'.
    """
    from host_tools.keys.root import load_root_key
    from host_tools.people import technicians
    from host_tools.people.office_pen import open_office

    province = app.province
    wanted = name.strip().casefold()
    with app.registry() as registry:
        found = [
            t
            for t in technicians.technicians(registry)
            if wanted in (t.name.casefold(), t.kid.hex())
        ]
        if not found:
            app.abort(
                _(
                    "There is no technician or key '{name}'; 'desalink technicians list --all' "
                    "shows them."
                ).format(name=name)
            )
        kids = [t.kid for t in found]
        confirm(app, _goes_along(registry, kids), yes)
        secret = passphrase.existing(passphrase_file)
        root = load_root_key(province.root_key, secret)
        open_office(province, registry, secret)
        technicians.revoke(province, registry, root, kids, by=by)
        newest = technicians.newest_trust(province, registry)
    assert newest is not None
    keys = ", ".join(kid.hex() for kid in kids)
    click.echo(
        _(
            "Technician {name} may enrol no longer: {keys} revoked (trust document {version})."
        ).format(name=found[-1].name, keys=keys, version=newest[0].version)
    )


def _goes_along(registry: Registry, kids: list[bytes]) -> str | None:
    """What else the revocation of keys makes useless."""
    from host_tools.people.kits.book import usable

    kits = [kit.id.hex() for kit in usable(registry) if kit.technician in kids]
    if not kits:
        return None
    return _("The key is in kit {names}: nothing more can be enrolled with it.").format(
        names=", ".join(kits)
    )
