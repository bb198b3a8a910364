"""Contracts, events and closed months as the registry keeps them.

Times are Unix seconds; money is rupiah.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

MAINTENANCE, FORCE_MAJEURE, DISPUTE = "maintenance", "force_majeure", "dispute"
EVENT_KINDS = (MAINTENANCE, FORCE_MAJEURE, DISPUTE)
SCOPES = ("all", "provider", "regency", "district", "village", "slot")


@dataclass(frozen=True)
class Contract:
    """What one slot is paid by, from `begin` to `end`.

    mbps: contracted, down; price: rupiah a month; target_ppm: availability that is owed, in
    millionths; excluded: kinds of time that are not the provider's; hours: seconds since
    midnight WITA from and to which the service is owed, None: always.
    """

    slot: str
    provider: str
    product: str
    medium: str
    mbps: int
    price: int
    target_ppm: int
    excluded: tuple[str, ...]
    hours: tuple[int, int] | None
    begin: int
    end: int
    number: str = ""

    @property
    def target(self) -> Fraction:
        """Availability that is owed, as a share of 1."""
        from fractions import Fraction

        return Fraction(self.target_ppm, 1_000_000)


@dataclass(frozen=True)
class ContractEntry:
    """A contract on record: its id, who added it, and who withdrew it and why."""

    id: str
    contract: Contract
    added_at: int
    added_by: str
    withdrawn_at: int | None = None
    withdrawn_by: str | None = None
    withdrawn_why: str | None = None


@dataclass(frozen=True)
class ContractEvent:
    """Maintenance, force majeure or a dispute, from `begin` to `end`.

    scope, value: what it concerns: `all`, or a provider's name, the code of a regency, district
    or village, or a slot. A dispute changes no figure; the report names it.
    """

    id: str
    kind: str
    scope: str
    value: str
    begin: int
    end: int
    who: str
    why: str
    added_at: int
    withdrawn_at: int | None = None
    withdrawn_by: str | None = None
    withdrawn_why: str | None = None

    def concerns(self, slot: str, provider: str | None) -> bool:
        """Whether it holds for a slot that a provider serves."""
        if self.withdrawn_at is not None:
            return False
        if self.scope == "provider":
            return self.value == provider
        if self.scope == "slot":
            return slot == self.value
        return self.scope == "all" or slot.startswith(self.value)


@dataclass(frozen=True)
class ClosedMonth:
    """A month's figures as they were closed; JSON, with their SHA-256."""

    month: str
    edition: int
    rules: int
    figures: bytes
    digest: bytes
    closed_at: int
    closed_by: str
    opened_at: int | None = None
    opened_by: str | None = None
    opened_why: str | None = None
