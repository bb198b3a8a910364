"""Show how every village is now."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import Where, json_option, provider_option, where_options
from host_tools.cli._output import print_json
from host_tools.cli._status_table import counts_line
from host_tools.cli._store import nothing_yet, of_provider, place, reading, scope
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _, ngettext
from host_tools.common.times import iso, parse_since
from host_tools.states.words import is_down

if TYPE_CHECKING:
    from host_tools.office.expiry import End
    from host_tools.province.registry import Registry
    from host_tools.situation.overview import Overview
    from host_tools.store import Database
    from host_tools.store.queries import SlotStatus

# The exit codes of --check, as monitoring systems expect them.
WARNING, CRITICAL, UNKNOWN = 1, 2, 3


@click.command()
@where_options(provider_option)
@click.option(
    "--state",
    metavar="STATE",
    help="Only slots of this state: up, degraded, no_data, power, provider ..., down (any cause "
    "of being down), revoked, or empty (villages without a device).",
)
@click.option("--since", metavar="TIME", help="Only what changed since then: 2h, 7d, 2026-11-24.")
@click.option("--all", "everything", is_flag=True, help="Every slot, not only the problems.")
@click.option("--watch", is_flag=True, help="Show it again every few seconds, until q or Ctrl-C.")
@click.option(
    "--check",
    is_flag=True,
    help="For a monitoring system: one line, and exit code 0 (good), 1 (problems in villages, or "
    "a certificate ends within 90 days), 2 (ingest, broker or alerts do not run, no receipt was "
    "made for a day, or a certificate has ended) or 3 (not known).",
)
@click.option(
    "--tolerate",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="With --check: N slots may have a problem.",
)
@json_option
@pass_app
def command(
    app: Application,
    where: Where,
    state: str | None,
    since: str | None,
    everything: bool,
    watch: bool,
    check: bool,
    tolerate: int,
    as_json: bool,
) -> None:
    """Show how every village is now: counts, then the problems, the longest first.

    A village that has sent nothing for three report intervals shows "no data", whatever it was
    before. "session lost" is a hint of the broker: the device is not connected at the moment. In
    the table "today" is what went down and up since midnight WITA, "journal" how full the device's
    journal is, "backlog" how many reports the device still has to send, and "gaps" how many of
    them are missing in between.
    """
    if watch and (as_json or check):
        app.abort(_("--watch shows a table; run the command again and again instead."), 2)
    if check:
        _check(app, where, tolerate, as_json)
        return
    from host_tools.cli import _status_table

    start = parse_since(since)
    whole = everything or where.village is not None

    def load() -> tuple[Overview, list[SlotStatus]]:
        with reading(app) as (registry, database):
            found = _seen(registry, database, where)
        return found, _chosen(found, state, start, whole or as_json)

    if watch:
        from host_tools.cli._watch import watch as show_again

        show_again(load)
        return
    found, chosen = load()
    for sentence in found.ours():
        app.note(sentence)
    if as_json:
        print_json([_as_json(found, slot) for slot in chosen])
    else:
        _status_table.show(found, chosen)
        if found.size is not None and not (where.village or where.regency):
            app.note(_status_table.disk_line(found.size))
    if not found.heard():
        with scope(app, where) as its:
            app.note(nothing_yet(its.registry, its.village))


def _seen(registry: Registry, database: Database | None, where: Where) -> Overview:
    from host_tools.situation.overview import overview

    return overview(
        registry,
        database,
        time.time(),
        code=place(registry, where.village, where.regency) or "",
        chosen=of_provider(registry, where.provider),
    )


def _chosen(
    found: Overview, state: str | None, since: float | None, whole: bool
) -> list[SlotStatus]:
    from host_tools.states.table import EMPTY
    from host_tools.store.queries import SlotStatus

    slots = found.slots if whole or state else found.problems()
    if state == EMPTY:
        slots = [SlotStatus(v.code, v.code, EMPTY, None, False) for v in found.empty]
    elif state:
        wanted = state.replace("-", "_").replace(" ", "_").casefold()
        slots = [
            slot
            for slot in slots
            if slot.state == wanted or (wanted == "down" and is_down(slot.state))
        ]
    if since is not None:
        slots = [slot for slot in slots if slot.since is not None and slot.since >= since]
    return slots


def _check(
    app: Application,
    where: Where,
    tolerate: int,
    as_json: bool,
) -> None:

    from host_tools.office.expiry import warning

    try:
        with reading(app) as (registry, database):
            found = _seen(registry, database, where)
            soon = _ending(app, registry, database)
    except DesalinkError as error:
        app.abort(str(error), UNKNOWN)
    problems, ours = found.problems(), found.ours()
    code = 0
    if ours or (soon and soon[0].days < 0):
        code = CRITICAL
    elif soon or len(problems) > tolerate:
        code = WARNING
    word = ("OK", "WARNING", "CRITICAL")[code]
    said = list(ours)
    if soon:
        said.append(warning(soon))
    if as_json:
        print_json(
            {
                "result": word,
                "villages": found.villages,
                "installed": found.installed,
                "states": dict(found.counts()),
                "session_lost": len(found.lost),
                "problems": [slot.slot for slot in problems],
                "ingest_alive": iso(found.liveness.ingest if found.liveness else None),
                "broker_alive": iso(found.liveness.broker if found.liveness else None),
                "last_message": iso(found.liveness.message if found.liveness else None),
                "disk": asdict(found.size) if found.size else None,
                "ends_soon": [{"what": e.what, "ends": iso(e.at), "days": e.days} for e in soon],
                "said": said,
            }
        )
    else:
        click.echo(
            " ".join(
                [
                    ngettext(
                        "{word}: {count} problem.", "{word}: {count} problems.", len(problems)
                    ).format(word=word, count=len(problems)),
                    counts_line(found),
                    *said,
                ]
            )
        )
    if code:
        raise SystemExit(code)


def _ending(app: Application, registry: Registry, database: Database | None) -> list[End]:
    """What ends soon; nothing where a certificate is missing or may not be read, of which
    'crl check' speaks."""
    from host_tools.office.expiry import WARN_DAYS, ends
    from host_tools.store.queries import certificates

    try:
        # Only a renewed certificate has a predecessor that its device may still use.
        shown = certificates(database) if database and registry.renewals() else {}
        found = ends(app.province, registry, shown=shown)
    except (PermissionError, DesalinkError):
        return []
    return [end for end in found if end.days < WARN_DAYS]


def _as_json(found: Overview, slot: SlotStatus) -> dict[str, Any]:

    return {
        "slot": slot.slot,
        "village": slot.village,
        "name": found.names.get(slot.village),
        "state": slot.state,
        "since": iso(slot.since),
        "fresh": slot.fresh,
        "old": found.old_since is not None,
        "first_report_due": iso(slot.due),
        "session_lost_since": iso(found.lost.get(slot.slot)),
        "rtt_ms": slot.rtt_ms,
        "loss_percent": slot.loss_percent,
        "bytes_today": slot.bytes_today,
        "clients": slot.clients,
        "last_report": iso(slot.last_report),
        "journal_fill_percent": slot.journal_fill,
        "backlog": slot.backlog,
        "gaps": slot.gaps,
        "duplicates": slot.duplicates,
    }
