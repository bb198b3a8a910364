"""List the province's villages, or import their positions."""

from __future__ import annotations

from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.cli._options import form_option
from host_tools.cli._output import counted, show
from host_tools.common.i18n import _
from host_tools.listings.model import CODE, Column, Listing


@click.group(invoke_without_command=True)
@click.option("--regency", metavar="CODE|NAME", help="Only this regency, e.g. 6403 or Berau.")
@click.option("--find", metavar="TEXT", help="Only where name, district, site or code holds TEXT.")
@form_option
@click.pass_context
def command(ctx: click.Context, regency: str | None, find: str | None, form: str | None) -> None:
    """List the province's villages, or import their positions."""
    if ctx.invoked_subcommand is not None:
        return
    from host_tools.province.villages import find_regency

    app = ctx.find_object(Application)
    assert app is not None
    with app.registry() as registry:
        code = find_regency(registry, regency) if regency else None
        villages = registry.villages(code, find)
    # Without any provider it is no column for eyes.
    provider = _("provider") if any(village.provider for village in villages) else ""
    columns = [
        Column("code", _("code"), CODE, shown=lambda village: village.dotted),
        Column("name", _("village")),
        Column("district", _("district")),
        Column("regency", _("regency")),
        Column("lat", _("lat"), shown=lambda village: _degrees(village.lat), right=True),
        Column("lon", _("lon"), shown=lambda village: _degrees(village.lon), right=True),
        Column("site", _("site")),
        Column("provider", provider),
    ]
    nothing = _("No village matches; try a part of its name with --find.")
    if show(app, Listing("villages", columns, villages), form, nothing):
        app.note(counted(len(villages), "village"))


def _degrees(value: float | None) -> str:
    return "" if value is None else f"{value:.5f}"


@command.command("import")
@click.argument("file", type=PATH, metavar="FILE.csv")
@click.option("--skip-bad", is_flag=True, help="Import the good rows even where others are bad.")
@pass_app
def import_(app: Application, file: Path, skip_bad: bool) -> None:
    """Import positions, site names and providers from a table.

    Columns: code (with or without dots), lat and lon in degrees, site and provider if you like.
    "provider" is the company that runs the village's link; status, outages and usage can be
    limited to one. Nothing is imported while any row is bad, unless you say --skip-bad.
    """
    from host_tools.cli._importing import check_rows
    from host_tools.province.positions import read_table

    with app.registry() as registry:
        table = read_table(file, registry.villages())
        good = len(table.places)
        skipped = check_rows(app, file, table.encoding, table.problems, good, skip_bad)
        count = registry.place_villages(
            (p.code, p.position, p.site, p.provider) for p in table.places
        )
    placed = sum(place.position is not None for place in table.places)
    named = sum(place.site is not None for place in table.places)
    provided = sum(place.provider is not None for place in table.places)
    providers = f", {counted(provided, 'provider')}" if provided else ""
    click.echo(
        _("{villages} imported: {positions}, {names}{providers}{skipped}.").format(
            villages=counted(count, "village"),
            positions=counted(placed, "position"),
            names=counted(named, "site name"),
            providers=providers,
            skipped=skipped,
        )
    )
