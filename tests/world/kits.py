"""Kits and devices for tests: made by the product's own code."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.field.enrolments import EnrolmentLog, Record
from host_tools.keys.ca import Authority
from host_tools.keys.root import load_root_key
from host_tools.people import technicians
from host_tools.people.kits import Kit
from host_tools.people.kits.create import Cargo, create_kit, write_kit
from host_tools.people.office_pen import open_office
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from tests.world.devices import Device
from tests.world.evidencing import PASSPHRASE

KIT_PASSPHRASE = "staple battery horse"
SLOT, SECOND = "6403112001-1", "6403112002-1"


class FieldDevice:
    """A device as a technician finds it: a key of its own, and a MAC address."""

    def __init__(self, mac: str) -> None:
        self.seed = secrets.randbits(63)
        self.mac = mac
        device = Device(seed=self.seed)
        self.public, self.kid = device.public_key, device.kid

    def proof(
        self, slot: str, firmware: bytes | None = None, changes: Mapping[int, Any] | None = None
    ) -> bytes:
        """Its proof of possession."""
        mac = self.mac.replace(":", "")
        table = {3: mac, 4: "esp32", 6: int(time.time()), 7: firmware} | dict(changes or {})
        return Device(slot, self.seed).proof(table)

    def enrol(
        self, log: EnrolmentLog, kit: Kit, slot: str, replaces: bytes | None = None
    ) -> Record:
        """As `desalink provision` ends: countersigned into the log."""
        serial = kit.slot(slot).serial
        proof = self.proof(slot, bytes(32))
        return log.append(kit, slot, proof, self.mac, "esp32-generic", bytes(32), serial, replaces)


def make_kit(
    province: Province,
    registry: Registry,
    authority: Authority,
    name: str = "Ani",
    slots: Sequence[str] = (SLOT, SECOND),
    *,
    cargo: Cargo | None = None,
    days: int = 30,
    now: float | None = None,
) -> tuple[Kit, Ed25519PrivateKey]:
    """A kit for a technician, who is added if need be, and the province's root key."""
    root = load_root_key(province.root_key, PASSPHRASE)
    open_office(province, registry, PASSPHRASE)
    try:
        technician = technicians.find(registry, name)
    except technicians.TechnicianError:
        # The province is of today: a technician of an earlier day would be refused.
        later = None if now is None else max(now, province.created.timestamp())
        technician = technicians.add(province, registry, root, name, PASSPHRASE, now=later)
    kit = create_kit(
        province,
        registry,
        authority=authority,
        root=root,
        technician=technician,
        technician_key=technicians.load_key(province, technician, PASSPHRASE),
        slots=slots,
        cargo=cargo,
        days=days,
        now=now,
    )
    return kit, root


def sealed(kit: Kit, root: Ed25519PrivateKey, path: Path) -> Path:
    """The kit as a file."""
    write_kit(kit, root, path, KIT_PASSPHRASE)
    return path
