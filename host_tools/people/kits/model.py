"""The content of a kit: only what one technician needs for one trip.

A kit holds the slots' certificates, keys and settings, firmware and agent, the trust document and
the technician's role key. The private keys of root and CA are never in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.devices.release import Release
from host_tools.keys.signing import public_bytes
from host_tools.province.records import Village
from host_tools.wire.envelope import hash8


class KitError(DesalinkError):
    """A kit that can't be made or opened, has expired, or is wrong."""


@dataclass(frozen=True)
class KitCertificate:
    """A certificate with its key (PEM), and its serial number as the registry knows it."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    serial: str


@dataclass(frozen=True)
class KitSlot:
    """What a device of one slot gets; `config` is its configuration, without the board's."""

    slot: str
    village: Village
    config: dict[str, Any] = field(repr=False)
    """Keys as in docs/agent.md, nested; provisioning adds `port` and the paths."""
    certificates: tuple[KitCertificate, ...] = field(repr=False)
    """The first is for the first device, the others for devices that replace it: two devices
    never share one."""

    @property
    def certificate_pem(self) -> bytes:
        return self.certificates[0].certificate_pem

    @property
    def key_pem(self) -> bytes:
        return self.certificates[0].key_pem

    @property
    def serial(self) -> str:
        """The certificate's, as the registry knows it."""
        return self.certificates[0].serial

    def with_certificate(self, certificate: KitCertificate) -> KitSlot:
        """The same slot with one of its certificates."""
        return replace(self, certificates=(certificate,))


@dataclass(frozen=True)
class KitDevice:
    """A device in a slot of the province at the time of packing."""

    slot: str
    kid: bytes
    unique_id: str | None
    board: str


@dataclass(frozen=True)
class Kit:
    """An opened kit. It holds secrets: never write it to a disk."""

    id: bytes
    """8 random bytes."""
    province_code: str
    province_name: str
    technician: str
    created: int
    """Unix time, as is `expires`."""
    expires: int
    broker_host: str
    broker_port: int
    ca_pem: bytes
    """What devices trust: the CAs, the newest first, and the root key."""
    root_public: bytes
    """Of the province's root key, 32 bytes."""
    slots: dict[str, KitSlot]
    trust: bytes
    """The signed trust document."""
    technician_key: Ed25519PrivateKey = field(repr=False)
    firmware: dict[str, bytes] = field(repr=False)
    """File name -> content."""
    firmware_boards: dict[str, str]
    """Board -> name of its firmware file."""
    releases: dict[str, Release]
    """Board -> the agent for it."""
    settings: dict[str, Any] = field(repr=False)
    """The settings file; the slots' configurations include it."""
    enrolled: tuple[KitDevice, ...]
    replacements: dict[str, bytes]
    """Slot -> kid of the device that may be replaced."""
    imported: dict[bytes, int]
    """Log of enrolments -> number of its records that `enrolled` includes."""
    authorities: tuple[bytes, ...] = ()
    """The documents by which this root key took the place of earlier ones."""

    @property
    def technician_kid(self) -> bytes:
        return hash8(public_bytes(self.technician_key))

    def device_of_slot(self, slot: str) -> KitDevice | None:
        """The device in a slot at the time of packing, or None."""
        return next((device for device in self.enrolled if device.slot == slot), None)

    def device_of_unique_id(self, unique_id: str) -> KitDevice | None:
        """The device with a unique id (MAC, serial number) at that time, or None."""
        wanted = same_id(unique_id)
        return next(
            (d for d in self.enrolled if d.unique_id and same_id(d.unique_id) == wanted), None
        )

    def slot(self, name: str) -> KitSlot:
        """A slot of the kit.

        Raises:
            KitError: the kit does not have it.
        """
        found = self.slots.get(name)
        if found is None:
            raise KitError(
                _(
                    "Slot {slot} is not in the kit of {technician}; 'desalink kit show' lists its "
                    "slots, or ask the province for a kit with this one."
                ).format(slot=name, technician=self.technician)
            )
        return found


def same_id(unique_id: str) -> str:
    """A unique id in one form, equal for all spellings of a MAC address."""
    return unique_id.strip().lower().replace(":", "").replace("-", "")
