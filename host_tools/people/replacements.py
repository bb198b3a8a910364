"""Replacement orders: the province's leave to put another device into a filled slot.

The order is signed by the root key and kept; the device goes on until its successor is enrolled.
A technician's own replacement (`provision --replace`) needs no order: it is in the record that he
countersigns.
"""

from __future__ import annotations

from dataclasses import dataclass

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.keys.signing import sign1
from host_tools.province.registry import Device, Registry

AAD = b"desa/1/replacements"


@dataclass(frozen=True)
class Order:
    """Leave to replace the device `kid` of a slot."""

    id: int
    slot: str
    kid: bytes


def make_order(
    registry: Registry, root: Ed25519PrivateKey, device: Device, *, by: str, now: float
) -> bytes:
    """Sign an order and keep it; one that is open already is returned as it is.

    Args:
        device: one that fills its slot.
    """
    with registry.transaction():
        open_already = [o for o in open_orders(registry) if o.kid == device.kid]
        if open_already:
            return bytes(
                registry.rows(
                    "SELECT document FROM replacements WHERE id = ?", open_already[0].id
                )[0][0]
            )
        payload = cbor2.dumps(
            {1: device.slot, 2: device.kid, 3: int(now), 4: by[:60]}, canonical=True
        )
        document = sign1(root, payload, AAD)
        registry.change(
            "INSERT INTO replacements (slot, kid, document, created_at) VALUES (?, ?, ?, ?)",
            *(device.slot, device.kid, document, int(now)),
        )
    return document


def open_orders(registry: Registry) -> list[Order]:
    """Orders that no enrolment has made use of yet, for devices that still fill their slots."""
    return [
        Order(*row)
        for row in registry.rows(
            "SELECT r.id, r.slot, r.kid FROM replacements r JOIN devices d ON d.kid = r.kid WHERE "
            "r.used_by IS NULL AND d.revoked_at IS NULL ORDER BY r.id"
        )
    ]


def use_order(registry: Registry, order: Order, by: bytes) -> None:
    """Note which device made use of an order."""
    registry.change("UPDATE replacements SET used_by = ? WHERE id = ?", by, order.id)


def order_for(registry: Registry, slot: str, kid: bytes) -> Order | None:
    """The open order for a slot and the device in it, or None."""
    found = [o for o in open_orders(registry) if (o.slot, o.kid) == (slot, kid)]
    return found[0] if found else None
