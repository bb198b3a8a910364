"""Provinces with an office log and receipts, for tests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from host_tools.contracts import closing, events
from host_tools.contracts.calendar import Month, month_of
from host_tools.contracts.changes import add_all
from host_tools.ingest.receipting import ProvinceReceipts, close_all
from host_tools.people.office_pen import open_office
from host_tools.province.contract_records import ClosedMonth, Contract
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from tests.world.devices import Device, ordinary, outage_began, outage_ended
from tests.world.filled import Filled

PASSPHRASE = "correct horse battery"
SLOTS = ("6403112001-1", "6403112002-1", "6402012001-1")
MONTH = "2026-10"
_DAY_S = 86400
_STEP_S, _SAMPLES = 3600, 12


def signing_registry(province: Province) -> Registry:
    """The registry of a province, opened so that it signs what is changed."""
    registry = Registry.open(province.directory)
    open_office(province, registry, PASSPHRASE)
    return registry


def receipts_until(filled: Filled, province: Province, now: float) -> None:
    """Close every receipt that is due, with the signing key's own time."""
    close_all(filled.db, ProvinceReceipts(province), now, clock=time.time)


@dataclass
class Evidenced:
    """A province whose month is closed."""

    province: Province
    devices: list[Device]
    month: Month
    closed: ClosedMonth


def evidenced(
    province: Province, slots: Sequence[str] = SLOTS, days: int = 4, month: str = MONTH
) -> Evidenced:
    """Devices with contracts and an event, their reports of some days, and a closed month.

    Two reports a day and device. The first device has an outage of 45 minutes, the second one a
    maintenance. Each midnight a receipt is closed.
    """
    when = month_of(month)
    devices = [
        Device(slot=slot, seed=number, now=when.begin, step=_STEP_S)
        for number, slot in enumerate(slots, 1)
    ]
    with signing_registry(province) as registry:
        for device in devices:
            registry.enrol(
                *(device.slot, device.public_key),
                **{"board": "unix", "firmware": "0.1.0", "by": "Ani", "at": when.begin - 7200},
                proof=device.proof(),
            )
        contracts = [
            Contract(
                *(device.slot, "Telkom", "Astinet", "fibre", 20, 3_000_000, 995_000),
                *(("power", "maintenance"), None, when.begin, when.end),
            )
            for device in devices
        ]
        add_all(registry, contracts, by="Budi", now=when.begin - 3600)
        events.add(
            *(registry, "maintenance", "slot", slots[-1], when.begin + 7200, when.begin + 9000),
            **{"who": "Citra", "why": "new mast", "now": when.begin + 100},
        )
        filled = Filled(province.database)
        for day in range(days):
            for device in devices:
                _day_of(filled, device, day)
            receipts_until(filled, province, when.begin + (day + 1) * _DAY_S + 60)
        receipts_until(filled, province, when.end + 3600)
        filled.derive()
        closed = closing.close(registry, filled.db, when, by="Dewi", now=when.end + _DAY_S)
        filled.db.close()
    return Evidenced(province, devices, when, closed)


def _day_of(filled: Filled, device: Device, day: int) -> None:
    if day == 0:
        filled.be_born(device)
    outage = [outage_began(3600, 3), outage_ended(6300, 3, 2700)]
    happened = outage if day == 1 and device.seed == 1 else []
    filled.store(device, [device.report(ordinary(_SAMPLES), happened)])
    filled.store(device, [device.report(ordinary(_SAMPLES))], received_at=device.now - 1)
