"""Import, list, end and withdraw the contracts by which villages are paid for."""

from __future__ import annotations

import time
from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._options import (
    Where,
    by_option,
    contract_option,
    json_option,
    where_options,
    why_option,
)
from host_tools.cli._output import counted, print_json, print_table, withdrawn_cell
from host_tools.cli._signing import sign_changes
from host_tools.cli._store import labels, place
from host_tools.common.i18n import _, number
from host_tools.common.times import DAY_S, day, iso


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
@json_option
@pass_app
def list_(
    app: Application,
    where: Where,
    withdrawn: bool,
    as_json: bool,
) -> None:
    """List contracts."""
    from host_tools.contracts.table import OPEN_END

    with app.registry() as registry:
        code, provider = place(registry, where.village, where.regency) or "", where.provider
        named = labels(registry)
        found = [
            entry
            for entry in registry.contracts(withdrawn=withdrawn)
            if entry.contract.slot.startswith(code) and provider in (None, entry.contract.provider)
        ]
    if as_json:
        print_json(
            [
                {
                    "id": entry.id,
                    "slot": entry.contract.slot,
                    "provider": entry.contract.provider,
                    "product": entry.contract.product,
                    "medium": entry.contract.medium,
                    "mbps": entry.contract.mbps,
                    "price": entry.contract.price,
                    "target_percent": entry.contract.target_ppm / 10_000,
                    "excluded": list(entry.contract.excluded),
                    "hours_s": entry.contract.hours,
                    "begin": iso(entry.contract.begin),
                    "end": None if entry.contract.end == OPEN_END else iso(entry.contract.end),
                    "number": entry.contract.number,
                    "added_by": entry.added_by,
                    "withdrawn_at": iso(entry.withdrawn_at),
                    "withdrawn_by": entry.withdrawn_by,
                    "withdrawn_why": entry.withdrawn_why,
                }
                for entry in found
            ]
        )
        return
    if not found:
        app.note(
            _("There is no such contract; import some with 'desalink contracts import FILE'.")
        )
        return
    print_table(
        ("id", "village", "slot", "provider", "product", "Mbps", "rupiah", "target")
        + ("from", "to", "state"),
        [
            (
                entry.id,
                named.get(entry.contract.slot[:10], ""),
                entry.contract.slot,
                entry.contract.provider,
                entry.contract.product,
                str(entry.contract.mbps),
                number(entry.contract.price),
                f"{entry.contract.target_ppm / 10_000:g} %",
                day(entry.contract.begin),
                "" if entry.contract.end == OPEN_END else day(entry.contract.end - 1),
                withdrawn_cell(entry.withdrawn_at, entry.withdrawn_why),
            )
            for entry in found
        ],
        right=("Mbps", "rupiah", "target"),
        whole=("id", "slot", "from", "to"),
    )
    app.note(counted(len(found), "contract"))


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
