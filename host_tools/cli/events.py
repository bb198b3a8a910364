"""Record, list and withdraw maintenance, force majeure and disputes."""

from __future__ import annotations

import time
from pathlib import Path

import click

from host_tools.cli import Application, pass_app, passphrase_option
from host_tools.cli._options import (
    by_option,
    form_option,
    regency_option,
    village_option,
    why_option,
)
from host_tools.cli._output import counted, show, withdrawn_columns
from host_tools.cli._signing import sign_changes
from host_tools.cli._store import village_code
from host_tools.common.i18n import _, marked
from host_tools.listings.model import CODE, TIME, Column, Listing

_KINDS = {"maintenance": "maintenance", "force-majeure": "force_majeure", "dispute": "dispute"}
_SHOWN = {
    "maintenance": marked("maintenance"),
    "force_majeure": marked("force majeure"),
    "dispute": marked("dispute"),
    "all": marked("all"),
    "provider": marked("provider"),
    "regency": marked("regency"),
    "district": marked("district"),
    "village": marked("village"),
    "slot": marked("slot"),
}


@click.group()
def command() -> None:
    """Record, list and withdraw maintenance, force majeure and disputes."""


@command.command("add")
@click.argument("kind", type=click.Choice(list(_KINDS)))
@click.option(
    "--from",
    "begin",
    required=True,
    metavar="TIME",
    help="The begin, e.g. 2026-10-05 14:00 (WITA).",
)
@click.option(
    "--until",
    "end",
    required=True,
    metavar="TIME",
    help="The end; a day without a time counts whole.",
)
@click.option("--why", required=True, metavar="TEXT", help="Why; the report prints it.")
@by_option
@click.option("--slot", metavar="SLOT", help="Only this slot.")
@village_option
@regency_option
@click.option("--district", metavar="CODE", help="Only this district, by its 6 digits.")
@click.option("--provider", metavar="NAME", help="Only this provider's villages.")
@click.option("--everywhere", is_flag=True, help="All villages of the province.")
@passphrase_option
@pass_app
def add(
    app: Application,
    kind: str,
    begin: str,
    end: str,
    why: str,
    by: str,
    slot: str | None,
    village: str | None,
    regency: str | None,
    district: str | None,
    provider: str | None,
    everywhere: bool,
    passphrase_file: Path | None,
) -> None:
    """Record an event; KIND is maintenance, force-majeure or dispute.

    Maintenance and force majeure take time out of what a provider is charged with, in villages
    whose contracts exclude it. A dispute changes no figure: the report names it.
    """
    from host_tools.contracts import events
    from host_tools.province.records import village_of
    from host_tools.province.villages import find_regency

    given = [slot, village, regency, district, provider, everywhere or None]
    if sum(one is not None for one in given) != 1:
        app.abort(
            _(
                "Say whom it concerns with one of --slot, --village, --district, --regency, "
                "--provider and --everywhere."
            )
        )
    with app.registry() as registry:
        if slot is not None:
            scope, value = "slot", slot.strip()
            village_code(registry, village_of(value))
        elif village is not None:
            scope, value = "village", str(village_code(registry, village))
        elif regency is not None:
            scope, value = "regency", find_regency(registry, regency)
        elif district is not None:
            scope, value = "district", district.replace(".", "")
            if not any(v.district_code == value for v in registry.villages()):
                app.abort(
                    _("This province has no district {district}; give its 6 digits.").format(
                        district=district
                    )
                )
        else:
            scope, value = ("all", "") if provider is None else ("provider", provider)
        begins, ends = events.parse_time(begin), events.parse_time(end, end=True)
        sign_changes(app, registry, passphrase_file)
        event = events.add(
            registry,
            _KINDS[kind],
            scope,
            value,
            begins,
            ends,
            who=by,
            why=why,
            now=int(time.time()),
        )
    click.echo(_("Event {id} is recorded.").format(id=event.id))


@command.command("list")
@click.option("--month", metavar="MONTH", help="Only events of this month, e.g. 2026-10.")
@click.option("--all", "withdrawn", is_flag=True, help="Also those that were withdrawn.")
@form_option
@pass_app
def list_(app: Application, month: str | None, withdrawn: bool, form: str | None) -> None:
    """List events."""
    from host_tools.contracts.calendar import month_of
    from host_tools.contracts.events import about

    with app.registry() as registry:
        happened = registry.contract_events(withdrawn=withdrawn)
    if month:
        happened = about(happened, month_of(month))
    columns = [
        Column("id", _("id"), CODE),
        Column("kind", _("kind"), shown=lambda event: _(_SHOWN[event.kind])),
        Column("scope"),
        Column("value"),
        Column("", _("concerns"), of=lambda e: f"{_(_SHOWN[e.scope])} {e.value}".strip()),
        Column("begin", _("from"), TIME),
        Column("end", _("until"), TIME),
        Column("who", _("who")),
        Column("why", _("why")),
        Column("added_at", kind=TIME),
        *withdrawn_columns(),
    ]
    nothing = _("There is no such event; record one with 'desalink events add'.")
    if show(app, Listing("events", columns, happened), form, nothing):
        app.note(counted(len(happened), "event"))


@command.command("withdraw")
@click.argument("id", metavar="ID")
@why_option
@by_option
@passphrase_option
@pass_app
def withdraw(app: Application, id: str, why: str, by: str, passphrase_file: Path | None) -> None:
    """Withdraw an event; it stays on record."""
    from host_tools.contracts import events

    with app.registry() as registry:
        sign_changes(app, registry, passphrase_file)
        events.withdraw(registry, id, by=by, why=why, now=int(time.time()))
    click.echo(_("Event {id} is withdrawn.").format(id=id))
