"""Who may write and read which topic: one table for Mosquitto and for its check."""

from __future__ import annotations

from collections.abc import Sequence

# What a device sends, and what it receives, under desa/1/<regency>/<slot>/.
DEVICE_TOPICS = ("report", "birth", "state", "reply")
PROVINCE_TOPICS = ("ack", "command", "certificate")
# What every device receives.
COMMON_TOPICS = ("desa/1/trust", "desa/1/release/#")

# Service -> topics that it may write, and topics that it may read. The check uses its own
# identities with the same rights, because it must not replace the session of a running ingest.
SERVICES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ingest": (
        ("desa/1/+/+/ack",),
        tuple(f"desa/1/+/+/{leaf}" for leaf in DEVICE_TOPICS),
    ),
    "operator": (
        ("desa/1/+/+/command", "desa/1/+/+/certificate", *COMMON_TOPICS),
        ("desa/1/+/+/reply",),
    ),
}


def check_identity(service: str) -> str:
    """The name under which the check acts for a service."""
    return f"check-{service}"


def render_acl(regencies: Sequence[str]) -> str:
    """The ACL file.

    Args:
        regencies: the 4-digit codes under which the province's devices may write.
    """
    lines = [
        "# Made by 'desalink broker config'; changes are lost at the next run of the broker.",
        "# The user is the CN of the client's certificate: a slot, or a service of the province.",
        "",
    ]
    for service, (writes, reads) in SERVICES.items():
        for user in (service, check_identity(service)):
            lines.append(f"user {user}")
            lines += [f"topic write {topic}" for topic in writes]
            lines += [f"topic read {topic}" for topic in reads]
            lines.append("")
    lines += [
        "# Every slot, under its own name only. The regencies are spelled out: with a wildcard "
        "one",
        "# stolen certificate could leave retained messages under any number of made-up "
        "regencies.",
    ]
    lines += [
        f"pattern write desa/1/{regency}/%u/{leaf}"
        for regency in regencies
        for leaf in DEVICE_TOPICS
    ]
    lines += [f"pattern read desa/1/+/%u/{leaf}" for leaf in PROVINCE_TOPICS]
    lines += [f"pattern read {topic}" for topic in COMMON_TOPICS]
    return "\n".join(lines) + "\n"
