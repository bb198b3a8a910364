"""What the registry knows of kits: who has which, with which certificates."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from host_tools.people.kits.model import KitError
from host_tools.province.registry import Registry


@dataclass(frozen=True)
class KitCertificate:
    """A certificate that went out in a kit; `device` is the kid that was given it, if any."""

    serial: str
    slot: str
    revoked_at: int | None
    device: bytes | None


@dataclass(frozen=True)
class KitEntry:
    """A kit on record; times in Unix seconds."""

    id: bytes
    technician: bytes
    """kid of the role key in it."""
    name: str
    """The technician's."""
    created_at: int
    expires_at: int
    revoked_at: int | None
    revoked_by: str | None
    key_not_after: int
    """Of the technician's key, as the next."""
    key_revoked_at: int | None
    certificates: tuple[KitCertificate, ...]

    def state(self, now: float) -> str:
        """`valid`, `expired`, `revoked`; `key revoked`, `key expired`: the kit is neither, but
        what its technician's key signs now is not imported."""
        if self.revoked_at is not None:
            return "revoked"
        if now >= self.expires_at:
            return "expired"
        if self.key_revoked_at is not None:
            return "key revoked"
        return "valid" if now < self.key_not_after else "key expired"

    @property
    def unused(self) -> tuple[KitCertificate, ...]:
        """Certificates that no device was given and that still open the broker."""
        return tuple(c for c in self.certificates if c.device is None and c.revoked_at is None)


def entries(registry: Registry) -> list[KitEntry]:
    """Every kit there ever was, the oldest first."""
    certificates: dict[bytes, list[KitCertificate]] = {}
    for kit, *row in registry.rows(
        "SELECT k.kit, k.serial, k.slot, c.revoked_at, (SELECT kid FROM devices d WHERE "
        "d.certificate = k.serial) FROM kit_certificates k JOIN certificates c USING (serial) "
        "ORDER BY k.slot"
    ):
        certificates.setdefault(kit, []).append(KitCertificate(*row))
    return [
        KitEntry(id, *row, tuple(certificates.get(id, ())))  # type: ignore[call-arg]
        for id, *row in registry.rows(
            "SELECT id, technician, name, created_at, expires_at, kits.revoked_at, "
            "kits.revoked_by, not_after, role_keys.revoked_at FROM kits JOIN role_keys ON kid = "
            "technician ORDER BY created_at, id"
        )
    ]


def find(registry: Registry, text: str) -> KitEntry:
    """The kit of an id, of which the first digits will do.

    Raises:
        KitError: none or several.
    """
    wanted = text.strip().lower()
    found = [e for e in entries(registry) if len(wanted) >= 4 and e.id.hex().startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(entry.id.hex() for entry in found[:5])
        raise KitError(f"Several kits begin with '{text}': {names}; give more digits.")
    raise KitError(
        f"This province has no kit '{text}'; give at least 4 digits of an id from 'desalink kit "
        "list', or the kit's file."
    )


def record(
    registry: Registry,
    id: bytes,
    technician: bytes,
    created: int,
    expires: int,
    certificates: Iterable[tuple[str, str, int, bytes]],
) -> None:
    """Note a kit before it exists anywhere.

    Args:
        certificates: serial, slot, end of validity and content (DER) of each.
    """
    with registry.transaction():
        registry.change(
            "INSERT INTO kits (id, technician, created_at, expires_at) VALUES (?, ?, ?, ?)",
            *(id, technician, created, expires),
        )
        for serial, slot, not_after, content in certificates:
            registry.record_certificate(serial, slot, not_after, content)
            registry.change("INSERT INTO kit_certificates VALUES (?, ?, ?)", serial, id, slot)


def mark_revoked(registry: Registry, entry: KitEntry, *, by: str, unused_only: bool) -> None:
    """Mark a kit's certificates revoked: all and the kit itself, or those nobody was given."""
    now = int(time.time())
    chosen = entry.unused if unused_only else entry.certificates
    with registry.transaction():
        for certificate in chosen:
            registry.change(
                "UPDATE certificates SET revoked_at = ? WHERE serial = ? AND revoked_at IS NULL",
                *(now, certificate.serial),
            )
        if not unused_only:
            registry.change(
                "UPDATE kits SET revoked_at = ?, revoked_by = ? WHERE id = ? AND revoked_at IS "
                "NULL",
                *(now, by, entry.id),
            )


def waiting_serials(registry: Registry, slot: str) -> set[str]:
    """A slot's certificates in kits that were not revoked, which no device is known to have.

    Of expired kits too: a device may have been given one on the last day, and its enrolment be
    imported weeks later.
    """
    return {
        serial
        for (serial,) in registry.rows(
            "SELECT k.serial FROM kit_certificates k JOIN kits ON kits.id = k.kit WHERE k.slot = "
            "? AND kits.revoked_at IS NULL AND NOT EXISTS (SELECT 1 FROM devices d WHERE "
            "d.certificate = k.serial)",
            slot,
        )
    }
