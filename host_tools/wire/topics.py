"""Topics of version 1: `desa/1/R/<slot>/<kind>`."""

from __future__ import annotations

import re
from typing import NamedTuple

from host_tools.wire.envelope import byte_string_head
from host_tools.wire.reasons import Reason, Refused

PREFIX = "desa/1"

# [0-9], because \d also takes digits of other scripts, and R must be the slot's own first four.
_TOPIC = re.compile(r"desa/1/([0-9]{4})/((\1[0-9]{6})-[1-9][0-9]{0,2})/([a-z]+)")


class Topic(NamedTuple):
    """A topic taken apart; `aad_field`, its name in CBOR, is in what is signed for it."""

    name: str
    slot: str
    village: str
    kind: str
    aad_field: bytes


def parse_topic(name: str) -> Topic:
    """Take a topic apart.

    Raises:
        Refused: wrong_topic, where it has another form or R is not of the slot's regency.
    """
    match = _TOPIC.fullmatch(name)
    if match is None:
        raise Refused(Reason.WRONG_TOPIC, "the topic is not desa/1/R/<slot>/<kind>")
    aad = name.encode()
    return Topic(name, match[2], match[3], match[4], byte_string_head(len(aad)) + aad)


def topic_name(slot: str, kind: str) -> str:
    """The topic of one kind of message of a slot."""
    return f"{PREFIX}/{slot[:4]}/{slot}/{kind}"


def ack_topic(slot: str) -> str:
    """The topic of acks to a slot's device."""
    return topic_name(slot, "ack")


def enrol_topic(slot: str) -> str:
    """The external_aad of an enrolment; nothing is ever published there."""
    return topic_name(slot, "enrol")
