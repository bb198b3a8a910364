"""Warn long before revocation list, certificates or trust document expire."""

from __future__ import annotations

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import form_option
from host_tools.cli._output import show
from host_tools.cli._store import reading
from host_tools.common.i18n import _
from host_tools.listings.model import UNIX, Column, Listing


@click.group()
def command() -> None:
    """Warn long before revocation list, certificates or trust document expire."""


@command.command()
@click.option(
    "--days",
    type=click.IntRange(0, 3650),
    default=90,
    show_default=True,
    help="Warn so many days before an end.",
)
@click.option("--quiet", is_flag=True, help="Print nothing while all is well, for cron.")
@form_option
@pass_app
def check(app: Application, days: int, quiet: bool, form: str | None) -> None:
    """Show when the revocation list and the certificates end.

    Exit code 1 if that is soon. An expired revocation list makes the broker refuse every device,
    an expired server certificate makes every device refuse the broker. Needs no passphrase: run it
    daily from cron, with --quiet.
    """
    from host_tools.broker.revoked import catch_up
    from host_tools.office.expiry import ends, warning
    from host_tools.store.queries import certificates

    province = app.province
    with reading(app) as (registry, database):
        older = catch_up(province, registry)
        found = ends(province, registry, shown=certificates(database) if database else {})
    soon = [end for end in found if end.days < days]
    if form or not quiet or soon:
        columns = [
            Column("what", _("what")),
            Column("ends", _("ends"), UNIX, lambda end: end.at),
            Column("days", _("days left"), right=True),
        ]
        show(app, Listing("ends", columns, found), form)
    for sentence in older:
        app.note(sentence)
    if soon:
        app.abort(warning(soon))
    if older:
        app.abort(_("An older registry.db was put back; it has caught up, see above."))
