"""The wire as the province reads it: strict, and independent of the agent's own code.

`docs/wire.md` is the contract. `topics` finds the slot that a message claims, `verifier` and
`envelope` check that its device signed it, `payload` parses it, and `columns` decodes the samples.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from host_tools.wire.columns import decode_columns
    from host_tools.wire.envelope import sign1_structure, verify_sign1
    from host_tools.wire.hashing import hash8
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

_MODULES = ("reasons", "envelope", "topics", "verifier", "columns", "payload")


def __getattr__(name: str) -> Any:
    """A name of this package, from its module: a verb that needs one loads no other."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in __all__:
        for module in _MODULES:
            found = getattr(import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
