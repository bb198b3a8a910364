"""Make a board the device of a village: firmware, agent, key, test, enrolment, label."""

from __future__ import annotations

from dataclasses import replace as changed
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.cli._options import kit_option, kit_passphrase_option, slot_number_option
from host_tools.cli._site import measure_option, opened_kit, photo_option, show_site
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _, ngettext

if TYPE_CHECKING:
    from host_tools.field.provision.flow import Plan, Provisioning
    from host_tools.field.provision.screen import BoardRow, ProvisionScreen


@click.command()
@click.option(
    "--village",
    "code",
    metavar="CODE",
    help="Village code, e.g. 6403112001, or the name of a village of the kit.",
)
@slot_number_option
@click.option(
    "--port",
    metavar="PORT",
    help="Serial port, or a pattern such as '/dev/ttyUSB*' with --batch. [default: found]",
)
@click.option("--board", metavar="NAME", help="Kind of board. [default: found by its chip]")
@kit_option
@click.option(
    "--work",
    type=PATH,
    metavar="DIR",
    help="Folder for journals and labels of devices. [default: the opened kit's]",
)
@click.option(
    "--offline",
    is_flag=True,
    help="The device's network is elsewhere; continue if it can't be reached.",
)
@click.option("--replace", is_flag=True, help="The board replaces the device in the slot.")
@click.option(
    "--wifi", metavar="SSID", help="Another Wi-Fi network than the kit's; its password is asked."
)
@click.option(
    "--set",
    "pairs",
    type=(str, str),
    multiple=True,
    metavar="KEY VALUE",
    help="Another setting than the kit's, e.g. link.interface wlan0; may be repeated.",
)
@click.option(
    "--settings-only",
    is_flag=True,
    help="The device is installed: write only its settings, not firmware and agent.",
)
@click.option("--batch", is_flag=True, help="Several boards side by side, as they are plugged in.")
@click.option(
    "--villages",
    metavar="CODES",
    help="With --batch: villages to deal, in this order, with commas. [default: all of the kit]",
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="With --batch: end after N boards."
)
@click.option(
    "--ask", is_flag=True, help="With --batch: ask for the village of each board instead."
)
@click.option("--ssh", "target", metavar="USER@HOST", help="A Linux device over SSH.")
@click.option(
    "--site",
    is_flag=True,
    help="The device is in its village: measure the site and write the acceptance sheet.",
)
@measure_option
@photo_option
@kit_passphrase_option
@pass_app
def command(
    app: Application,
    code: str | None,
    number: int,
    port: str | None,
    board: str | None,
    kit_path: Path | None,
    work: Path | None,
    offline: bool,
    replace: bool,
    wifi: str | None,
    pairs: tuple[tuple[str, str], ...],
    settings_only: bool,
    batch: bool,
    villages: str | None,
    count: int | None,
    ask: bool,
    target: str | None,
    site: bool,
    seconds: int,
    photos: tuple[Path, ...],
    kit_passphrase_file: Path | None,
) -> None:
    """Make a board the device of a village, from an opened kit; no network is needed.

    It can be interrupted at any moment and run again: finished steps are kept.
    """

    if batch == (code is not None):
        raise click.UsageError(_("Give --village CODE for one board, or --batch for several."))
    if not batch and (villages is not None or count is not None or ask):
        raise click.UsageError(_("--villages, --count and --ask are for --batch."))
    if batch and (wifi is not None or pairs or settings_only or site):
        raise click.UsageError(_("--wifi, --set, --settings-only and --site are for one device."))
    if photos and not site:
        raise click.UsageError(_("--photo is for the acceptance sheet: add --site."))
    if villages is not None and ask:
        raise click.UsageError(_("Give --villages to deal them, or --ask to be asked; not both."))
    if target is not None and (batch or port is not None):
        raise click.UsageError(_("--ssh is for one device, without --port and --batch."))
    if board is not None and target is None:
        from host_tools.devices.boards import load_board

        if load_board(board).transport == "ssh":
            raise click.UsageError(
                _("{board} is set up over SSH: give its address with --ssh USER@HOST.").format(
                    board=board
                )
            )

    from host_tools.field.acceptance import check_photos
    from host_tools.field.provision.corrections import ask_wifi, read_corrections

    check_photos(photos)
    plan = changed(
        _plan(kit_path, work, kit_passphrase_file, board, offline, replace),
        corrections=read_corrections(pairs, ask_wifi(wifi) if wifi is not None else None),
        settings_only=settings_only,
        measure_s=seconds if site else 0,
        photos=photos,
    )
    if batch:
        _several(app, plan, port, villages, count, ask)
        return
    assert code is not None
    from host_tools.field.provision.dealer import slot_in_kit

    slot = slot_in_kit(plan.kit, code, number)
    if target is not None:
        _remote(app, plan, target, slot)
    else:
        _one(app, plan, port, slot)


def _plan(
    kit_path: Path | None,
    work: Path | None,
    passphrase_file: Path | None,
    board: str | None,
    offline: bool,
    replace: bool,
) -> Plan:
    """The opened kit, with the folders of journals and enrolments."""
    from host_tools.field.enrolments import EnrolmentLog
    from host_tools.field.provision.flow import Plan

    directory, kit = opened_kit(kit_path, passphrase_file)
    return Plan(
        kit=kit,
        work=work or directory.path,
        log=EnrolmentLog(directory.enrolments),
        board=board,
        offline=offline,
        replace=replace,
    )


def _one(app: Application, plan: Plan, port: str | None, slot: str) -> None:
    from host_tools.field.provision.flow import Provisioning
    from host_tools.field.provision.ports import one_port
    from host_tools.field.provision.screen import ProvisionScreen
    from host_tools.field.provision.serial_device import over_cable

    screen = ProvisionScreen()
    where = one_port(port)
    row = screen.row(where)
    connect = partial(over_cable, where)
    _watched(app, screen, row, Provisioning(plan, where, connect, lambda mac: slot, row))


def _remote(app: Application, plan: Plan, target: str, slot: str) -> None:
    from host_tools.field.provision.flow import Provisioning
    from host_tools.field.provision.linux import over_ssh
    from host_tools.field.provision.screen import ProvisionScreen
    from host_tools.field.provision.ssh import Target

    screen = ProvisionScreen()
    row = screen.row(target)
    connect = partial(over_ssh, Target.parse(target), app.note)
    _watched(app, screen, row, Provisioning(plan, target, connect, lambda unique_id: slot, row))


def _watched(app: Application, screen: ProvisionScreen, row: BoardRow, work: Provisioning) -> None:
    """Show the work, and the path of the label."""
    from host_tools.field.provision.batch import result_text

    with screen.shown():
        try:
            result = work.run()
        except KeyboardInterrupt:
            app.note(_("Interrupted. Run the same command again: it continues where it stopped."))
            raise
        row.end(result_text(result, None), failed=False)
    click.echo(_("Print its label and put it on the device: {path}").format(path=result.label))
    if result.site is not None and result.sheet is not None:
        show_site(result.site, result.sheet)


def _several(
    app: Application,
    plan: Plan,
    pattern: str | None,
    villages: str | None,
    count: int | None,
    ask: bool,
) -> None:
    from host_tools.field.provision.batch import BatchProvisioning
    from host_tools.field.provision.dealer import slot_in_kit
    from host_tools.field.provision.screen import ProvisionScreen

    if villages is None:
        slots = list(plan.kit.slots)
    else:
        codes = [code for code in villages.split(",") if code.strip()]
        slots = [slot_in_kit(plan.kit, code) for code in codes]
    screen = ProvisionScreen()
    work = BatchProvisioning(plan, slots, pattern, count, screen, ask)
    with screen.shown():
        try:
            work.run()
        except KeyboardInterrupt:
            work.stop()
            app.note(_("No more boards are taken; Ctrl-C again stops the running ones too."))
            work.wait()
    if not work.results:
        return
    click.echo(_("The result for each board: {path}").format(path=work.summary))
    if work.failed:
        raise DesalinkError(
            ngettext(
                "{count} board is not done; the table says what to do with it.",
                "{count} boards are not done; the table says what to do with each.",
                work.failed,
            ).format(count=work.failed)
        )
