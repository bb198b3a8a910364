"""List, show, replace and revoke devices."""

from __future__ import annotations

import time
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import Application, pass_app, passphrase_option
from host_tools.cli._options import by_option, form_option, json_option
from host_tools.cli._output import print_json
from host_tools.cli._output import show as show_listing
from host_tools.cli._signing import open_authority
from host_tools.cli._store import labels
from host_tools.common import passphrase
from host_tools.common.errors import printable
from host_tools.common.i18n import _, marked
from host_tools.common.times import wita
from host_tools.listings.model import CODE, UNIX, Column, Listing, keyed_columns
from host_tools.listings.terminal import print_table

if TYPE_CHECKING:
    from host_tools.province.registry import Device, Registry


@click.group()
def command() -> None:
    """List, show, replace and revoke devices."""


def _state(record: dict[str, Any]) -> str:
    if record["revoked_at"] is None:
        return _("active")
    if record["replaced_by"] is not None:
        return _("replaced by {replaced_by} {time}").format(
            replaced_by=record["replaced_by"], time=wita(record["revoked_at"])
        )
    return _("revoked {time}").format(time=wita(record["revoked_at"]))


def _sites(registry: Registry) -> dict[bytes, dict[str, Any]]:
    """Device -> the last measuring of its site, of the enrolments that were imported."""
    from host_tools.field.enrolments import parse_record

    records = [
        parse_record(raw) for raw, _name, refused in registry.enrolment_records() if not refused
    ]
    return {
        record.device: {"time": record.time, **record.site.as_json()}
        for record in records
        if record.site is not None
    }


_LABELS = {
    "device": marked("device"),
    "slot": marked("slot"),
    "village": marked("village"),
    "public_key": marked("public key"),
    "board": marked("board"),
    "unique_id": marked("unique id"),
    "agent": marked("agent"),
    "certificate": marked("certificate"),
    "firmware": marked("firmware"),
    "enrolled_at": marked("enrolled at"),
    "enrolled_by": marked("enrolled by"),
    "revoked_at": marked("revoked at"),
    "revoked_by": marked("revoked by"),
    "replaced_by": marked("replaced by"),
    "site": marked("site"),
}


def _as_json(
    device: Device, registry: Registry, sites: dict[bytes, dict[str, Any]]
) -> dict[str, Any]:
    village = registry.village(device.slot[:10])
    return {
        "device": device.kid.hex(),
        "slot": device.slot,
        "village": village.name if village else None,
        "public_key": device.public_key.hex(),
        "board": device.board,
        "unique_id": device.unique_id,
        "agent": device.firmware,
        "certificate": device.certificate,
        "firmware": device.firmware_hash.hex() if device.firmware_hash else None,
        "enrolled_at": device.enrolled_at,
        "enrolled_by": device.enrolled_by,
        "revoked_at": device.revoked_at,
        "revoked_by": device.revoked_by,
        "replaced_by": device.replaced_by.hex() if device.replaced_by else None,
        "site": sites.get(device.kid),
    }


def _find(app: Application, registry: Registry, text: str) -> Device:
    """The device of a key id (its first digits will do) or of a slot."""
    wanted = text.strip().lower()
    if "-" in wanted:
        found = registry.keys_for_slot(wanted.replace(".", ""))
        # The one that fills it now, else the last that did.
        found = [device for device in found if device.active] or found[-1:]
    else:
        found = [
            d for d in registry.devices() if len(wanted) >= 4 and d.kid.hex().startswith(wanted)
        ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{device.kid.hex()} ({device.slot})" for device in found[:5])
        app.abort(
            _("Several devices begin with '{text}': {names}; give more digits.").format(
                text=text, names=names
            )
        )
    app.abort(
        _(
            "There is no device '{text}'; give a slot such as 6403112001-1 or at least 4 digits "
            "of a key id from 'desalink devices list --all'."
        ).format(text=text)
    )


@command.command("list")
@click.option(
    "--all", "everything", is_flag=True, help="Also those that were revoked or replaced."
)
@form_option
@pass_app
def list_(app: Application, everything: bool, form: str | None) -> None:
    """List the devices that fill a slot."""

    with app.registry() as registry:
        devices = registry.devices() if everything else registry.active_devices()
        sites = _sites(registry)
        records = [_as_json(device, registry, sites) for device in devices]
        names = labels(registry)
    columns = [
        *keyed_columns(records),
        Column("", _("slot"), CODE, itemgetter("slot")),
        Column("", _("village"), of=lambda record: names.get(record["slot"][:10])),
        Column("", _("device"), CODE, itemgetter("device")),
        Column("", _("board"), of=itemgetter("board")),
        Column("", _("agent"), of=itemgetter("agent")),
        Column("", _("enrolled"), UNIX, itemgetter("enrolled_at")),
        Column("", _("state"), of=_state),
    ]
    nothing = _("No device is enrolled; enrol one with 'desalink enrol'.")
    show_listing(app, Listing("devices", columns, records), form, nothing)


@command.command()
@click.argument("device", metavar="DEVICE|SLOT")
@json_option
@pass_app
def show(app: Application, device: str, as_json: bool) -> None:
    """Show a device, its key and its slot's certificates."""

    with app.registry() as registry:
        found = _find(app, registry, device)
        fields = _as_json(found, registry, _sites(registry))
        certificates = registry.certificates(found.slot)
    columns = [
        Column("serial", _("certificate")),
        Column("not_after", _("valid until"), UNIX),
        Column("revoked_at", _("revoked"), UNIX),
    ]
    listing = Listing("certificates", columns, certificates)
    if as_json:
        print_json(fields | {"certificates": listing.records()})
        return
    site = fields.pop("site")
    for name, value in fields.items():
        shown = wita(value) if name.endswith("_at") else value
        if shown not in (None, ""):
            click.echo(f"{_(_LABELS[name]) + ':':<13}{printable(str(shown))}")
    if site is not None:
        figures = ", ".join(f"{name} {value:g}" for name, value in site["figures"].items())
        text = _("{state} on {time}: {figures}").format(
            state=site["state"], time=wita(site["time"]), figures=printable(figures)
        )
        click.echo(f"{_(_LABELS['site']) + ':':<13}{text}")
    print_table(listing)


@command.command()
@click.argument("device", metavar="DEVICE|SLOT")
@click.option("--why", default="", metavar="TEXT", help="Why; kept in the office log.")
@by_option
@passphrase_option
@pass_app
def revoke(app: Application, device: str, why: str, by: str, passphrase_file: Path | None) -> None:
    """Revoke a device: its key and its certificate.

    Its reports are refused from now on, and the broker refuses its certificate. What it signed
    before stays valid. Its live connection is cut. If a step fails, run the command again: it
    repeats every step.
    """
    from host_tools.broker.revocation import apply_revocations, drop_session

    province = app.province
    with app.registry() as registry:
        found = _find(app, registry, device)
        along = _goes_along(registry, found)
        if along:
            app.note(along)
        # Before anything is changed: without the CA's key only half of it could be done.
        secret = passphrase.existing(passphrase_file)
        authority = open_authority(app, secret, registry)
        registry.revoke(found.kid, by=by, reason=why)
        if not any(other.active for other in registry.keys_for_slot(found.slot)):
            registry.revoke_certificates(found.slot)
        click.echo(
            _("Device {kid} of slot {slot} is revoked.").format(
                kid=found.kid.hex(), slot=found.slot
            )
        )
        in_force = apply_revocations(province, registry, authority)
        if in_force:
            drop_session(province, authority, found.slot)
    if in_force:
        click.echo(_("The broker refuses its certificate; any live connection was cut."))
    else:
        app.note(
            _(
                "No broker of this province runs on this machine; it takes effect when one starts "
                "with {crl}."
            ).format(crl=province.crl)
        )


def _goes_along(registry: Registry, device: Device) -> str | None:
    """What else becomes useless with a device: certificates for its slot in kits."""
    from host_tools.people.kits.book import usable

    others = [other for other in registry.keys_for_slot(device.slot) if other.kid != device.kid]
    if any(other.active for other in others):
        return None
    kits = [
        _("{id} of {name}").format(id=kit.id.hex(), name=kit.name)
        for kit in usable(registry)
        if any(certificate.slot == device.slot for certificate in kit.unused)
    ]
    if not kits:
        return None
    return _(
        "These kits have certificates for {slot}, which are revoked, too, so they can't fill it "
        "any more: {names}."
    ).format(names=", ".join(kits), slot=device.slot)


@command.command()
@click.argument("device", metavar="DEVICE|SLOT")
@by_option
@passphrase_option
@pass_app
def replace(app: Application, device: str, by: str, passphrase_file: Path | None) -> None:
    """Allow another device to take the place of one that fills a slot.

    The order is signed by the root key. The next kit contains it, and it holds for one device. The
    present device keeps the slot until the enrolment of its successor is imported. Then the
    province revokes it with its certificate.
    """
    from host_tools.keys.root import load_root_key
    from host_tools.people.replacements import make_order

    province = app.province
    with app.registry() as registry:
        found = _find(app, registry, device)
        if not found.active:
            app.abort(
                _(
                    "Device {kid} of slot {slot} is revoked already; the next device for the slot "
                    "needs no permission."
                ).format(kid=found.kid.hex(), slot=found.slot)
            )
        root = load_root_key(province.root_key, passphrase.existing(passphrase_file))
        make_order(registry, root, found, by=by, now=time.time())
    click.echo(
        _("The next device enrolled for slot {slot} may replace {kid}.").format(
            slot=found.slot, kid=found.kid.hex()
        )
    )
    click.echo(
        _(
            "Next: 'desalink kit create --villages {slot} ...' for the trip, or import the "
            "enrolment that was refused again."
        ).format(slot=found.slot)
    )
