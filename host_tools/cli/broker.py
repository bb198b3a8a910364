"""Configure, run and check the MQTT broker (Mosquitto)."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli import Application, pass_app, passphrase_option
from host_tools.cli._options import form_option
from host_tools.cli._output import show
from host_tools.cli._signing import open_authority
from host_tools.common import passphrase
from host_tools.common.errors import BrokerError
from host_tools.common.i18n import _
from host_tools.listings.model import Column, Listing

if TYPE_CHECKING:
    from host_tools.broker.process import BrokerProcess

_port_option = click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Instead of the port in province.toml.",
)


@click.group()
def command() -> None:
    """Configure, run and check the MQTT broker (Mosquitto >= 2.0)."""


@command.command()
@_port_option
@passphrase_option
@pass_app
def config(app: Application, port: int | None, passphrase_file: Path | None) -> None:
    """Write mosquitto.conf and the ACL.

    Renews the broker's certificate and the revocation list as well where they have to be: hosts
    changed in province.toml, or an end in sight. That needs the passphrase.
    """
    from host_tools.broker import upkeep
    from host_tools.broker.config import write_config
    from host_tools.broker.process import running_pid

    province = app.province
    with app.registry() as registry:
        state = upkeep.inspect(province, registry)
        if state:
            app.note(
                _("To be renewed: {names}.").format(names="; ".join(state.broken + state.due))
            )
            authority = open_authority(app, passphrase.existing(passphrase_file))
            upkeep.renew(province, registry, authority)
            click.echo(_("The broker's certificate and the revocation list are renewed."))
    files = write_config(province, port=port)
    click.echo(_("Written: {config} and {acl}.").format(config=files.config, acl=files.acl))
    if running_pid(files) is not None:
        app.note(_("The broker runs with the settings from before; restart it."))


@command.command()
@_port_option
@pass_app
def run(app: Application, port: int | None) -> None:
    """Run the broker in the foreground until Ctrl-C.

    The command first writes the broker's configuration again. SIGTERM ends the broker in good
    order; on SIGHUP it reads certificates, revocation list and ACL again.
    """
    from host_tools.broker import upkeep
    from host_tools.broker.config import runs_as_root, write_config
    from host_tools.broker.process import BrokerProcess
    from host_tools.broker.revoked import catch_up

    province = app.province
    with app.registry() as registry:
        for sentence in catch_up(province, registry):
            app.note(sentence)
        villages = len(registry.villages())
        state = upkeep.inspect(province, registry)
    repair = _("renew it with 'desalink broker config'")
    if state.broken:
        app.abort(
            _("No device could connect: {names}; {repair}.").format(
                names="; ".join(state.broken), repair=repair
            )
        )
    if state.due:
        app.note(
            _("Attention: {names}; {repair}.").format(names="; ".join(state.due), repair=repair)
        )
    process = BrokerProcess(province, port=port)
    process.check()
    write_config(province, port=port)
    if runs_as_root(province):
        app.note(
            _(
                "The broker runs as root, because the province belongs to root; better give the "
                "province to a user of its own with chown and run it as that user."
            )
        )
    ending: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        if number != signal.SIGHUP:
            ending.append(number)
        process.signal(number)

    # Before it starts: a signal in between must not leave it behind.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    warning = process.start(villages)
    if warning:
        app.note(warning)
    if not _serves(app, process, villages, ending):
        return
    app.note(
        _("The broker of {name} listens on port {port} (process {pid}); Ctrl-C ends it.").format(
            name=province.name, port=process.port, pid=process.pid
        )
    )
    code = process.wait()
    if code and not ending:
        app.abort(_("Mosquitto ended with code {code}; its log says why.").format(code=code))


def _serves(app: Application, process: BrokerProcess, villages: int, ending: list[int]) -> bool:
    """Wait until the broker serves, if need be without what it remembers; False: it is to end."""

    moved = None
    while True:
        try:
            if moved is not None:
                process.start(villages)
                for number in ending[:1]:
                    process.signal(number)  # it came when there was nobody to take it
            process.wait_ready()
            break
        except BrokerError:
            if moved is None and not ending:
                moved = process.set_memory_aside()
                if moved is not None:
                    continue
            process.stop()
            if moved is not None:
                moved[1].replace(moved[0])  # that was not why
            if ending:
                return False
            raise
    if moved is not None:
        app.note(
            _(
                "Mosquitto could not read what it had saved, and has started with an empty "
                "memory; the file is now {moved} and may be deleted. No report is lost: the "
                "devices send again what only the broker had."
            ).format(moved=moved[1])
        )
    return True


@command.command()
@_port_option
@form_option
@passphrase_option
@pass_app
def check(
    app: Application, port: int | None, form: str | None, passphrase_file: Path | None
) -> None:
    """Prove the running broker's rules by delivery.

    Slots that exist only for this test try what is forbidden, and compare what arrives. The rule
    about revoked certificates is tried only if the passphrase is given (--passphrase-file or
    DESALINK_PASSPHRASE). Exit code 1 if any rule does not hold.
    """
    from host_tools.broker.check import Check
    from host_tools.broker.config import configured_port

    province = app.province
    port = port or configured_port(province)
    secret = passphrase.given(passphrase_file)
    authority = None if secret is None else open_authority(app, secret)
    with app.registry() as registry:
        results = list(Check(province, registry, port=port, authority=authority).run())
    words = {True: _("holds"), False: _("BROKEN"), None: _("skipped")}
    columns = [
        Column("rule", _("rule")),
        Column("held", _("result"), shown=lambda result: words[result.held]),
        Column("detail", _("detail")),
    ]
    show(app, Listing("rules", columns, results), form)
    broken = sum(result.held is False for result in results)
    if broken:
        app.abort(
            _(
                "{broken} of {count} rules do not hold; run 'desalink broker config', restart the "
                "broker and check again before any device is connected."
            ).format(broken=broken, count=len(results))
        )
