"""Import, list, end and withdraw the contracts by which villages are paid for."""

from __future__ import annotations

import time
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._options import (
    Where,
    by_option,
    contract_option,
    form_option,
    where_options,
    why_option,
)
from host_tools.cli._output import counted, show, withdrawn_columns
from host_tools.cli._signing import sign_changes
from host_tools.cli._store import labels, place
from host_tools.common.i18n import _
from host_tools.common.times import DAY_S, day, iso
from host_tools.listings.model import CODE, NESTED, NUMBER, Column, Listing

if TYPE_CHECKING:
    from host_tools.province.contract_records import ContractEntry


@click.group()
def command() -> None:
    """Import, list, end and withdraw the contracts by which villages are paid for."""


@command.command("import")
@click.argument("file", type=PATH, metavar="FILE.csv|xlsx")
@click.option("--skip-bad", is_flag=True, help="Import the good rows even where others are bad.")
@by_option
@passphrase_option
@pass_app
def import_(
    app: Application, file: Path, skip_bad: bool, by: str, passphrase_file: Path | None
) -> None:
    """Import contracts from a table, one slot a row.

    Columns: slot (or a village's code), provider, product, medium, mbps, price (rupiah a month),
    target (availability in %), from, to (the last day; empty: without end), and if you like
    exclusions (power, site, agent, maintenance, force_majeure; empty: as the rules have it; none),
    hours (06:00-22:00), number. Nothing is imported while any row is bad, unless you say
    --skip-bad.
    """
    from host_tools.cli._importing import check_rows
    from host_tools.contracts.calendar import month_at
    from host_tools.contracts.changes import add_all
    from host_tools.contracts.months import all_rules
    from host_tools.contracts.rules import rules_for
    from host_tools.contracts.table import read_contracts

    now = int(time.time())
    with app.registry() as registry:
        rules = rules_for(month_at(now).name, all_rules(registry))
        table = read_contracts(file, registry.villages(), registry.contracts(), rules)
        good = len(table.contracts)
        skipped = check_rows(app, file, table.encoding, table.problems, good, skip_bad)
        contracts = [contract for _line, contract in table.contracts]
        sign_changes(app, registry, passphrase_file)
        new = add_all(registry, contracts, by=by, now=now)
    known = len(contracts) - new
    click.echo(
        _("{contracts} imported").format(contracts=counted(new, "contract"))
        + (_(", {known} known already").format(known=known) if known else "")
        + f"{skipped}."
    )


@command.command("list")
@where_options(contract_option)
@click.option("--all", "withdrawn", is_flag=True, help="Also those that were withdrawn.")
@form_option
@pass_app
def list_(
    app: Application,
    where: Where,
    withdrawn: bool,
    form: str | None,
) -> None:
    """List contracts."""
    from host_tools.contracts.table import OPEN_END

    def open_end(entry: ContractEntry) -> bool:
        return entry.contract.end == OPEN_END

    with app.registry() as registry:
        code, provider = place(registry, where.village, where.regency) or "", where.provider
        named = labels(registry)
        entries = [
            entry
            for entry in registry.contracts(withdrawn=withdrawn)
            if entry.contract.slot.startswith(code) and provider in (None, entry.contract.provider)
        ]
    columns = [
        Column("id", _("id"), CODE),
        Column("", _("village"), of=lambda entry: named.get(entry.contract.slot[:10])),
        Column("slot", _("slot"), CODE, attrgetter("contract.slot")),
        Column("provider", _("provider"), of=attrgetter("contract.provider")),
        Column("product", _("product"), of=attrgetter("contract.product")),
        Column("medium", of=attrgetter("contract.medium")),
        Column("mbps", _("Mbps"), of=attrgetter("contract.mbps"), right=True),
        Column("price", _("rupiah"), NUMBER, attrgetter("contract.price")),
        Column(
            "target_percent",
            _("target"),
            of=lambda entry: entry.contract.target_ppm / 10_000,
            shown=lambda entry: f"{entry.contract.target_ppm / 10_000:g} %",
            right=True,
        ),
        Column("excluded", kind=NESTED, of=lambda entry: list(entry.contract.excluded)),
        Column("hours_s", kind=NESTED, of=attrgetter("contract.hours")),
        Column(
            "begin",
            _("from"),
            CODE,
            lambda entry: iso(entry.contract.begin),
            shown=lambda entry: day(entry.contract.begin),
        ),
        Column(
            "end",
            _("to"),
            CODE,
            lambda entry: None if open_end(entry) else iso(entry.contract.end),
            shown=lambda entry: "" if open_end(entry) else day(entry.contract.end - 1),
        ),
        Column("number", of=attrgetter("contract.number")),
        Column("added_by"),
        *withdrawn_columns(),
    ]
    nothing = _("There is no such contract; import some with 'desalink contracts import FILE'.")
    if show(app, Listing("contracts", columns, entries), form, nothing):
        app.note(counted(len(entries), "contract"))


@command.command("end")
@click.argument("id", metavar="ID")
@click.option("--on", "last", required=True, metavar="DAY", help="Its last day: 2026-10-14.")
@why_option
@by_option
@passphrase_option
@pass_app
def end(
    app: Application,
    id: str,
    last: str,
    why: str,
    by: str,
    passphrase_file: Path | None,
) -> None:
    """End a contract early, for example at a change of provider."""
    from host_tools.contracts.calendar import day_begin
    from host_tools.contracts.changes import end

    begin = day_begin(last)
    if begin is None:
        app.abort(_("'{last}' is not a day; give one such as 2026-10-14.").format(last=last))
    with app.registry() as registry:
        who = by
        sign_changes(app, registry, passphrase_file)
        contract = end(registry, id, begin + DAY_S, by=who, why=why, now=int(time.time()))
    click.echo(
        _("{slot}: {provider} ends on {date}.").format(
            slot=contract.slot, provider=contract.provider, date=day(begin)
        )
    )


@command.command("withdraw")
@click.argument("id", metavar="ID")
@why_option
@by_option
@passphrase_option
@pass_app
def withdraw(app: Application, id: str, why: str, by: str, passphrase_file: Path | None) -> None:
    """Withdraw a contract that was never right; it stays on record."""
    from host_tools.contracts.changes import withdraw

    with app.registry() as registry:
        who = by
        sign_changes(app, registry, passphrase_file)
        contract = withdraw(registry, id, by=who, why=why, now=int(time.time()))
    click.echo(
        _("{slot}: the contract with {provider} is withdrawn.").format(
            slot=contract.slot, provider=contract.provider
        )
    )
