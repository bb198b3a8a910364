"""What a slot shares with others: its provider, medium, district and regency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from host_tools.alerts.settings import AlertSettings
from host_tools.common.times import DAY_S, WITA_S
from host_tools.province.contract_records import MAINTENANCE, ContractEvent
from host_tools.province.registry import Registry

Key = tuple[str, str]  # a kind, and which

KINDS_OF_KEYS = ("provider", "medium", "district", "regency", "all")
ALL: Key = ("all", "")


@dataclass(frozen=True)
class AlertPlace:
    """A slot and what it shares. hours: seconds since midnight WITA in which it is expected."""

    slot: str
    label: str
    district: str = ""
    regency: str = ""
    provider: str = ""
    medium: str = ""
    hours: tuple[int, int] | None = None

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """What others may share with it."""
        named = [("provider", self.provider), ("medium", self.medium)]
        return (
            *((kind, value) for kind, value in named if value),
            ("district", self.slot[:6]),
            ("regency", self.slot[:4]),
            ALL,
        )

    def is_expected(self, now: float) -> bool:
        """Whether it must be up now."""
        return self.hours is None or self.expected_since(now) is not None

    def expected_since(self, now: float) -> int | None:
        """Since when it must be up; None: it need not be up now."""
        if self.hours is None:
            return 0
        opens, closes = self.hours
        midnight = int((now + WITA_S) // DAY_S * DAY_S - WITA_S)
        if closes <= opens:  # over midnight
            if now < midnight + closes:
                return midnight - DAY_S + opens
            closes += DAY_S
        return midnight + opens if midnight + opens <= now < midnight + closes else None


def places_of(registry: Registry, settings: AlertSettings, now: float) -> dict[str, AlertPlace]:
    """Every slot with a device in use."""
    villages = {village.code: village for village in registry.villages()}
    contracts = {
        entry.contract.slot: entry.contract
        for entry in registry.contracts()
        if entry.contract.begin <= now < entry.contract.end
    }
    found = {}
    for slot in {device.slot for device in registry.active_devices()}:
        village, contract = villages.get(slot[:10]), contracts.get(slot)
        hours = settings.hours.get(slot) or settings.hours.get(slot[:10])
        found[slot] = AlertPlace(
            slot,
            village.name if village else slot,
            village.district if village else "",
            village.regency if village else "",
            contract.provider if contract else (village.provider if village else "") or "",
            contract.medium if contract else "",
            hours or (contract.hours if contract else None),
        )
    return found


def in_maintenance(
    events: list[ContractEvent], places: dict[str, AlertPlace], now: float
) -> set[str]:
    """The slots that are in announced maintenance now."""
    running = [e for e in events if e.kind == MAINTENANCE and e.begin <= now < e.end]
    return {
        slot
        for slot, place in places.items()
        if any(event.concerns(slot, place.provider) for event in running)
    }
