"""Pack, open, show, verify and revoke technicians' kits."""

from __future__ import annotations

import getpass
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._asking import confirm, yes_option
from host_tools.cli._output import counted, print_json, print_table
from host_tools.common import passphrase
from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import _, ngettext, number
from host_tools.common.times import wita

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.people.kits.check import KitCheck
    from host_tools.people.kits.create import Cargo
    from host_tools.people.kits.model import Kit
    from host_tools.province.records import KitEntry
    from host_tools.province.registry import Registry
    from host_tools.province.settings import Province

_kit_passphrase_option = click.option(
    "--kit-passphrase-file",
    type=PATH,
    metavar="FILE",
    help=_(
        "Read the kit's passphrase from the first line of FILE (else DESALINK_KIT_PASSPHRASE, "
        "else asked)."
    ),
)
_json_option = click.option("--json", "as_json", is_flag=True, help=_("As JSON."))


@click.group()
def command() -> None:
    """Pack, open, show, verify and revoke technicians' kits.

    A kit is one encrypted file with all that a technician needs on a trip: certificates and
    settings of the villages' devices, firmware, the agent, and the key that countersigns
    enrolments. It has its own passphrase; send it separately from the kit.
    """


# ---- on the province's side --------------------------------------------------------------


@command.command()
@click.option(
    "--villages",
    multiple=True,
    metavar="CODES",
    help="Codes of villages or slots, with commas between; may be repeated.",
)
@click.option("--regency", metavar="CODE|NAME", help="Every village of a regency.")
@click.option("--technician", "name", required=True, metavar="NAME", help="Who gets it.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=PATH,
    metavar="FILE",
    help="Where to write the kit.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 365),
    default=30,
    show_default=True,
    help="When it expires.",
)
@click.option(
    "--settings",
    "settings_file",
    type=PATH,
    metavar="FILE",
    help="Settings of devices, TOML or JSON: Wi-Fi networks, sources ... (docs/provisioning.md).",
)
@click.option(
    "--board",
    "boards",
    multiple=True,
    metavar="BOARD",
    help="Pack a board's firmware and agent; may be repeated.",
)
@click.option("--firmware", "old_boards", multiple=True, hidden=True)
@_kit_passphrase_option
@passphrase_option
@pass_app
def create(
    app: Application,
    villages: tuple[str, ...],
    regency: str | None,
    name: str,
    output: Path,
    days: int,
    settings_file: Path | None,
    boards: tuple[str, ...],
    old_boards: tuple[str, ...],
    kit_passphrase_file: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Pack a kit for a technician's trip.

    Its certificates are in the registry first, so that a lost kit can be revoked
    completely ('desalink kit revoke'). The private keys of root and CA are not in it.
    """
    from host_tools.broker.services import renew_services
    from host_tools.keys.ca import Authority
    from host_tools.keys.root import load_root_key
    from host_tools.people import technicians
    from host_tools.people.kits import book
    from host_tools.people.kits import passphrase as kit_passphrase
    from host_tools.people.kits.check import is_loopback
    from host_tools.people.kits.create import chosen_slots, create_kit, write_kit
    from host_tools.people.office_pen import open_office
    from host_tools.province.registry import Registry

    province = app.province
    if old_boards:
        boards += old_boards
        app.note(_("--firmware takes the name of a board, not a file; it is now called --board."))
    codes = [code for text in villages for code in text.split(",") if code.strip()]
    if output.exists():
        app.abort(
            _("{output} exists already; choose another name, or remove it first.").format(
                output=output
            )
        )
    # Before certificates are issued for a kit that can't be written.
    if not output.parent.is_dir():
        app.abort(
            _("There is no directory {parent}; make it, or choose another folder.").format(
                parent=output.parent
            )
        )
    if not os.access(output.parent, os.W_OK):
        app.abort(
            _("You have no permission to write into {parent}; choose another folder.").format(
                parent=output.parent
            )
        )
    with Registry.open(province.directory) as registry:
        slots = chosen_slots(registry, codes, regency)
        technician = technicians.find(registry, name)
        cargo = _cargo(province, settings_file, boards, slots)
        secret = passphrase.existing(passphrase_file)
        root = load_root_key(province.root_key, secret)
        authority = Authority.load(province.ca_key, province.ca_certificate, secret)
        open_office(province, registry, secret)
        renew_services(province, registry, authority)  # while the CA's key is open
        key = technicians.load_key(province, technician, secret)
        own_secret = kit_passphrase.new(kit_passphrase_file)
        if own_secret == secret:
            app.abort(
                _("The kit needs a passphrase of its own, not the province's; choose another.")
            )
        kit = create_kit(
            province,
            registry,
            authority=authority,
            root=root,
            technician=technician,
            technician_key=key,
            slots=slots,
            cargo=cargo,
            days=days,
        )
        filled = [slot for slot in slots if kit.device_of_slot(slot)]
    try:
        write_kit(kit, root, output, own_secret)
    except OSError:
        # The kit has no file, so it must not be listed as valid.
        with Registry.open(province.directory) as registry:
            open_office(province, registry, secret)
            entry = book.find(registry, kit.id.hex())
            registry.revoke_kit(entry, by="desalink", at=int(time.time()), unused_only=False)
        raise
    many = counted(len(slots), "slot")
    click.echo(
        _(
            "Kit {id} for {technician} with {many} is in {output} ({size} MB), until {time}."
        ).format(
            id=kit.id.hex(),
            technician=kit.technician,
            many=many,
            output=output,
            size=number(output.stat().st_size / 1000000.0, 1),
            time=wita(kit.expires),
        )
    )
    if filled:
        more = _(" and {count} more").format(count=len(filled) - 1) if len(filled) > 1 else ""
        app.note(
            _("Filled already: {filled}{more}; a new device must replace the one there.").format(
                filled=filled[0], more=more
            )
        )
    if is_loopback(kit.broker_host):
        app.note(
            _(
                "Its devices would connect to {broker_host}, which is the device itself: for "
                "trials only. For villages, put the broker's name first in broker.hosts of "
                "province.toml, run 'desalink broker config', and make a new kit."
            ).format(broker_host=kit.broker_host)
        )
    clipped = authority.clipped()
    if clipped:
        app.note(clipped)
    if not boards:
        app.note(_("It has no firmware and no agent; pack them with --board BOARD."))


def _cargo(
    province: Province, settings_file: Path | None, boards: tuple[str, ...], slots: Sequence[str]
) -> Cargo:
    from host_tools.devices.boards import load_board
    from host_tools.devices.firmware import FirmwareCache
    from host_tools.devices.release import build_release
    from host_tools.people.kits.create import Cargo
    from host_tools.people.kits.settings import read_settings, slot_config

    settings = read_settings(settings_file) if settings_file else {}
    broker = province.broker
    configs = [slot_config(settings, slot, broker.host, broker.port) for slot in slots]
    cache = FirmwareCache(province.directory / "firmware")
    firmware = {}
    releases = []
    for board in map(load_board, dict.fromkeys(boards)):
        if board.firmware is not None:
            path = cache.path(board)
            firmware[board.name] = (path.name, path.read_bytes())
        releases.append(build_release(board, configs))
    named = str(settings_file) if settings_file else "Without --settings"
    return Cargo(settings, named, firmware, releases)


@command.command("list")
@_json_option
@pass_app
def list_(app: Application, as_json: bool) -> None:
    """List the kits that this province made."""

    from host_tools.province.registry import Registry

    now = time.time()
    with Registry.open(app.province.directory) as registry:
        found = registry.kits()
    if as_json:
        print_json([_entry_json(entry, now) for entry in found])
        return
    if not found:
        app.note(_("This province has made no kit; make one with 'desalink kit create'."))
        return
    print_table(
        ("kit", "technician", "slots", "unused certificates", "made", "until", "state"),
        [
            (
                entry.id.hex(),
                entry.name,
                str(len({certificate.slot for certificate in entry.certificates})),
                str(len(entry.unused)),
                wita(entry.created_at),
                wita(entry.expires_at),
                _(entry.state(now)),
            )
            for entry in found
        ],
        right=("slots", "unused certificates"),
        whole=("kit",),
    )


def _entry_json(entry: KitEntry, now: float) -> dict[str, Any]:
    return {
        "kit": entry.id.hex(),
        "technician": entry.name,
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
        "revoked_at": entry.revoked_at,
        "revoked_by": entry.revoked_by,
        "state": entry.state(now),
        "certificates": [
            {
                "serial": c.serial,
                "slot": c.slot,
                "revoked_at": c.revoked_at,
                "device": c.device.hex() if c.device else None,
            }
            for c in entry.certificates
        ],
    }


@command.command()
@click.argument("kit", metavar="FILE|ID")
@click.option(
    "--unused-only",
    is_flag=True,
    help="Only the certificates that no device was given; for a trip that is over.",
)
@click.option("--by", metavar="NAME", help="Who revokes. [default: the user of this machine]")
@yes_option
@passphrase_option
@pass_app
def revoke(
    app: Application,
    kit: str,
    unused_only: bool,
    by: str | None,
    yes: bool,
    passphrase_file: Path | None,
) -> None:
    """Revoke everything in a kit that was lost, or whose trip is over.

    The broker refuses its certificates, used or not, and drops live connections; the technician's
    key is removed from the trust document. Devices keep their keys and reports but need a new
    certificate: provision them again. Run it again to repeat what failed.
    """

    from host_tools.keys.ca import Authority
    from host_tools.keys.root import load_root_key
    from host_tools.office.kit_revoking import revoke_kit
    from host_tools.people.office_pen import open_office
    from host_tools.province.registry import Registry

    province = app.province
    with Registry.open(province.directory) as registry:
        entry = _find_entry(registry, kit)
        if not unused_only:
            confirm(app, _goes_along(registry, entry), yes)
        # Before any change, because a part of it needs the keys.
        secret = passphrase.existing(passphrase_file)
        authority = Authority.load(province.ca_key, province.ca_certificate, secret)
        open_office(province, registry, secret)
        root = None if unused_only else load_root_key(province.root_key, secret)
        done = revoke_kit(
            province,
            registry,
            entry,
            root=root,
            open_authority=lambda: authority,
            by=by or getpass.getuser(),
        )
    name = entry.id.hex()
    if unused_only:
        click.echo(
            _("Of kit {name}, {certificates} revoked.").format(
                name=name, certificates=counted(done.certificates, "unused certificate")
            )
        )
    else:
        click.echo(
            _(
                "Kit {name} of {technician} is revoked: {certificates}, and the key {key} "
                "(trust document {trust_version})."
            ).format(
                name=name,
                technician=entry.name,
                certificates=counted(done.certificates, "certificate"),
                key=entry.technician.hex(),
                trust_version=done.trust_version,
            )
        )
    if done.used:
        app.note(
            _(
                "{devices} with a certificate from it can't connect until provisioned again: "
                "{names}."
            ).format(devices=counted(len(done.used), "device"), names=", ".join(done.used))
        )
    for warning in done.warnings:
        app.note(warning)


def _goes_along(registry: Registry, entry: KitEntry) -> str | None:
    """What else becomes useless with a kit: other kits with the same technician's key."""
    from host_tools.people.kits.book import usable

    others = [
        kit.id.hex()
        for kit in usable(registry)
        if kit.technician == entry.technician and kit.id != entry.id
    ]
    if not others:
        return None
    return _(
        "The same key is in kit {names}: nothing more can be enrolled with it. Give {name} a new "
        "key ('desalink technicians add') and a new kit."
    ).format(names=", ".join(others), name=entry.name)


def _find_entry(registry: Registry, text: str) -> KitEntry:
    from host_tools.people.kits import book
    from host_tools.people.kits.opened import read_kit_header

    path = Path(text)
    # The header is readable without the kit's passphrase.
    return book.find(registry, read_kit_header(path).id.hex() if path.is_file() else text)


# ---- on the laptop -----------------------------------------------------------------------


@command.command("open")
@click.argument("file", type=PATH, metavar="FILE")
@click.option(
    "--to",
    type=PATH,
    metavar="DIR",
    help=_("Folder for it. [default: DESALINK_KIT, else ~/.local/share/desalink/kit]"),
)
@_kit_passphrase_option
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


@command.command()
@click.argument("kit", type=PATH, metavar="[FILE|DIR]", required=False)
@click.option("--left", is_flag=True, help=_("Only the slots without a device."))
@_json_option
@_kit_passphrase_option
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
    slots = {n: slot for n, slot in opened.slots.items() if not (left and n in devices)}
    if as_json:
        print_json(
            {
                "kit": opened.id.hex(),
                "province": opened.province_name,
                "technician": opened.technician,
                "created": opened.created,
                "expires": opened.expires,
                "broker": f"{opened.broker_host}:{opened.broker_port}",
                "slots": [
                    {
                        "slot": slot.slot,
                        "village": slot.village.name,
                        "district": slot.village.district,
                        "regency": slot.village.regency,
                        "filled_by": devices[name].hex() if name in devices else None,
                    }
                    for name, slot in slots.items()
                ],
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
    print_table(
        ("slot", "village", "district", "regency", "filled by"),
        [
            (
                slot.slot,
                slot.village.name,
                slot.village.district,
                slot.village.regency,
                devices[name].hex() if name in devices else "",
            )
            for name, slot in slots.items()
        ],
        whole=("slot",),
    )
    if left:
        app.note(
            _("{done} of {count} slots have their device.").format(
                done=number(len(opened.slots) - len(slots)), count=number(len(opened.slots))
            )
        )


@command.command()
@click.argument("kit", type=PATH, metavar="[FILE|DIR]", required=False)
@_kit_passphrase_option
@pass_app
def verify(app: Application, kit: Path | None, kit_passphrase_file: Path | None) -> None:
    """Verify a kit before a trip: the opened one, or a file.

    With a province (-C) it is compared with the province too. Exit code 1 if anything is wrong.
    """
    from host_tools.people.kits import find_directory
    from host_tools.people.kits import passphrase as kit_passphrase
    from host_tools.people.kits.check import check_kit
    from host_tools.people.kits.opened import kit_file, read_kit

    path = kit_file(find_directory(kit))
    known = _of_province(app)
    opened = read_kit(path, kit_passphrase.existing(kit_passphrase_file))
    findings = [*check_kit(opened, **known), *_on_record(app, opened)]
    print_table(
        ("what", "result", "detail"),
        [(finding.what, _result(finding), finding.detail) for finding in findings],
    )
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


def _on_record(app: Application, kit: Kit) -> list[KitCheck]:
    """The state of the kit in its province, if there is one here."""

    from host_tools.people.kits.check import KitCheck
    from host_tools.province.registry import Registry

    try:
        if not (app.directory / "province.toml").exists():
            return []
    except ProvinceError:
        return []
    with Registry.open(app.province.directory) as registry:
        state = next((e.state(time.time()) for e in registry.kits() if e.id == kit.id), None)
    return [KitCheck(_("registry"), state == "valid", _(state) if state else _("no such kit"))]


def _of_province(app: Application) -> dict[str, Any]:
    """What the province knows of its kits' content, if there is one here."""

    try:
        directory = app.directory
    except ProvinceError:
        return {}
    if not (directory / "province.toml").exists():
        return {}
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
