"""Replacement orders: the province's permission to fill a filled slot with another device.

The root key signs an order. The old device works until the new one is enrolled. A technician's own
replacement (`provision --replace`) needs no order: it is in the countersigned record.
"""

from __future__ import annotations

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.keys.signing import sign1
from host_tools.province.records import ReplacementOrder
from host_tools.province.registry import Device, Registry

AAD = b"desa/1/replacements"


def make_order(
    registry: Registry, root: Ed25519PrivateKey, device: Device, *, by: str, now: float
) -> bytes:
    """Sign an order and store it, or return the open order for the device.

    Args:
        device: the one in the slot.
    """
    with registry.transaction():
        known = order_for(registry, device.slot, device.kid)
        if known is not None:
            return known.document
        payload = cbor2.dumps(
            {1: device.slot, 2: device.kid, 3: int(now), 4: by[:60]}, canonical=True
        )
        document = sign1(root, payload, AAD)
        registry.add_order(device.slot, device.kid, document, int(now))
    return document


def order_for(registry: Registry, slot: str, kid: bytes) -> ReplacementOrder | None:
    """The open order for a slot and the device in it, or None."""
    found = [o for o in registry.open_orders() if (o.slot, o.kid) == (slot, kid)]
    return found[0] if found else None
