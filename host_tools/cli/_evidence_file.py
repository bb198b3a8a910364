"""The verbs that write an evidence file and check one."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.cli._options import Where, json_option, month_option, where_options
from host_tools.cli._output import counted, print_json, show_progress
from host_tools.cli._store import place, reading
from host_tools.common.i18n import _
from host_tools.common.sizes import size
from host_tools.common.times import day


@click.command("export")
@month_option
@click.option(
    "-o", "--output", type=PATH, required=True, metavar="FILE", help="The file to write."
)
@where_options(
    click.option(
        "--provider", metavar="NAME", help="Only villages with a contract of this provider."
    )
)
@json_option
@pass_app
def export(
    app: Application,
    month: str,
    output: Path,
    where: Where,
    as_json: bool,
) -> None:
    """Write the evidence of a month's figures into one file.

    The file holds the signed reports, the receipts, the office log, the trust documents and the
    rules. The command counts each figure again from them first. Whoever has the file and
    keys/root.pub can check it: with 'desalink evidence verify', or with docs/verify_evidence.py,
    which needs no Desalink.
    """
    from host_tools.contracts.calendar import month_of
    from host_tools.evidence.export import Exporter
    from host_tools.people.technicians import former_roots, root_public

    when = month_of(month)
    if sum(value is not None for value in where) > 1:
        app.abort(_("Give one of --village, --regency and --provider."), 2)
    with reading(app) as (registry, database):
        if database is None:
            app.abort(_("No report has come yet: there is nothing to export."))
        scope = {} if where.provider is None else {"provider": where.provider}
        code = place(registry, where.village, where.regency)
        if code is not None:
            scope = {"regency" if where.village is None else "village": code}
        province = app.province
        roots = [*former_roots(province), root_public(province)]
        exporter = Exporter(registry, database, province.name, roots, show_progress)
        done = exporter.export(output, when, scope, now=int(time.time()))
    show_progress("")
    if as_json:
        print_json(
            {
                "path": str(output),
                "bytes": output.stat().st_size,
                "reports": done.reports,
                "slots": done.slots,
                "sha256": done.digest,
                "head": done.head,
            }
        )
        return
    click.echo(
        _(
            "{output}: {reports} of {slots}, {size}. SHA-256: {digest}\nNewest receipt in it: "
            "{head}"
        ).format(
            output=output,
            reports=counted(done.reports, "report"),
            slots=counted(done.slots, "slot"),
            size=size(output.stat().st_size),
            digest=done.digest,
            head=done.head,
        )
    )


@click.command("verify")
@click.argument("file", type=PATH)
@click.option(
    "--root",
    "roots",
    type=PATH,
    required=True,
    multiple=True,
    metavar="FILE",
    help="The province's public root key (keys/root.pub), from a source that you trust.",
)
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="HEX",
    help="A head that the province has published; may be repeated.",
)
@json_option
def verify(file: Path, roots: tuple[Path, ...], heads: tuple[str, ...], as_json: bool) -> None:
    """Check an evidence file, and count its figures again.

    Needs no province. Names the first thing that is wrong, and ends with exit code 1.
    """
    from host_tools.contracts.words import rupiah
    from host_tools.evidence.documents import read_roots
    from host_tools.evidence.verify import verify

    for head in heads:
        if not re.fullmatch("[0-9A-Fa-f]{64}", head.strip()):
            raise click.UsageError(
                _("'{head}' is no head; give the 64 hexadecimal digits of one.").format(head=head)
            )
    found = verify(file, [key for path in roots for key in read_roots(path)], heads, show_progress)
    show_progress("")
    header, totals = found.header, found.totals
    if as_json:
        print_json(
            {
                "province": header.province,
                "month": header.month.name,
                "edition": header.edition,
                "scope": header.scope,
                "rules": found.rules.version,
                "reports": found.reports,
                "totals": totals,
                "sha256": found.digest,
                "head": found.head,
                "receipt": found.head_number,
                "not_proved": found.unproved,
            }
        )
        return
    scope = " ".join(f"{name} {value}" for name, value in header.scope.items())
    edition = _("not closed yet")
    if header.edition is not None:
        edition = _("edition {number}").format(number=header.edition)
    click.echo(
        _(
            "{name} of {province} ({scope}; {edition}, rules {version}): {slots}, {reports}. "
            "Every figure in the file follows from them.\nPrice {price}, restitution "
            "{restitution}.\nSHA-256 of the file: {digest}\nNewest receipt: {head_number}, up to "
            "{date}, head {head}"
        ).format(
            name=header.month.name,
            province=header.province,
            scope=scope or _("all"),
            edition=edition,
            version=found.rules.version,
            slots=counted(totals["slots"], "slot"),
            reports=counted(found.reports, "report"),
            price=rupiah(totals["price"]),
            restitution=rupiah(totals["restitution"]),
            digest=found.digest,
            head_number=found.head_number,
            date=day(found.head_end),
            head=found.head,
        )
    )
    for sentence in found.unproved:
        click.echo(_("Not proved: {sentence}").format(sentence=sentence))
