"""`kit create`, `kit list` and `kit revoke`: a province's kits."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._asking import confirm
from host_tools.cli._options import by_option, form_option, kit_passphrase_option, yes_option
from host_tools.cli._output import counted, show
from host_tools.cli._signing import open_authority
from host_tools.common import passphrase
from host_tools.common.i18n import _, number
from host_tools.common.times import wita
from host_tools.listings.model import CODE, NESTED, UNIX, Column, Listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.people.kits.create import Cargo
    from host_tools.province.records import KitEntry
    from host_tools.province.registry import Registry
    from host_tools.province.settings import Province


@click.command()
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
    help="For how many days it is valid.",
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
@kit_passphrase_option
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
    from host_tools.keys.root import load_root_key
    from host_tools.people import technicians
    from host_tools.people.kits import book
    from host_tools.people.kits import passphrase as kit_passphrase
    from host_tools.people.kits.check import is_loopback
    from host_tools.people.kits.create import chosen_slots, create_kit, write_kit

    province = app.province
    if old_boards:
        boards += old_boards
        app.note(_("--firmware takes the name of a board, not a file; it is now called --board."))
    codes = [code for text in villages for code in text.split(",") if code.strip()]
    _check_output(app, output)
    with app.registry() as registry:
        slots = chosen_slots(registry, codes, regency)
        technician = technicians.find(registry, name)
        cargo = _cargo(province, settings_file, boards, slots)
        secret = passphrase.existing(passphrase_file)
        root = load_root_key(province.root_key, secret)
        authority = open_authority(app, secret, registry)
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
        try:
            write_kit(kit, root, output, own_secret)
        except OSError:
            # The kit has no file, so it must not be listed as valid.
            entry = book.find(registry, kit.id.hex())
            registry.revoke_kit(entry, by="desalink", at=int(time.time()), unused_only=False)
            raise
    click.echo(
        _(
            "Kit {id} for {technician} with {many} is in {output} ({size} MB), until {time}."
        ).format(
            id=kit.id.hex(),
            technician=kit.technician,
            many=counted(len(slots), "slot"),
            output=output,
            size=number(output.stat().st_size / 1e6, 1),
            time=wita(kit.expires),
        )
    )
    filled = [slot for slot in slots if kit.device_of_slot(slot)]
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


def _check_output(app: Application, output: Path) -> None:
    """Refuse a kit that can't be written before certificates are issued for it."""
    folder = output.parent
    if output.exists():
        text = _("{output} exists already; choose another name, or remove it first.")
    elif not folder.is_dir():
        text = _("There is no directory {parent}; make it, or choose another folder.")
    elif not os.access(folder, os.W_OK):
        text = _("You have no permission to write into {parent}; choose another folder.")
    else:
        return
    app.abort(text.format(output=output, parent=folder))


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


@click.command("list")
@form_option
@pass_app
def list_(app: Application, form: str | None) -> None:
    """List the kits that this province made."""
    now = time.time()
    with app.registry() as registry:
        entries = registry.kits()
    columns = [
        Column("kit", _("kit"), CODE, lambda entry: entry.id.hex()),
        Column("technician", _("technician"), of=lambda entry: entry.name),
        Column("", _("slots"), of=lambda e: len({c.slot for c in e.certificates}), right=True),
        Column("", _("unused certificates"), of=lambda entry: len(entry.unused), right=True),
        Column("created_at", _("made"), UNIX),
        Column("expires_at", _("until"), UNIX),
        Column("revoked_at"),
        Column("revoked_by"),
        Column(
            "state",
            _("state"),
            of=lambda entry: entry.state(now),
            shown=lambda entry: _(entry.state(now)),
        ),
        Column("certificates", kind=NESTED, of=_certificates),
    ]
    nothing = _("This province has made no kit; make one with 'desalink kit create'.")
    show(app, Listing("kits", columns, entries), form, nothing)


def _certificates(entry: KitEntry) -> list[dict[str, Any]]:
    return [
        {
            "serial": certificate.serial,
            "slot": certificate.slot,
            "revoked_at": certificate.revoked_at,
            "device": certificate.device.hex() if certificate.device else None,
        }
        for certificate in entry.certificates
    ]


@click.command()
@click.argument("kit", metavar="FILE|ID")
@click.option(
    "--unused-only",
    is_flag=True,
    help="Only the certificates that no device was given; for a trip that is over.",
)
@by_option
@yes_option
@passphrase_option
@pass_app
def revoke(
    app: Application,
    kit: str,
    unused_only: bool,
    by: str,
    yes: bool,
    passphrase_file: Path | None,
) -> None:
    """Revoke everything in a kit that was lost, or whose trip is over.

    The broker refuses its certificates, used or not, and drops live connections; the technician's
    key is removed from the trust document. Devices keep their keys and reports but need a new
    certificate: provision them again. Run it again to repeat what failed.
    """
    from host_tools.keys.root import load_root_key
    from host_tools.office.kit_revoking import revoke_kit

    province = app.province
    with app.registry() as registry:
        entry = _find_entry(registry, kit)
        if not unused_only:
            confirm(app, _goes_along(registry, entry), yes)
        # Before any change, because a part of it needs the keys.
        secret = passphrase.existing(passphrase_file)
        authority = open_authority(app, secret, registry)
        root = None if unused_only else load_root_key(province.root_key, secret)
        done = revoke_kit(
            province,
            registry,
            entry,
            root=root,
            open_authority=lambda: authority,
            by=by,
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
