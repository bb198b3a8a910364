"""`kit open`, `kit show` and `kit verify`: a kit on a technician's laptop."""

from __future__ import annotations

import time
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.cli._options import form_option, json_option, kit_passphrase_option
from host_tools.cli._output import print_json
from host_tools.cli._output import show as show_listing
from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import _, ngettext, number
from host_tools.common.times import wita
from host_tools.listings.model import CODE, Column, Listing
from host_tools.listings.terminal import print_table

if TYPE_CHECKING:
    from host_tools.people.kits.check import KitCheck
    from host_tools.people.kits.model import Kit


@click.command("open")
@click.argument("file", type=PATH, metavar="FILE")
@click.option(
    "--to",
    type=PATH,
    metavar="DIR",
    help="Folder for it. [default: DESALINK_KIT, else ~/.local/share/desalink/kit]",
)
@kit_passphrase_option
@pass_app
def open_(app: Application, file: Path, to: Path | None, kit_passphrase_file: Path | None) -> None:
    """Put a kit on this laptop, for 'desalink provision'.

    It stays encrypted on the disk. Commands ask for its passphrase and decrypt it in memory only.
    The next kit of the same technician replaces it; the log of enrolments stays.
    """
    from host_tools.people.kits import KitDirectory, find_directory
    from host_tools.people.kits import passphrase as kit_passphrase
    from host_tools.people.kits.opened import read_kit_header, refuse_expired

    # Do not ask for the passphrase of an expired kit.
    refuse_expired(read_kit_header(file).expires, file)
    directory = KitDirectory(find_directory(to))
    kit = directory.put(file, kit_passphrase.existing(kit_passphrase_file))
    click.echo(
        ngettext(
            "The kit of {name} with {count} slot is open in {directory}, until {time}.",
            "The kit of {name} with {count} slots is open in {directory}, until {time}.",
            len(kit.slots),
        ).format(
            name=kit.technician,
            count=len(kit.slots),
            directory=directory.path,
            time=wita(kit.expires),
        )
    )
    click.echo(_("Next: 'desalink provision --village CODE', or 'desalink provision --batch'."))


@click.command()
@click.argument("kit", type=PATH, metavar="[FILE|DIR]", required=False)
@click.option("--left", is_flag=True, help="Only the slots without a device.")
@json_option
@kit_passphrase_option
@pass_app
def show(
    app: Application,
    kit: Path | None,
    left: bool,
    as_json: bool,
    kit_passphrase_file: Path | None,
) -> None:
    """Show what is in a kit: the opened one, or a file; no secrets.

    Of the opened one, it knows the devices that were enrolled on this laptop too.
    """
    from host_tools.field.enrolments import EnrolmentLog
    from host_tools.people.kits import KitDirectory, find_directory
    from host_tools.people.kits import passphrase as kit_passphrase
    from host_tools.people.kits.opened import kit_file, read_kit

    path = kit_file(find_directory(kit))
    opened = read_kit(path, kit_passphrase.existing(kit_passphrase_file))
    # Beside a kit's file there is no log: then it is what the province knew.
    devices = EnrolmentLog(KitDirectory(path.parent).enrolments).filled(opened)
    slots = [slot for name, slot in opened.slots.items() if not (left and name in devices)]
    columns = [
        Column("slot", _("slot"), CODE),
        Column("village", _("village"), of=attrgetter("village.name")),
        Column("district", _("district"), of=attrgetter("village.district")),
        Column("regency", _("regency"), of=attrgetter("village.regency")),
        Column(
            "filled_by",
            _("filled by"),
            of=lambda slot: devices[slot.slot].hex() if slot.slot in devices else None,
        ),
    ]
    listing = Listing("kit", columns, slots)
    if as_json:
        print_json(
            {
                "kit": opened.id.hex(),
                "province": opened.province_name,
                "technician": opened.technician,
                "created": opened.created,
                "expires": opened.expires,
                "broker": f"{opened.broker_host}:{opened.broker_port}",
                "slots": listing.records(),
                "firmware": sorted(opened.firmware),
                "agents": {board: r.version for board, r in opened.releases.items()},
            }
        )
        return
    for label, value in (
        (_("kit"), opened.id.hex()),
        (_("province"), opened.province_name),
        (_("technician"), opened.technician),
        (_("made"), wita(opened.created)),
        (_("until"), wita(opened.expires)),
        (_("broker"), f"{opened.broker_host}:{opened.broker_port}"),
        (_("firmware"), ", ".join(sorted(opened.firmware)) or "-"),
        (_("agents"), ", ".join(f"{b} {r.version}" for b, r in opened.releases.items()) or "-"),
    ):
        click.echo(f"{label + ':':<13}{value}")
    print_table(listing)
    if left:
        app.note(
            _("{done} of {count} slots have their device.").format(
                done=number(len(opened.slots) - len(slots)), count=number(len(opened.slots))
            )
        )


@click.command()
@click.argument("kit", type=PATH, metavar="[FILE|DIR]", required=False)
@form_option
@kit_passphrase_option
@pass_app
def verify(
    app: Application, kit: Path | None, form: str | None, kit_passphrase_file: Path | None
) -> None:
    """Verify a kit before a trip: the opened one, or a file.

    With a province (-C) it is compared with the province too. Exit code 1 if anything is wrong.
    """
    from host_tools.people.kits import find_directory
    from host_tools.people.kits import passphrase as kit_passphrase
    from host_tools.people.kits.check import check_kit
    from host_tools.people.kits.opened import kit_file, read_kit

    path = kit_file(find_directory(kit))
    known = _of_province(app) if _has_province(app) else {}
    opened = read_kit(path, kit_passphrase.existing(kit_passphrase_file))
    findings = list(check_kit(opened, **known))
    if known:
        findings.append(_on_record(app, opened))
    columns = [
        Column("what", _("what")),
        Column("held", _("result"), shown=_result),
        Column("detail", _("detail")),
    ]
    show_listing(app, Listing("kit", columns, findings), form)
    wrong = sum(not finding.held for finding in findings)
    if wrong:
        app.abort(
            _(
                "{wrong} of {all} things are wrong with {path}; ask the province for a new kit."
            ).format(wrong=wrong, all=len(findings), path=path)
        )


def _result(finding: KitCheck) -> str:
    if not finding.held:
        return _("WRONG")
    return _("CHECK") if finding.doubtful else _("good")


def _has_province(app: Application) -> bool:
    try:
        return (app.directory / "province.toml").exists()
    except ProvinceError:
        return False


def _on_record(app: Application, kit: Kit) -> KitCheck:
    from host_tools.people.kits.check import KitCheck

    with app.registry() as registry:
        state = next((e.state(time.time()) for e in registry.kits() if e.id == kit.id), None)
    return KitCheck(_("registry"), state == "valid", _(state) if state else _("no such kit"))


def _of_province(app: Application) -> dict[str, Any]:
    """What the province knows of its kits' content."""
    from host_tools.devices.boards import all_boards
    from host_tools.devices.firmware import FirmwareCache
    from host_tools.people.technicians import former_roots, root_public

    cache = FirmwareCache(app.province.directory / "firmware")
    pinned = [firmware for board in all_boards() if (firmware := cache.firmware(board))]
    return {
        "roots": [root_public(app.province), *former_roots(app.province)],
        "ca_pem": app.province.ca_certificate.read_bytes(),
        "firmware_hashes": {f.file: f.sha256 for f in pinned if f.sha256},
    }
