"""COSE_Sign1 by a simulated device's key (docs/wire.md, "The envelope"), with libsodium."""

from __future__ import annotations

from typing import Any

import cbor2
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from host_tools.simulate.world import SimulatedDevice
from host_tools.wire import hash8, sign1_structure, topic_name
from host_tools.wire.envelope import byte_string_head


class MessageSigner:
    """Signs what a device publishes, and its enrolment."""

    def __init__(self, device: SimulatedDevice, slot: str) -> None:
        self.public_key, self._secret = crypto_sign_seed_keypair(device.seed)
        self.slot = slot
        self.kid = hash8(self.public_key)
        self._protected = b"\xa2\x01\x32\x04\x48" + self.kid
        self._head = b"\xd2\x84" + byte_string_head(13) + self._protected + b"\xa0"
        self._aad = {k: topic_name(slot, k).encode() for k in ("report", "birth", "enrol")}

    def sign(self, kind: str, payload: dict[int, Any]) -> bytes:
        """Sign a payload, whose keys are in order, for the topic of a kind."""
        body = cbor2.dumps(payload)
        text = sign1_structure(self._protected, self._aad[kind], body)
        signature = crypto_sign(text, self._secret)[:64]
        return self._head + byte_string_head(len(body)) + body + b"\x58\x40" + signature

    def enrolment(self, at: int) -> bytes:
        """The proof with which the device was enrolled."""
        return self.sign(
            "enrol", {1: self.slot, 2: self.public_key, 3: None, 4: "simulated", 5: "0.1.0", 6: at}
        )
