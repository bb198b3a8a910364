"""`device talk`, `device watch` and `device accept`: an installed device, on the spot."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import json_option, kit_option, kit_passphrase_option
from host_tools.cli._output import print_json
from host_tools.cli._site import measure_option, opened_kit, photo_option, show_site
from host_tools.common.i18n import _
from host_tools.common.times import clock_time, iso

if TYPE_CHECKING:
    from host_tools.field.talk.rounds import Round
    from host_tools.field.talk.visitor import Visitor

_where = click.argument("where", metavar="PORT|USER@HOST")


@contextmanager
def _visit(app: Application, where: str) -> Iterator[Visitor]:
    """A visit over a serial port or SSH; the agent starts again after it."""
    from host_tools.field.provision.ports import is_present
    from host_tools.field.talk.over_serial import visit_serial

    app.note(_("The agent of the device is interrupted now, and starts again at the end."))
    # What looks like a port is one, so that its error says that it is not there.
    if is_present(where) or re.fullmatch(r"/dev/.*|COM\d+", where, re.IGNORECASE):
        with visit_serial(where) as board:
            yield board
        return

    from host_tools.field.provision.ssh import SshConnection, Target
    from host_tools.field.talk import over_ssh

    def check(connection: SshConnection, unique_id: str) -> None:
        _check_host(app, connection, unique_id)

    with over_ssh.visit_ssh(Target.parse(where), check) as found:
        yield found


def _check_host(app: Application, connection: Any, unique_id: str) -> None:
    """Refuse another host key than the one that this laptop recorded when it provisioned."""
    from host_tools.field.provision.journal import DeviceJournal
    from host_tools.field.provision.ssh import HOST_KEY_FILE, check_host_key
    from host_tools.people.kits import find_directory
    from host_tools.people.kits.model import KitError

    try:
        folder = DeviceJournal(find_directory(), unique_id).directory
    except KitError:
        folder = None
    if folder is not None and (folder / HOST_KEY_FILE).exists():
        check_host_key(folder, connection, app.note)
        return
    app.note(
        _("This laptop has not provisioned {device}; its host key is {key}.").format(
            device=connection.target, key=connection.fingerprint
        )
    )


@click.command()
@_where
@json_option
@pass_app
def talk(app: Application, where: str, as_json: bool) -> None:
    """Ask a device for its state.

    Shows its link with the cause of an outage, Wi-Fi in reach, reports, clock, storage,
    certificate and log. Its agent is interrupted for about a minute. No secret is shown.
    """
    from host_tools.field.talk.about import lines, look

    with _visit(app, where) as visitor:
        said = look(visitor)
    if as_json:
        print_json(said)
        return
    for line in lines(said):
        click.echo(line)


@click.command()
@_where
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N rounds.")
@json_option
@pass_app
def watch(app: Application, where: str, count: int | None, as_json: bool) -> None:
    """Show a device's link live.

    Prints a line a round, to point an antenna: state, round trip, loss, signal. Ctrl-C ends it,
    and the agent starts again.
    """
    from host_tools.field.enrolments.site import named
    from host_tools.field.talk.rounds import one_round, test_province

    with _visit(app, where) as visitor:
        test_province(visitor)  # it joins the network
        done = 0
        while count is None or done < count:
            began = time.monotonic()
            found = one_round(visitor)
            done += 1
            now = time.time()
            if as_json:
                row = {"time": iso(now), "state": found.state, **named(found.figures)}
                click.echo(json.dumps(row))
            else:
                click.echo(f"{clock_time(now)}  {_round_text(found)}")
            time.sleep(max(0.0, 1 - (time.monotonic() - began)))


def _round_text(found: Round) -> str:
    from host_tools.field.enrolments.site import named
    from host_tools.field.talk.about import figure_lines
    from host_tools.states.words import state_sentence

    return "; ".join([state_sentence(found.state), *figure_lines(named(found.figures))])


@click.command()
@_where
@kit_option
@measure_option
@photo_option
@kit_passphrase_option
@pass_app
def accept(
    app: Application,
    where: str,
    kit_path: Path | None,
    seconds: int,
    photos: tuple[Path, ...],
    kit_passphrase_file: Path | None,
) -> None:
    """Measure a site and write its acceptance sheet.

    For a device that is installed. If this laptop has provisioned the device, the figures go into
    the log of enrolments too.
    """
    from host_tools.field.acceptance import check_photos
    from host_tools.field.acceptance.site import accept_site

    check_photos(photos)
    directory, kit = opened_kit(kit_path, kit_passphrase_file)

    def progress(share: float) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{share * 100:3.0f} %", err=True, nl=share >= 1)

    with _visit(app, where) as visitor:
        accepted = accept_site(visitor, directory, kit, seconds, photos, progress)
    show_site(accepted.site, accepted.sheet)
    if not accepted.recorded:
        app.note(
            _(
                "The figures are on the sheet only: another laptop has provisioned this device. "
                "Give the sheet to the office."
            )
        )
