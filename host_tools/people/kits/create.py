"""Packing a kit in the office."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.files import write_private
from host_tools.common.i18n import _
from host_tools.common.passphrase import check_passphrase
from host_tools.common.times import day
from host_tools.devices.boards import load_board
from host_tools.devices.release import Release
from host_tools.devices.romfs import partition
from host_tools.keys.authorities import load_documents
from host_tools.keys.ca import Authority
from host_tools.people.kits.model import Kit, KitCertificate, KitDevice, KitError, KitSlot
from host_tools.people.kits.pages import pack
from host_tools.people.kits.seal import new_header, seal
from host_tools.people.kits.settings import check_boards, scopes, slot_config
from host_tools.people.technicians import current_trust, root_public
from host_tools.province.records import RoleKey
from host_tools.province.registry import Registry, slot_name
from host_tools.province.settings import Province
from host_tools.province.villages import find_regency, find_village

DAYS = 30
# For a slot: one, and one for a device that replaces the first on the same trip.
CERTIFICATES = 2


@dataclass(frozen=True)
class Cargo:
    """The content of a kit for devices, besides certificates; it may be empty."""

    settings: dict[str, Any] = field(default_factory=dict)
    settings_name: str = field(default_factory=lambda: _("The settings"))
    """Their file, for messages."""
    firmware: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    """Board -> file name and content."""
    releases: Sequence[Release] = ()


def chosen_slots(registry: Registry, codes: Iterable[str], regency: str | None) -> list[str]:
    """The slots of villages: `6403112001` is its slot 1, `6403112001-2` the second.

    Raises:
        VillageError, KitError: no such village or regency, or none is chosen.
    """
    slots = []
    for code in codes:
        village, dash, number = code.strip().partition("-")
        if dash and not (number.isascii() and number.isdigit() and 1 <= int(number) <= 999):
            raise KitError(
                _("'{code}' is not a slot; write it as 6403112001-2 (1 to 999).").format(code=code)
            )
        slots.append(slot_name(find_village(registry, village).code, int(number or 1)))
    if regency is not None:
        code = find_regency(registry, regency)
        slots += [slot_name(village.code, 1) for village in registry.villages(code)]
    if not slots:
        raise KitError(_("No village is chosen; say which with --villages or --regency."))
    return list(dict.fromkeys(slots))


def create_kit(
    province: Province,
    registry: Registry,
    *,
    authority: Authority,
    root: Ed25519PrivateKey,
    technician: RoleKey,
    technician_key: Ed25519PrivateKey,
    slots: Sequence[str],
    cargo: Cargo | None = None,
    days: int = DAYS,
    now: float | None = None,
) -> Kit:
    """Make a kit. Its certificates are in the registry when this returns.

    Args:
        authority, root: opened; neither is in the kit.
        slots: of villages of this province.
        days: until it expires.
        now: Unix time, the present if None.

    Raises:
        KitError: devices or boards would refuse the settings, or they name an unknown slot; the
            technician's key ends before the kit.
        HeapError: a board has too little heap for the agent with a slot's settings.
        TrustError: the trust document can't be made.
    """
    cargo = cargo or Cargo()
    at = int(time.time() if now is None else now)
    expires = at + days * 86400
    if technician.not_after < expires:
        raise KitError(
            _(
                "The key of technician {name} ends on {date}, before the kit would; give fewer "
                "--days, or 'desalink technicians add --renew {quoted}'."
            ).format(
                name=technician.name, date=day(technician.not_after), quoted=quote(technician.name)
            )
        )
    villages = {village.code: village for village in registry.villages()}
    strangers = scopes(cargo.settings) - {*villages, *slots, *registry.regencies()}
    if strangers:
        raise KitError(
            _(
                "The settings name {key}, which is no regency or village of this province "
                "and no slot of this kit; correct them and try again."
            ).format(key=sorted(strangers)[0])
        )
    host, port = province.broker.host, province.broker.port
    configs = {slot: slot_config(cargo.settings, slot, host, port) for slot in slots}
    boards = [load_board(release.board) for release in cargo.releases]
    romfs = {
        board.name
        for board in boards
        if board.name in cargo.firmware
        and partition(cargo.firmware[board.name][1], board.flash_offset)
    }
    for slot, config in configs.items():
        village = villages[slot[:10]].name
        where = f"{cargo.settings_name}, slot {slot} ({village})"
        check_boards(config, boards, where, romfs)
    trust = current_trust(province, registry, root, expires)
    issued = {
        slot: [authority.issue_client(slot) for _one in range(CERTIFICATES)] for slot in slots
    }
    id = os.urandom(8)
    with registry.transaction():
        fresh = [(slot, i) for slot in slots for i in issued[slot]]
        for slot, certificate in fresh:
            registry.record_certificate(
                certificate.serial, slot, certificate.not_after, certificate.der
            )
        registry.record_kit(
            *(id, technician.kid, at, expires), [(i.serial, slot) for slot, i in fresh]
        )
        enrolled = tuple(
            KitDevice(d.slot, d.kid, d.unique_id, d.board) for d in registry.active_devices()
        )
        imported = registry.imported_records()
        replacements = {order.slot: order.kid for order in registry.open_orders()}
    certificates = {
        slot: tuple(KitCertificate(i.certificate_pem, i.key_pem, i.serial) for i in own)
        for slot, own in issued.items()
    }
    return Kit(
        id=id,
        province_code=province.code,
        province_name=province.name,
        technician=technician.name,
        created=at,
        expires=expires,
        broker_host=host,
        broker_port=port,
        ca_pem=province.ca_certificate.read_bytes(),
        root_public=root_public(province),
        authorities=tuple(load_documents(province.authorities)),
        slots={
            slot: KitSlot(slot, villages[slot[:10]], configs[slot], certificates[slot])
            for slot in slots
        },
        trust=trust,
        technician_key=technician_key,
        firmware={name: content for name, content in cargo.firmware.values()},
        firmware_boards={board: name for board, (name, _data) in cargo.firmware.items()},
        releases={release.board: release for release in cargo.releases},
        settings=cargo.settings,
        enrolled=enrolled,
        replacements={slot: kid for slot, kid in replacements.items() if slot in slots},
        imported=imported,
    )


def write_kit(kit: Kit, root: Ed25519PrivateKey, path: Path, passphrase: str) -> None:
    """Encrypt a kit into a file that only its owner can read.

    Raises:
        PassphraseError: the passphrase is too short.
    """
    check_passphrase(passphrase)
    header = new_header(kit.id, kit.province_code, kit.created, kit.expires)
    write_private(path, b"".join(seal(header, passphrase, pack(kit, root))))
