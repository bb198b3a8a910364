"""List, show, add and try the rules by which months are counted."""

from __future__ import annotations

import time
from fractions import Fraction
from operator import attrgetter, itemgetter
from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._options import by_option, form_option, month_option
from host_tools.cli._output import counted
from host_tools.cli._output import show as show_listing
from host_tools.cli._signing import sign_changes
from host_tools.cli._store import labels, reading
from host_tools.common.i18n import _
from host_tools.listings.model import CODE, Column, Listing


@click.group()
def command() -> None:
    """List, show, add and try the rules by which months are counted."""


@command.command("list")
@form_option
@pass_app
def list_(app: Application, form: str | None) -> None:
    """List the versions of the rules."""
    from host_tools.contracts.months import all_rules

    with app.registry() as registry:
        versions = all_rules(registry)
    columns = [
        Column("version", _("version"), right=True),
        Column("valid_from", _("valid from")),
        Column(
            "threshold_s",
            _("threshold"),
            shown=lambda rules: _("{seconds} s").format(seconds=rules.threshold_s),
        ),
        Column("restitution", _("restitution"), of=attrgetter("restitution.formula")),
        Column(
            "sha256",
            "SHA-256",
            of=attrgetter("digest"),
            shown=lambda rules: rules.digest[:16],
        ),
        Column("note", _("note")),
    ]
    show_listing(app, Listing("rules", columns, versions), form)


@command.command("show")
@click.argument("version", type=int, default=1)
@pass_app
def show(app: Application, version: int) -> None:
    """Print a version of the rules, as it was added.

    A new version can begin from it.
    """
    from host_tools.contracts.rules import first_text

    with app.registry() as registry:
        texts = {1: first_text()} | {row[0]: row[1] for row in registry.rule_documents()}
    if version not in texts:
        app.abort(
            _("There is no version {version}; see 'desalink rules list'.").format(version=version)
        )
    click.echo(texts[version], nl=False)


def _read(app: Application, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        app.abort(_("{file} is not a text in UTF-8; save it as one.").format(file=file))


@command.command("add")
@click.argument("file", type=PATH, metavar="FILE.toml")
@by_option
@passphrase_option
@pass_app
def add(app: Application, file: Path, by: str, passphrase_file: Path | None) -> None:
    """Add a version of the rules; months that are closed stay as they are."""
    from host_tools.contracts.closing import add_rules

    text = _read(app, file)
    with app.registry() as registry:
        sign_changes(app, registry, passphrase_file)
        rules = add_rules(registry, text, str(file), by=by, now=int(time.time()))
    click.echo(
        _("Rules {version} hold from {valid_from}.").format(
            version=rules.version, valid_from=rules.valid_from
        )
    )


@command.command("try")
@click.argument("file", type=PATH, metavar="FILE.toml")
@month_option
@form_option
@pass_app
def try_(app: Application, file: Path, month: str, form: str | None) -> None:
    """Show a month's figures under other rules; nothing is changed."""
    from host_tools.contracts.calendar import month_of
    from host_tools.contracts.months import compare_rules, rules_of
    from host_tools.contracts.rules import read_rules
    from host_tools.contracts.words import percent, rupiah

    other, when = read_rules(_read(app, file), str(file)), month_of(month)
    with reading(app) as (registry, database):
        rules = rules_of(registry, when)
        rows = compare_rules(registry, database, when, rules, other)
        named = labels(registry)
    columns = [
        Column("village", of=lambda row: row[0][:10]),
        Column("", _("village"), of=lambda row: named.get(row[0][:10])),
        Column("slot", _("slot"), CODE, itemgetter(0)),
        Column(
            "availability_percent",
            _("availability"),
            of=lambda row: _percent(row[1].availability),
            shown=lambda row: percent(row[1].availability),
            right=True,
        ),
        Column(
            "other_availability_percent",
            _("would be"),
            of=lambda row: _percent(row[2].availability),
            shown=lambda row: percent(row[2].availability),
            right=True,
        ),
        Column(
            "restitution",
            _("restitution"),
            of=lambda row: row[1].restitution,
            shown=lambda row: rupiah(row[1].restitution),
            right=True,
        ),
        Column(
            "other_restitution",
            _("would be (Rp)"),
            of=lambda row: row[2].restitution,
            shown=lambda row: rupiah(row[2].restitution),
            right=True,
        ),
    ]
    nothing = _("{name} would be the same.").format(name=when.name)
    if not show_listing(app, Listing("rules", columns, rows), form, nothing):
        return
    total = sum(row.restitution for _, row, _ in rows)
    then_total = sum(row.restitution for _, _, row in rows)
    app.note(
        _("{slots} would change; restitution of these {now} -> {then}.").format(
            slots=counted(len(rows), "slot"), now=rupiah(total), then=rupiah(then_total)
        )
    )


def _percent(share: Fraction | None) -> float | None:
    from host_tools.contracts.words import decimal

    return None if share is None else float(decimal(share))
