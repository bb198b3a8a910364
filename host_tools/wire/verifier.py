"""From a topic and bytes to a payload that an enrolled device has signed for that topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from host_tools.wire.envelope import check_signature, signed_bytes, split
from host_tools.wire.reasons import Reason, Refused
from host_tools.wire.topics import Topic, parse_topic

_CACHED_TOPICS = 200_000


class Key(NamedTuple):
    """A device's public key (Ed25519, 32 bytes), its slot, and whether it is not revoked."""

    public_key: bytes
    slot: str
    active: bool


Keys = Mapping[bytes, Key]


class Signed(NamedTuple):
    """A verified message: who signed it, for which topic, and the payload's bytes."""

    topic: Topic
    kid: bytes
    payload: bytes


class Verifier:
    """Verifies messages against a set of keys, which may be exchanged at any time.

    Attributes:
        keys: key id to key.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._topics: dict[str, Topic] = {}

    def topic(self, name: str) -> Topic:
        """`parse_topic`, remembered. Raises Refused: wrong_topic."""
        topic = self._topics.get(name)
        if topic is None:
            topic = parse_topic(name)
            if len(self._topics) >= _CACHED_TOPICS:
                self._topics.clear()
            self._topics[name] = topic
        return topic

    def verify(self, topic: Topic | str, message: bytes) -> Signed:
        """Verify one message.

        Raises:
            Refused: wrong_topic, too_large, malformed, unknown_key, wrong_slot, bad_signature,
                revoked_key. A signature is checked before the key is called revoked, so that
                nobody else can raise that alarm.
        """
        if isinstance(topic, str):
            topic = self.topic(topic)
        kid, begin = split(message)
        key = self.keys.get(kid)
        if key is None:
            raise Refused(
                Reason.UNKNOWN_KEY, f"no device with key id {kid.hex()} is enrolled", kid=kid
            )
        if key.slot != topic.slot:
            raise Refused(
                Reason.WRONG_SLOT, f"device {kid.hex()} is enrolled for slot {key.slot}", kid=kid
            )
        if not check_signature(key.public_key, signed_bytes(message, topic.aad_field)):
            raise Refused(
                Reason.BAD_SIGNATURE, f"not signed by device {kid.hex()} for this topic", kid=kid
            )
        if not key.active:
            raise Refused(Reason.REVOKED_KEY, f"the key of device {kid.hex()} is revoked", kid=kid)
        return Signed(topic, kid, message[begin:-66])
