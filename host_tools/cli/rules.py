"""List, show, add and try the rules by which months are counted."""

from __future__ import annotations

import time
from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._options import by_option, month_option
from host_tools.cli._output import counted, print_table
from host_tools.cli._signing import sign_changes
from host_tools.cli._store import labels, reading
from host_tools.common.i18n import _


@click.group()
def command() -> None:
    """List, show, add and try the rules by which months are counted."""


@command.command("list")
@pass_app
def list_(app: Application) -> None:
    """List the versions of the rules."""
    from host_tools.contracts.months import all_rules

    with app.registry() as registry:
        versions = all_rules(registry)
    print_table(
        ("version", "valid from", "threshold", "restitution", "SHA-256", "note"),
        [
            (
                str(rules.version),
                rules.valid_from,
                _("{seconds} s").format(seconds=rules.threshold_s),
                rules.restitution.formula,
                rules.digest[:16],
                rules.note,
            )
            for rules in versions
        ],
        right=("version",),
    )


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
@pass_app
def try_(app: Application, file: Path, month: str) -> None:
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
    if not rows:
        app.note(_("{name} would be the same.").format(name=when.name))
        return
    print_table(
        ("village", "slot", "availability", "would be", "restitution", "would be (Rp)"),
        [
            (
                named.get(slot[:10], ""),
                slot,
                percent(now.availability),
                percent(then.availability),
                rupiah(now.restitution),
                rupiah(then.restitution),
            )
            for slot, now, then in rows
        ],
        right=("availability", "would be", "restitution", "would be (Rp)"),
        whole=("slot",),
    )
    total = sum(row.restitution for _, row, _ in rows)
    then_total = sum(row.restitution for _, _, row in rows)
    app.note(
        _("{slots} would change; restitution of these {now} -> {then}.").format(
            slots=counted(len(rows), "slot"), now=rupiah(total), then=rupiah(then_total)
        )
    )
