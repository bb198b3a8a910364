"""List, show, retry and dismiss messages in quarantine and findings."""

from __future__ import annotations

import sys
import time
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import json_option, user, village_option
from host_tools.cli._output import print_json
from host_tools.cli._quarantine_advice import ADVICE
from host_tools.cli._store import labels, names, nothing_yet, reading, village_code
from host_tools.common.i18n import _
from host_tools.common.times import iso, wita
from host_tools.listings.model import CODE, TEXT, Column, Listing
from host_tools.listings.terminal import print_table

if TYPE_CHECKING:
    from host_tools.store.quarantine import Note, Quarantined
    from host_tools.store.queries import Finding


@click.group()
def command() -> None:
    """List, show, retry and dismiss messages in quarantine and findings."""


@command.command("list")
@village_option
@click.option("--reason", metavar="REASON", help="Only this reason, e.g. unknown_key or gap.")
@click.option("--all", "everything", is_flag=True, help="Also what is resolved or dismissed.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many."
)
@json_option
@pass_app
def list_(
    app: Application,
    village: str | None,
    reason: str | None,
    everything: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List messages in quarantine and findings.

    Messages have numbers; findings, in what is stored, have F and a number.
    """
    from host_tools.store.quarantine import Quarantine
    from host_tools.store.queries import count_findings, findings, overflow, slots

    if reason is not None and reason not in ADVICE:
        app.abort(
            _("There is no reason '{reason}'; choose one of {names}.").format(
                reason=reason, names=", ".join(sorted(ADVICE))
            )
        )
    with reading(app) as (registry, database):
        code = village_code(registry, village)
        named, shown = names(registry), labels(registry)
        if database is None:
            if as_json:
                print_json([])
            app.note(nothing_yet(registry))
            return
        messages, total = Quarantine(database).newest(
            limit, village=code, reason=reason, dismissed=everything
        )
        kinds = [reason] if reason else ()
        found = findings(
            database,
            kinds=kinds,
            village=code,
            resolved=everything,
            limit=None if as_json else limit,
        )
        total += count_findings(database, kinds=kinds, village=code, resolved=everything)
        beyond = overflow(database)
        seen = bool(slots(database))
    if as_json:
        print_json(
            [_message_json(m, named) for m in messages] + [_finding_json(f, named) for f in found]
        )
        return
    rows = [
        (
            str(m.id),
            m.reason,
            shown.get(m.slot[:10], "") or m.slot,
            m.kid.hex() if m.kid else "",
            wita(m.received_at),
            f"{m.times}x" + (_(", report {seq}").format(seq=m.seq) if m.seq else ""),
            _advice(m.reason),
        )
        for m in messages
    ] + [
        (
            f"F{f.id}",
            f.kind + (_(" (resolved)") if f.resolved_at else ""),
            shown.get(f.village, "") or f.slot,
            f.kid.hex(),
            wita(f.found_at),
            _extent(f),
            _advice(f.kind),
        )
        for f in found
    ]
    if rows:
        headings = (
            *(_("id"), _("reason"), _("village"), _("device"), _("time"), _("extent")),
            _("what to do"),
        )
        columns = [
            Column("", heading, CODE if number in (0, 3) else TEXT, itemgetter(number))
            for number, heading in enumerate(headings)
        ]
        print_table(Listing("quarantine", columns, rows))
    elif seen or total:
        app.note(_("Nothing is in quarantine, and nothing is wrong with what is stored."))
    else:
        with reading(app) as (registry, _database):
            app.note(nothing_yet(registry))
    hidden = total - len(messages) - len(found)
    if hidden:
        app.note(_("{hidden} more; see them with --limit or --reason.").format(hidden=hidden))
    for slot, why, count in beyond:
        app.note(
            _("{count} more messages ({reason}, {slot}) were beyond the bounds.").format(
                count=count, reason=why, slot=slot or _("no slot")
            )
        )


def _advice(reason: str) -> str:
    return _(ADVICE[reason][1]) if reason in ADVICE else ""


def _extent(finding: Finding) -> str:
    first, last = finding.first_seq, finding.last_seq
    extent = (
        _("report {first}").format(first=first)
        if first == last
        else _("reports {first} to {last}").format(first=first, last=last)
    )
    if finding.kind == "gap" and not finding.resolved_at:
        extent += _(", {missing} missing").format(missing=finding.missing)
    if finding.count > 1:
        extent += _(", {count} findings").format(count=finding.count)
    return extent


def _message_json(m: Quarantined, named: dict[str, str]) -> dict[str, Any]:

    return {
        "id": str(m.id),
        "reason": m.reason,
        "detail": m.detail,
        "slot": m.slot or None,
        "name": named.get(m.slot[:10]),
        "device": m.kid.hex() if m.kid else None,
        "time": iso(m.received_at),
        "last_time": iso(m.last_at),
        "times": m.times,
        "topic": m.topic,
        "bytes": len(m.payload),
        "first_seq": m.seq,
        "last_seq": m.seq,
        "what_to_do": _advice(m.reason),
    }


def _finding_json(f: Finding, named: dict[str, str]) -> dict[str, Any]:

    return {
        "id": f"F{f.id}",
        "reason": f.kind,
        "detail": f.detail,
        "slot": f.slot,
        "name": named.get(f.village),
        "device": f.kid.hex(),
        "time": iso(f.found_at),
        "resolved": iso(f.resolved_at),
        "stream": f.stream.hex(),
        "first_seq": f.first_seq,
        "last_seq": f.last_seq,
        "missing": f.missing,
        "what_to_do": _advice(f.kind),
    }


@command.command()
@click.argument("id_", metavar="ID")
@click.option("--payload", is_flag=True, help="Write a message's bytes to standard output.")
@json_option
@pass_app
def show(app: Application, id_: str, payload: bool, as_json: bool) -> None:
    """Show a message in quarantine, or a finding (F and a number)."""
    from host_tools.store.quarantine import Quarantine
    from host_tools.store.queries import finding

    wanted = id_.strip().upper()
    number = wanted.removeprefix("F")
    fields: dict[str, Any] | None = None
    with reading(app) as (registry, database):
        if database is not None and number.isdigit() and len(number) < 19:
            named = names(registry)
            if wanted.startswith("F"):
                found = finding(database, int(number))
                if found is not None:
                    fields = _finding_json(found, named)
            else:
                message = Quarantine(database).get(int(number))
                if message is not None:
                    if payload:
                        sys.stdout.buffer.write(message.payload)
                        return
                    fields = _message_json(message, named)
                    fields["payload"] = message.payload.hex()
    if fields is None:
        app.abort(
            _("There is nothing with id '{id}'; see 'desalink quarantine list'.").format(id=id_)
        )
    reason = str(fields["reason"])
    fields["meaning"] = _(ADVICE[reason][0]) if reason in ADVICE else None
    if as_json:
        print_json(fields)
        return
    columns = [
        Column("", _("field"), of=itemgetter(0)),
        Column("", _("value"), of=itemgetter(1)),
    ]
    print_table(Listing("entry", columns, list(fields.items())))


@command.command()
@pass_app
def retry(app: Application) -> None:
    """Try everything in quarantine again.

    After an enrolment or an update. While an ingest runs, it is asked to; else this command does
    it.
    """
    from host_tools.ingest.keys import RegistryKeys
    from host_tools.ingest.retry import request_retry, retry_now
    from host_tools.store import StoreLocked

    path = app.province.database
    keys = RegistryKeys(app.province.directory)
    try:
        outcome = retry_now(path, keys)
    except StoreLocked:
        request_retry(path)
        click.echo(_("The running ingest was asked to try again; see its log."))
        return
    finally:
        keys.close()
    click.echo(
        _(
            "{reports} reports and {births} births were stored; {left} messages stay in "
            "quarantine."
        ).format(reports=outcome.reports, births=outcome.births, left=outcome.left)
    )


@command.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(1))
@village_option
@click.option("--reason", metavar="REASON", help="All messages with this reason, e.g. replay.")
@click.option("--because", required=True, metavar="TEXT", help="Why; it is noted with your name.")
@pass_app
def dismiss(
    app: Application, ids: tuple[int, ...], village: str | None, reason: str | None, because: str
) -> None:
    """Dismiss messages, so that 'list' does not show them any more.

    Nothing is deleted. Give the numbers of messages, or a village or a reason.
    """
    from host_tools.store import open_database
    from host_tools.store.quarantine import Quarantine

    if not ids and village is None and reason is None:
        app.abort(_("Say which messages: give their numbers, --village or --reason."))
    with app.registry() as registry:
        code = village_code(registry, village)
    with open_database(app.province.database) as database:
        count = Quarantine(database).dismiss(
            _note(app, because), numbers=ids, village=code, reason=reason
        )
    click.echo(_("{count} messages were dismissed.").format(count=count))


@command.command()
@click.option("--because", required=True, metavar="TEXT", help="Why; it is noted with your name.")
@pass_app
def empty(app: Application, because: str) -> None:
    """Delete the messages that were dismissed.

    What counts as stored stays for good: devices no longer hold it.
    """
    from host_tools.store import open_database
    from host_tools.store.quarantine import Quarantine

    with open_database(app.province.database) as database:
        count, stay = Quarantine(database).empty(_note(app, because))
    click.echo(_("{count} messages were deleted.").format(count=count))
    if stay:
        app.note(_("{stay} dismissed messages count as stored, and stay.").format(stay=stay))


def _note(app: Application, because: str) -> Note:

    from host_tools.store.quarantine import Note

    why = because.strip()
    if not why or len(why) > 300 or not why.isprintable():
        app.abort(_("Give --because one line of 1 to 300 characters."))
    return Note(user(), why, int(time.time()))
