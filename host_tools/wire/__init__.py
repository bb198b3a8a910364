"""The wire as the province reads it: strict, and independent of the agent's own code.

`docs/wire.md` is the contract. `topics` finds the slot that a message claims, `verifier` and
`envelope` check that its device signed it, `payload` parses it, and `columns` decodes the samples.
"""

from host_tools.wire.columns import decode_columns
from host_tools.wire.envelope import hash8, sign1_structure, verify_sign1
from host_tools.wire.payload import (
    Birth,
    Enrolment,
    Event,
    Report,
    decode,
    encode_ack,
    parse_birth,
    parse_enrolment,
    parse_report,
)
from host_tools.wire.reasons import Reason, Refused
from host_tools.wire.topics import Topic, ack_topic, enrol_topic, parse_topic, topic_name
from host_tools.wire.verifier import Key, Keys, Signed, Verifier

__all__ = [
    "Birth",
    "Enrolment",
    "Event",
    "Key",
    "Keys",
    "Reason",
    "Refused",
    "Report",
    "Signed",
    "Topic",
    "Verifier",
    "ack_topic",
    "decode",
    "decode_columns",
    "encode_ack",
    "enrol_topic",
    "hash8",
    "parse_birth",
    "parse_enrolment",
    "parse_report",
    "parse_topic",
    "sign1_structure",
    "topic_name",
    "verify_sign1",
]
