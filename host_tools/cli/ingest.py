"""Receive, verify, store and acknowledge what the devices report."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import click

from host_tools.cli import Application, pass_app
from host_tools.common.errors import BrokerError, KeyFileError
from host_tools.common.i18n import _

if TYPE_CHECKING:
    from host_tools.ingest import BrokerAddress


@click.command()
@click.option(
    "--broker",
    metavar="HOST:PORT",
    help="Where the broker is, if not on this machine.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Serve figures for Prometheus at http://127.0.0.1:PORT/metrics.",
)
@click.option(
    "--ack-reports",
    type=click.IntRange(1),
    default=24,
    show_default=True,
    metavar="N",
    help="Acknowledge what is stored after N reports of a device,",
)
@click.option(
    "--ack-seconds",
    type=click.FloatRange(1),
    default=7200,
    show_default=True,
    metavar="S",
    help="or S seconds after the first of them.",
)
@click.option(
    "--until-idle",
    type=click.FloatRange(0),
    metavar="S",
    help="End once nothing has come for S seconds and all is derived.",
)
@click.option(
    "--rebuild",
    is_flag=True,
    help="First verify all reports and derive everything again, also while an ingest runs.",
)
@click.option(
    "--accept-clock",
    is_flag=True,
    help="Begin although this machine's clock is behind what is stored, because it is right now.",
)
@pass_app
def command(
    app: Application,
    broker: str | None,
    metrics_port: int | None,
    ack_reports: int,
    ack_seconds: float,
    until_idle: float | None,
    rebuild: bool,
    accept_clock: bool,
) -> None:
    """Receive, verify, store and acknowledge what the devices report.

    Runs until it is stopped (Ctrl-C or SIGTERM), and finishes the batch that it has begun. It may
    be killed at any time: what was not confirmed comes again. The log goes to standard error, one
    event a line.
    """
    from host_tools.ingest import Ingest, Options
    from host_tools.ingest.keys import RegistryKeys
    from host_tools.ingest.receipting import ProvinceReceipts

    if rebuild and _rebuild(app):
        return
    _catch_up(app)
    keys = RegistryKeys(app.province.directory)
    try:
        ingest = Ingest(
            app.province.database,
            keys,
            _broker(app, broker),
            Options(
                ack_reports=ack_reports,
                ack_seconds=ack_seconds,
                metrics_port=metrics_port,
                until_idle_s=until_idle,
                accept_clock=accept_clock,
            ),
            receipts=ProvinceReceipts(app.province),
        )
        signals = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, lambda *_signal: ingest.stop()) for number in signals]
        try:
            ingest.run()
        except BrokerError as error:
            if not rebuild:
                raise
            app.note(str(error))  # what was asked for first is done
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)
    finally:
        keys.close()


def _catch_up(app: Application) -> None:
    """An older registry that was put back by hand must not let a revoked device report again."""
    from host_tools.broker.revoked import catch_up

    with app.registry() as registry:
        try:
            for sentence in catch_up(app.province, registry):
                app.note(sentence)
        except KeyFileError as error:
            app.note(str(error))  # no reason to leave reports waiting


def _broker(app: Application, text: str | None) -> BrokerAddress:
    from host_tools.broker.config import configured_port
    from host_tools.ingest import BrokerAddress
    from host_tools.province.settings import check_host, check_port

    province = app.province
    host, port = province.broker.local_host, configured_port(province)
    if text is not None:
        name, _colon, number = text.rpartition(":")
        if not name or not number.isdigit():
            app.abort(
                _("'{text}' is not HOST:PORT; give for example broker.example.go.id:8883.").format(
                    text=text
                )
            )
        host, port = check_host(name.strip("[]")), check_port(int(number))
    return BrokerAddress(host, port, province.service("ingest"))


def _rebuild(app: Application) -> bool:
    """Make everything derived again; returns whether another ingest works on the database."""
    from host_tools.derive import rebuild
    from host_tools.ingest.keys import RegistryKeys
    from host_tools.store import StoreLocked, lock, open_database

    shown = [time.monotonic()]

    def progress(done: int, total: int) -> None:
        if time.monotonic() - shown[0] > 2:
            shown[0] = time.monotonic()
            app.note(_("{done} of {total} reports derived again").format(done=done, total=total))

    path = app.province.database
    keys = RegistryKeys(app.province.directory)
    # A lock of its own: it works beside a running ingest.
    with lock(path.with_name(path.name + ".rebuild")), open_database(path) as database:
        count = rebuild(database, keys.load(), progress)
    keys.close()
    app.note(_("{count} reports derived again.").format(count=count))
    try:
        with lock(path):
            return False
    except StoreLocked:
        app.note(_("The running ingest continues with it."))
        return True
