"""Print the labels of enrolled devices, or check a scanned one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import json_option
from host_tools.cli._output import print_json
from host_tools.common.i18n import _, ngettext, number

if TYPE_CHECKING:
    from host_tools.field.labels import Label
    from host_tools.province.registry import Device, Registry


@click.group(invoke_without_command=True)
@click.option(
    "--village",
    "villages",
    multiple=True,
    metavar="CODE",
    help="The devices of this village, e.g. 6403112001; repeatable.",
)
@click.option(
    "--regency", metavar="CODE|NAME", help="The devices of this regency, e.g. 6403 or Berau."
)
@click.option("--all", "everything", is_flag=True, help="Every device of the province.")
@click.option("--trip", is_flag=True, help="The devices that were enrolled on this laptop.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    metavar="FILE.pdf",
    help="Write the sheet here.",
)
@click.option(
    "--svg-dir",
    type=click.Path(path_type=Path, file_okay=False, readable=False),
    metavar="DIR",
    help="Write an SVG and a PNG of each label into this directory.",
)
@click.pass_context
def command(
    ctx: click.Context,
    villages: tuple[str, ...],
    regency: str | None,
    everything: bool,
    trip: bool,
    output: Path | None,
    svg_dir: Path | None,
) -> None:
    """Print the labels of enrolled devices, or check a scanned one.

    The sheet is A4 with 27 labels of 62 x 29 mm; print it at 100 %.
    """
    if ctx.invoked_subcommand is not None:
        return

    app = ctx.find_object(Application)
    assert app is not None
    if (bool(villages) + bool(regency) + everything + trip) != 1:
        app.abort(_("Choose the labels: --village CODE, --regency CODE, --all or --trip."), 2)
    if output is None and svg_dir is None:
        app.abort(_("Choose the output: -o SHEET.pdf, --svg-dir DIRECTORY or both."), 2)
    if trip:
        labels, title = _of_trip()
    else:
        with app.registry() as registry:
            labels, title = _chosen(registry, villages, regency)
            title = title or app.province.name
    if not labels:
        app.abort(
            _("No device of {where} is enrolled; enrol one first, then print its label.").format(
                where=title
            )
        )
    _write(app, labels, title, output, svg_dir)


def _chosen(
    registry: Registry, villages: tuple[str, ...], regency: str | None
) -> tuple[list[Label], str]:
    """The chosen labels in the order of slots, and their title."""
    from host_tools.province.registry import village_of
    from host_tools.province.villages import find_regency, find_village

    devices = registry.active_devices()
    title = ""
    if regency:
        code = find_regency(registry, regency)
        title = registry.regencies()[code]
        devices = [device for device in devices if device.slot.startswith(code)]
    if villages:
        wanted = {
            village.code: village for village in (find_village(registry, v) for v in villages)
        }
        title = ", ".join(f"{village.name} ({code})" for code, village in wanted.items())
        devices = [device for device in devices if village_of(device.slot) in wanted]
    return [_label(registry, device) for device in devices], title


def _label(registry: Registry, device: Device) -> Label:
    from host_tools.field.labels import Label
    from host_tools.province.registry import village_of

    village = registry.village(village_of(device.slot))
    assert village is not None, "every slot of the registry has its village"
    return Label(
        slot=device.slot,
        village_name=village.name,
        district=village.district,
        regency=village.regency,
        kid=device.kid.hex(),
        unique_id=device.unique_id,
        board=device.board,
    )


def _of_trip() -> tuple[list[Label], str]:
    """The labels of the opened kit's devices, and their title."""
    from host_tools.field.enrolments import EnrolmentLog
    from host_tools.field.labels import Label
    from host_tools.people.kits import KitDirectory, find_directory, passphrase

    directory = KitDirectory(find_directory())
    kit = directory.open(passphrase.existing())
    log = EnrolmentLog(directory.enrolments)
    filled = log.filled(kit)
    labels = [
        Label(
            slot=record.slot,
            village_name=kit.slots[record.slot].village.name,
            district=kit.slots[record.slot].village.district,
            regency=kit.slots[record.slot].village.regency,
            kid=record.device.hex(),
            unique_id=record.unique_id,
            board=record.board,
        )
        for record in {record.slot: record for record in log.records()}.values()
        if filled.get(record.slot) == record.device
    ]
    return labels, kit.technician


def _write(
    app: Application, labels: list[Label], title: str, output: Path | None, svg_dir: Path | None
) -> None:
    from host_tools.field.labels import write_label, write_sheet

    count = len(labels)
    if svg_dir is not None:
        for label in labels:
            write_label(label, svg_dir)
        app.note(
            ngettext(
                "{count} label is in {place} as SVG and PNG.",
                "{count} labels are in {place} as SVG and PNG.",
                count,
            ).format(count=number(count), place=svg_dir)
        )
    if output is not None:
        write_sheet(labels, output, title)
        app.note(
            ngettext(
                "{place} holds {count} label; print it at 100 %, not fitted to the page.",
                "{place} holds {count} labels; print it at 100 %, not fitted to the page.",
                count,
            ).format(count=number(count), place=output)
        )


@command.command()
@click.argument("text")
@json_option
@pass_app
def check(app: Application, text: str, as_json: bool) -> None:
    """Check the text of a scanned label against the registry.

    TEXT is the content of the QR code. Exit code 0 if this is the device in the slot.
    """
    from host_tools.field.labels import parse_qr

    scanned = parse_qr(text)
    with app.registry() as registry:
        device = registry.device_by_kid(bytes.fromhex(scanned.kid))
        if device is None:
            app.abort(
                _(
                    "The label of slot {slot} is well formed, but no device {kid} is enrolled "
                    "here; import the technician's enrolments, then check again."
                ).format(slot=scanned.slot, kid=scanned.kid)
            )
        if device.slot != scanned.slot:
            app.abort(
                _(
                    "Device {kid} belongs to slot {slot}, not to {other} as its label says; print "
                    "its label again with 'desalink labels --village {village}'."
                ).format(
                    kid=scanned.kid,
                    slot=device.slot,
                    other=scanned.slot,
                    village=device.slot.partition("-")[0],
                )
            )
        if not device.active:
            app.abort(
                _(
                    "Device {kid} of slot {slot} was revoked; remove the sticker and do not use "
                    "the device before it is enrolled again."
                ).format(kid=scanned.kid, slot=device.slot)
            )
        label = _label(registry, device)
    if as_json:
        print_json(asdict(label))
        return
    click.echo(
        _("This is the device of {village}, {district}, {regency}: slot {slot}, {board}.").format(
            village=label.village_name,
            district=label.district,
            regency=label.regency,
            slot=label.slot,
            board=label.board,
        )
    )
