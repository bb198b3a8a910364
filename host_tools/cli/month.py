"""Count a month by its contracts, close it, open it again."""

from __future__ import annotations

import time
from operator import itemgetter
from typing import TYPE_CHECKING

import click

from host_tools.cli import Application, pass_app, passphrase_option
from host_tools.cli._options import (
    Where,
    by_option,
    contract_option,
    csv_option,
    json_option,
    where_options,
    why_option,
)
from host_tools.cli._output import print_json
from host_tools.cli._signing import sign_changes
from host_tools.cli._store import by_contract, labels, names, note_underived, reading
from host_tools.common.i18n import _
from host_tools.listings.files import csv_text
from host_tools.listings.model import CODE, Column, Listing
from host_tools.listings.terminal import print_table

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.contracts.months import SlotMonth


@click.group()
def command() -> None:
    """Count a month by its contracts, close it, open it again."""


@command.command("show")
@click.argument("month", metavar="MONTH")
@where_options(contract_option)
@csv_option
@json_option
@pass_app
def show(
    app: Application,
    month: str,
    where: Where,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show a month's minutes, availability and restitution.

    The least available come first.

    Each second of the month is one of: up, short (an outage up to the threshold), down (the
    provider's), site, power, agent, maintenance, force majeure, off hours, unknown. Availability
    is (up + short) / (up + short + down). "worst" counts unknown time as down, "best" as up.
    """
    from host_tools.contracts.calendar import month_of
    from host_tools.contracts.closing import as_json as figures
    from host_tools.contracts.closing import check_closed
    from host_tools.contracts.months import count, holding, rules_of
    from host_tools.contracts.words import figures_table

    when = month_of(month)
    with reading(app) as (registry, database):
        closed = holding(registry, when)
        rules = rules_of(registry, when)
        found = list(
            count(
                registry,
                database,
                when,
                rules,
                wanted=by_contract(registry, where),
            )
        )
        if closed is not None:
            check_closed(closed, found)
        else:
            note_underived(app, database, when.end)
        shown, named = labels(registry), names(registry)
    if as_json:
        print_json([{"name": named.get(one.slot[:10])} | figures(one) for one in found])
        return
    if as_csv:
        click.echo(csv_text(figures_table(found), line_end="\n"), nl=False)
        return
    if not found:
        app.note(_("No slot has a contract or a device; see 'desalink contracts import'."))
        return
    _list(app, found, shown)
    state = _("not closed yet")
    if closed is not None:
        state = _("closed, edition {edition}, SHA-256 {digest}").format(
            edition=closed.edition, digest=closed.digest.hex()
        )
    app.note(
        _("{name}, rules {version}: {state}.").format(
            name=when.name, version=rules.version, state=state
        )
    )


def _list(app: Application, found: list[SlotMonth], shown: dict[str, str]) -> None:
    from host_tools.contracts.words import minutes, percent, rupiah

    pairs = [(one, piece) for one in found for piece in one.pieces]
    pairs.sort(key=lambda pair: (pair[1].availability is None, pair[1].availability or 0))
    rows = [
        (
            shown.get(one.slot[:10], ""),
            one.slot,
            _("no contract") if piece.contract is None else piece.contract.provider,
            percent(piece.availability),
            percent(piece.worst),
            percent(piece.best),
            minutes(piece.seconds["down"]),
            minutes(piece.seconds["unknown"]),
            minutes(piece.length - piece.service_s - piece.seconds["unknown"]),
            rupiah(piece.restitution),
        )
        for one, piece in pairs
    ]
    figures = (
        *(_("available"), _("worst"), _("best"), _("down"), _("unknown"), _("excluded")),
        _("restitution"),
    )
    columns = [
        Column("", _("village"), of=itemgetter(0)),
        Column("", _("slot"), CODE, itemgetter(1)),
        Column("", _("provider"), of=itemgetter(2)),
        *(
            Column("", heading, of=itemgetter(number), right=True)
            for number, heading in enumerate(figures, 3)
        ),
    ]
    print_table(Listing("month", columns, rows))
    total = sum(one.restitution for one in found)
    app.note(
        _("Restitution together: {amount} of {price}.").format(
            amount=rupiah(total), price=rupiah(sum(o.price for o in found))
        )
    )


@command.command("close")
@click.argument("month", metavar="MONTH")
@by_option
@passphrase_option
@json_option
@pass_app
def close_(
    app: Application, month: str, by: str, passphrase_file: Path | None, as_json: bool
) -> None:
    """Close a month: its figures are never counted again.

    They are kept with the rules that hold now.
    """
    from host_tools.contracts.calendar import month_of
    from host_tools.contracts.closing import close

    with reading(app) as (registry, database):
        sign_changes(app, registry, passphrase_file)
        closed = close(
            registry,
            database,
            month_of(month),
            by=by,
            now=int(time.time()),
        )
    if as_json:
        print_json(
            {
                "month": closed.month,
                "rules": closed.rules,
                "edition": closed.edition,
                "sha256": closed.digest.hex(),
            }
        )
        return
    click.echo(
        _(
            "{month} is closed under rules {rules}, edition {edition}. SHA-256 of its figures: "
            "{digest}"
        ).format(
            month=closed.month,
            rules=closed.rules,
            edition=closed.edition,
            digest=closed.digest.hex(),
        )
    )


@command.command("reopen")
@click.argument("month", metavar="MONTH")
@why_option
@by_option
@passphrase_option
@pass_app
def reopen_(app: Application, month: str, why: str, by: str, passphrase_file: Path | None) -> None:
    """Open a closed month again; its closed edition stays."""
    from host_tools.contracts.calendar import month_of
    from host_tools.contracts.closing import reopen

    with app.registry() as registry:
        sign_changes(app, registry, passphrase_file)
        reopen(
            registry,
            month_of(month),
            by=by,
            why=why,
            now=int(time.time()),
        )
    click.echo(_("{month} is open again.").format(month=month))


@command.command("figures")
@click.argument("month", metavar="MONTH")
@click.option(
    "--edition", type=int, metavar="N", help="Which edition. [default: the one that holds]"
)
@pass_app
def figures_(app: Application, month: str, edition: int | None) -> None:
    """Print a closed month's figures as JSON, byte for byte."""
    from host_tools.contracts.calendar import month_of
    from host_tools.contracts.months import holding

    when = month_of(month)
    with app.registry() as registry:
        found = holding(registry, when)
        if edition is not None:
            its = [c for c in registry.closed_months(when.name) if c.edition == edition]
            found = its[0] if its else None
    if found is None:
        app.abort(
            _("{name} has no such edition; close it with 'desalink month close'.").format(
                name=when.name
            )
        )
    click.echo(found.figures.decode(), nl=False)
