"""Alert people of villages that are down, once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import (
    by_option,
    form_option,
    regency_option,
    since_option,
    user,
    village_option,
)
from host_tools.cli._output import show
from host_tools.cli._store import of_provider, place, village_code
from host_tools.common.i18n import _, speaking
from host_tools.common.times import parse_since, wita
from host_tools.listings.model import UNIX, Column, Listing, keyed_columns

if TYPE_CHECKING:
    from host_tools.alerts.places import AlertPlace
    from host_tools.alerts.records import AlertRecords
    from host_tools.alerts.settings import AlertSettings


@click.group()
def command() -> None:
    """Alert people of villages that are down, once.

    Rules, teams and channels stand in alerts.toml beside province.toml (docs/alerts.md).
    """


@contextmanager
def _opened(
    app: Application,
) -> Iterator[tuple[AlertSettings, AlertRecords, dict[str, AlertPlace]]]:
    from host_tools.alerts.places import places_of
    from host_tools.alerts.records import open_records
    from host_tools.alerts.settings import load_settings
    from host_tools.province.registry import Registry

    directory = app.province.directory
    settings = load_settings(directory)
    with Registry.open(directory) as registry, open_records(directory) as records:
        yield settings, records, places_of(registry, settings, time.time())


@command.command("run")
@pass_app
def run_(app: Application) -> None:
    """Watch the province and send alerts.

    It runs until it is stopped (Ctrl-C or SIGTERM). It can be killed at any time: what was not
    sent is sent once it runs again. Its log goes to standard error.
    """
    from host_tools.alerts.service import AlertService
    from host_tools.common.log import make_log

    service = AlertService(app.province, make_log())
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, service.stop) for number in signals]
    try:
        service.run()
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


@command.command("test")
@click.argument("channel", metavar="CHANNEL")
@pass_app
def test_(app: Application, channel: str) -> None:
    """Send a message by CHANNEL now."""
    from host_tools.alerts.channels import make_sender
    from host_tools.alerts.outbox import Outbox
    from host_tools.alerts.texts import trial

    with _opened(app) as (settings, records, _places):
        if channel not in settings.channels:
            known = ", ".join(settings.channels) or _("none")
            app.abort(
                _("alerts.toml has no channel '{name}' (there are: {known}).").format(
                    name=channel, known=known
                )
            )
        with speaking(settings.channels[channel].language):
            text = trial(channel)
        outbox = Outbox(records, lambda name: make_sender(settings, name, app.province.directory))
        outbox.send_now("test", channel, text, time.time())
    click.echo(_("Taken. See that it has arrived."))


@command.command("list")
@village_option
@regency_option
@since_option
@click.option("--messages", is_flag=True, help="Show the outbox instead.")
@form_option
@pass_app
def list_(
    app: Application,
    village: str | None,
    regency: str | None,
    since: str | None,
    messages: bool,
    form: str | None,
) -> None:
    """List the open alerts; with --since, also older ones."""
    start = parse_since(since)
    with _opened(app) as (_settings, records, places):
        if messages:
            _messages(app, records, start, form)
            return
        with app.registry() as registry:
            code = place(registry, village, regency) or ""
        alerts = records.alerts_since(time.time() if start is None else start)
        found = [(alert, records.members(alert.id)) for alert in alerts]
    if code:
        found = [(a, ms) for a, ms in found if any(m.member.startswith(code) for m in ms)]
    from host_tools.alerts.texts import title

    titles = {alert.id: title(alert, places) for alert, _members in found}
    rows = [
        asdict(alert) | {"members": [member._asdict() for member in members]}
        for alert, members in found
    ]
    columns = [
        *keyed_columns(rows),
        Column("", _("alert"), of=itemgetter("id"), right=True),
        Column("", _("rule"), of=itemgetter("rule")),
        Column("", _("what"), of=lambda record: titles[record["id"]]),
        Column("", _("state"), of=_state),
    ]
    show(app, Listing("alerts", columns, rows), form, _("No alert is open."))


def _state(record: dict[str, Any]) -> str:
    if record["merged_into"] is not None:
        return _("part of {number}").format(number=record["merged_into"])
    if record["closed_at"] is not None:
        return _("over since {time}").format(time=wita(record["closed_at"]))
    if record["acked_by"] is not None:
        return _("acknowledged by {name}").format(name=record["acked_by"])
    return _("not sent: known too late") if record["late"] else _("open")


def _messages(
    app: Application, records: AlertRecords, since: float | None, form: str | None
) -> None:
    messages = [
        message._asdict()
        for message in records.messages()
        if since is None or message.queued_at >= since
    ]
    columns = [
        *keyed_columns(messages),
        Column("", _("message"), of=itemgetter("id"), right=True),
        Column("", _("queued"), UNIX, itemgetter("queued_at")),
        Column("", _("channel"), of=itemgetter("channel")),
        Column("", _("state"), of=itemgetter("state")),
        Column("", _("subject"), of=itemgetter("subject")),
        Column("", _("error"), of=itemgetter("error")),
    ]
    show(app, Listing("messages", columns, messages), form)


@command.command("ack")
@click.argument("token", metavar="TOKEN|NUMBER")
@by_option
@pass_app
def ack_(app: Application, token: str, by: str) -> None:
    """Acknowledge an alert, so that it is not escalated.

    Give the token from the message, or here, on the province's own machine, the alert's number.
    """
    from host_tools.alerts.tokens import read_token

    with _opened(app) as (_settings, records, _places):
        number = int(token) if token.isdigit() else read_token(records, token)
        alert = records.alert(number)
        if alert is None:
            app.abort(_("There is no alert {number}.").format(number=number))
        with records.transaction():
            taken = records.acknowledge(number, by, int(time.time()))
        if taken:
            click.echo(_("Alert {number} is acknowledged.").format(number=number))
        elif alert.closed_at is not None:
            click.echo(_("Alert {number} is over already.").format(number=number))
        else:
            click.echo(
                _("{name} has acknowledged alert {number} already.").format(
                    name=alert.acked_by, number=number
                )
            )


@command.command("silence")
@click.argument("scope", type=click.Choice(("village", "district", "regency", "provider", "all")))
@click.argument("value", default="", metavar="[CODE|NAME]")
@click.option("--for", "length", default="1d", show_default=True, metavar="TIME", help="How long.")
@click.option("--why", required=True, metavar="TEXT", help="Why; the digest shows it.")
@click.option("--end", is_flag=True, help="End the silences of this place now.")
@pass_app
def silence_(app: Application, scope: str, value: str, length: str, why: str, end: bool) -> None:
    """Send no alerts of a place for a while.

    What is still down at the end is alerted then.
    """
    from host_tools.alerts.settings import seconds
    from host_tools.province.villages import find_regency

    now = int(time.time())
    with _opened(app) as (_settings, records, _places):
        with app.registry() as registry:
            if scope == "village":
                value = village_code(registry, value) or ""
            elif scope == "regency":
                value = find_regency(registry, value)
            elif scope == "provider":
                of_provider(registry, value)
            elif scope == "district" and not any(
                village.district_code == value for village in registry.villages()
            ):
                app.abort(_("'{code}' is not the code of a district.").format(code=value))
        with records.transaction():
            if end:
                for silence in records.silences(now):
                    if (silence.scope, silence.value) == (scope, value):
                        records.end_silence(silence.id, now)
                click.echo(_("Alerts are sent again."))
                return
            until = now + seconds(length)
            records.add_silence(scope, value, now, until, who=user(), why=why)
    click.echo(_("Nothing is sent until {time}.").format(time=wita(until)))


@command.command("digest")
@click.option("--send", is_flag=True, help="Put it into the outbox of the teams that want it.")
@pass_app
def digest_(app: Application, send: bool) -> None:
    """Show the digest of the last seven days.

    'desalink alerts run' sends it every Monday, 08:00 WITA, to teams with digest = true.
    """
    from host_tools.alerts.digest import digest_text, queue_digest

    now = int(time.time())
    with _opened(app) as (settings, records, places):
        if send:
            count = queue_digest(settings, records, places, now, name=f"by-hand-{now}")
            click.echo(_("{count} messages are in the outbox.").format(count=count))
            return
        click.echo(digest_text(records, places, now).body)
