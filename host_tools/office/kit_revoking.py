"""Revoking a kit that was lost: all that is in it, before and after it was used."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.keys.ca import Authority
from host_tools.office.cutting import cut_off
from host_tools.people import technicians
from host_tools.province.records import KitEntry
from host_tools.province.registry import Registry
from host_tools.province.settings import Province


@dataclass(frozen=True)
class Revoked:
    entry: KitEntry
    certificates: int
    used: tuple[str, ...]
    """Slots whose devices had their certificate from the kit and need a new one."""
    trust_version: int
    warnings: tuple[str, ...]


def revoke_kit(
    province: Province,
    registry: Registry,
    entry: KitEntry,
    *,
    root: Ed25519PrivateKey | None,
    open_authority: Callable[[], Authority],
    by: str,
) -> Revoked:
    """Revoke a kit; running it again repeats whatever did not get through.

    Args:
        root: opened; None: only the certificates that no device was given, and not the
            technician's key, for a kit whose trip is over.
        by: who revokes.

    Raises:
        KeyFileError: the revocation list is damaged.
    """
    unused_only = root is None
    chosen = entry.unused if unused_only else entry.certificates
    active = {device.kid for device in registry.active_devices()}
    registry.revoke_kit(entry, by=by, at=int(time.time()), unused_only=unused_only)
    if root is not None:
        technicians.revoke(province, registry, root, [entry.technician], by=by)
    # A device in use has another certificate than an unused one of its slot.
    spared = {device.slot for device in registry.active_devices()} if unused_only else ()
    warnings = cut_off(province, registry, open_authority, [c.slot for c in chosen], spared)
    newest = technicians.newest_trust(province, registry)
    return Revoked(
        entry,
        len(chosen),
        tuple(c.slot for c in chosen if c.device in active),
        newest[0].version if newest else 0,
        tuple(warnings),
    )
