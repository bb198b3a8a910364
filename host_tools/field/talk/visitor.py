"""Asking a device while its agent does not run.

The device's own half is agent/visit.py. The agent is interrupted for the visit and started again.
`over_serial` and `over_ssh` have the two ways to a device.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from host_tools.common.i18n import _
from host_tools.field.provision.errors import ProvisionError

LOG_BYTES = 4000
# Runs on the device.
IMPORT = "try:\n from agent import visit\nexcept ImportError:\n visit=None\n"


class HeardNetwork(NamedTuple):
    """A Wi-Fi network in reach. signal: dBm; channel: None if unknown."""

    name: str
    signal: int
    channel: int | None


class Visitor(Protocol):
    """A visit to one device."""

    def ask(self, call: str, timeout: float = 60) -> Any:
        """The answer to a call of `agent.visit.Visit`.

        Raises:
            ProvisionError: the line is gone, or the answer is wrong or missing.
        """

    def networks(self) -> list[HeardNetwork] | None:
        """The Wi-Fi networks in reach, the strongest first; None: the device can't tell."""

    def figures(self, row: dict[int, int]) -> dict[int, int]:
        """Figures of a round, completed with what only the platform can tell."""

    def log(self) -> str:
        """The end of the agent's log, or why it ended last."""


def unknown_form(reason: str = "") -> ProvisionError:
    """The error for an answer that no version of the agent gives."""
    return ProvisionError(
        "device", _("The device answers in an unknown form; run the same command again.")
    )


def old_agent() -> ProvisionError:
    """The error for an agent that has no half for a visit."""
    return ProvisionError(
        "device",
        _(
            "The device's agent is from an earlier version, or it has none; provision it again "
            "with a new kit, then run the same command."
        ),
    )


def strongest_first(found: list[HeardNetwork]) -> list[HeardNetwork]:
    """The networks by their signal."""
    return sorted(found, key=lambda network: -network.signal)
