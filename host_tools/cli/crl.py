"""Warn long before revocation list, certificates or trust document expire."""

from __future__ import annotations

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import json_option
from host_tools.cli._output import print_json, print_table
from host_tools.cli._store import reading
from host_tools.common.i18n import _
from host_tools.common.times import wita


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
@json_option
@pass_app
def check(app: Application, days: int, quiet: bool, as_json: bool) -> None:
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
    if as_json:
        print_json([{"what": e.what, "ends": e.at, "days": e.days} for e in found])
    elif not quiet or soon:
        print_table(
            ("what", "ends", "days left"),
            [(end.what, wita(end.at), str(end.days)) for end in found],
            right=("days left",),
        )
    for sentence in older:
        app.note(sentence)
    if soon:
        app.abort(warning(soon))
    if older:
        app.abort(_("An older registry.db was put back; it has caught up, see above."))
