"""A small province with an office log and receipts, and the keys of all who sign in it.

Everything follows from seeds and given times. Two slots report from 27 September to 3 October.
A technician exchanges the device of `6403112002-1` in between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.wire import ids
from host_tools.common.times import DAY_S
from host_tools.contracts import closing
from host_tools.contracts.calendar import month_of
from host_tools.contracts.table import contract_id
from host_tools.evidence.export import Exported, Exporter
from host_tools.field.enrolments.record import parse_record, sign_record
from host_tools.ingest.receipting import close_all
from host_tools.keys.signing import public_bytes
from host_tools.people.office_log import OfficeEntry, entry_hash, sign_entry
from host_tools.people.receipts import receipt_hash
from host_tools.people.trust import INGEST, OFFICE, TECHNICIAN, TrustedKey, sign_trust
from host_tools.province.contract_records import Contract, ContractEvent
from host_tools.province.records import RoleKey, Village
from host_tools.province.registry import Registry
from host_tools.store.receipts import newest_receipt
from host_tools.wire.envelope import hash8
from tests.world.devices import Device, ordinary, outage_began, outage_ended
from tests.world.filled import Filled

OCTOBER = month_of("2026-10")
B, E = OCTOBER.begin, OCTOBER.end
BEGIN = B - 4 * DAY_S
SLOTS = ("6403112001-1", "6403112002-1")


def key(name: str) -> Ed25519PrivateKey:
    """A key by its name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


ROOT, CA = key("root"), key("ca")
ROLES = {"office": OFFICE, "ingest": INGEST, "technician": TECHNICIAN}


def trust(version: int, at: int, names: Iterable[str], root: Ed25519PrivateKey = ROOT) -> bytes:
    """A trust document; a name such as `ingest 2` is another key of the role `ingest`."""
    keys = []
    for name in names:
        public = public_bytes(key(name))
        role = ROLES[name.split()[0]]
        keys.append(TrustedKey(hash8(public), public, role, name, E + 9 * 365 * DAY_S))
    return sign_trust(root, version, at, E + 9 * 365 * DAY_S, keys)


class Pen:
    """Signs entries at times that a test sets."""

    def __init__(self, name: str = "office", at: int = BEGIN) -> None:
        self.key, self.at = key(name), at

    def __call__(self, before: bytes | None, kind: str, body: dict[str, Any], by: str) -> bytes:
        number, prev = 0, bytes(32)
        if before is not None:
            number = cbor2.loads(cbor2.loads(before).value[2])[1] + 1
            prev = entry_hash(before)
        return sign_entry(self.key, OfficeEntry(number, prev, self.at, kind, body, by))


def contract(slot: str, price: int = 1_150_000) -> Contract:
    kinds = ("agent", "force_majeure", "maintenance", "power", "site")
    terms = ("Comtelindo", "Desa 50", "radio", 50, price, 990_000, kinds, None)
    return Contract(slot, *terms, B, E + 31 * DAY_S, "12")


Arrival = tuple[int, Device, bytes]
"""When a report of a device arrives."""


@dataclass
class SmallProvince:
    """The province, open. published: the head that was posted after the last receipt."""

    directory: Path
    registry: Registry
    filled: Filled
    pen: Pen
    published: str = ""
    devices: dict[str, Device] = field(default_factory=dict)

    def export(self, path: Path, **scope: str) -> Exported:
        """The evidence file of October."""
        roots = [public_bytes(ROOT)]
        exporter = Exporter(self.registry, self.filled.db, "Kalimantan Timur", roots)
        return exporter.export(path, OCTOBER, scope, now=E + 5 * DAY_S)

    def close(self, at: int = E + 3 * DAY_S + 3600) -> None:
        """Close October."""
        self.pen.at = at
        self.filled.derive()
        closing.close(self.registry, self.filled.db, OCTOBER, by="Rina", now=at)

    def store(self, arrivals: Iterable[Arrival], until: int = E + DAY_S) -> None:
        """Store what arrives before a time."""
        for at, device, message in arrivals:
            if at < until:
                self.filled.store(device, [message], received_at=at)

    def receive(self, first: int, last: int) -> None:
        """Sign the receipts of the days whose end lies in the time from first to last."""
        for end in range(first, last + 1, DAY_S):
            close_all(self.filled.db, self, end + 60, clock=lambda end=end: end + 60)
        newest = newest_receipt(self.filled.db)
        assert newest is not None
        self.published = receipt_hash(newest[1]).hex()

    # What a receipt needs from outside the database.

    def key(self) -> Ed25519PrivateKey:
        return key("ingest")

    def office(self) -> tuple[tuple[int, bytes] | None, int]:
        newest = self.registry.newest_office_entry()
        trust = self.registry.trusts()[-1][0]
        return newest and (newest[0], entry_hash(newest[1])), trust

    def archive(self) -> None:
        return None


def found(directory: Path, extra: Iterable[Arrival] = ()) -> SmallProvince:
    """Make the province; its month is over and not closed."""
    villages = [Village(slot[:10], f"Desa {slot[9]}", "Kelay", "Berau") for slot in SLOTS]
    registry = Registry.create(directory, villages)
    pen = Pen()
    registry.pen = pen
    registry.add_trust(1, trust(1, BEGIN, ["office", "ingest", "ingest 0", "technician"]))
    registry.add_trust(2, trust(2, BEGIN, ["office", "ingest", "technician"]))
    filled = Filled(directory / "province.db")
    its = SmallProvince(directory, registry, filled, pen)
    first, second = (
        Device(slot, seed=number, now=BEGIN, step=3600) for number, slot in enumerate(SLOTS, 1)
    )
    third = Device(SLOTS[1], seed=3, now=B + DAY_S, step=3600)
    its.devices = {"first": first, "second": second, "third": third}
    for device in (first, second):
        registry.enrol(
            *(device.slot, device.public_key),
            **{"board": "unix", "firmware": "1", "by": "Rina", "proof": device.proof()},
            at=BEGIN,
        )
    for slot in SLOTS:
        own = contract(slot)
        registry.add_contract(contract_id(own), own, by="Rina", at=BEGIN)
    registry.add_contract_event(
        ContractEvent(
            *("0badcafe", "maintenance", "slot", SLOTS[0], B + 122_400, B + 124_200),
            *("Rina", "mast", BEGIN),
        )
    )
    arrivals = [*_life(first, BEGIN + 6 * DAY_S), *_life(second, BEGIN + 5 * DAY_S)]
    arrivals = sorted([*arrivals, *extra], key=lambda arrival: arrival[0])
    late = arrivals.pop(25)
    filled.be_born(first)
    filled.be_born(second)
    its.store(arrivals, until=B + DAY_S)
    its.receive(BEGIN, B + DAY_S)
    pen.at = B + DAY_S
    _replace(registry, third, second)
    filled.be_born(third)
    its.store([late])  # it waited in quarantine
    rest = [*_life(third, B + 3 * DAY_S), *(a for a in arrivals if a[0] >= B + DAY_S)]
    its.store(sorted(rest, key=lambda arrival: arrival[0]))
    its.receive(B + 2 * DAY_S, E + 3 * DAY_S)
    return its


def arrival(device: Device, message: bytes) -> Arrival:
    """A report that arrives when it was made."""
    return device.now, device, message


def _life(device: Device, until: int) -> Iterable[Arrival]:
    """Reports of five hours each, with an outage of an hour on every second day."""
    while device.now < until:
        events: list[list[Any]] = []
        if (device.now - BEGIN) // 3600 % 50 == 30:
            events = [
                outage_began(0, ids.DOWN_PROVIDER),
                outage_ended(3600, ids.DOWN_PROVIDER, 3600),
            ]
        yield arrival(device, device.report(ordinary(base=device.seq), events))


def _replace(registry: Registry, device: Device, old: Device) -> None:
    """A technician puts a device in another's place."""
    raw = sign_record(
        key("technician"),
        prev=bytes(32),
        number=0,
        time=B + DAY_S,
        slot=device.slot,
        proof=device.proof(),
        unique_id=None,
        board="unix",
        firmware_hash=None,
        certificate_serial="0a",
        replaces=old.kid,
        kit=bytes(8),
        log=bytes(8),
    )
    record = parse_record(raw)
    technician = key("technician")
    kid = hash8(public_bytes(technician))
    registry.add_role_key(RoleKey(kid, public_bytes(technician), TECHNICIAN, "Budi", BEGIN, E))
    registry.add_record(
        *(bytes(8), 0),
        **{"digest": record.hash, "technician": kid, "slot": device.slot, "record": raw},
        **{"at": B + DAY_S, "refused": None},
    )
    registry.enrol(
        *(device.slot, device.public_key),
        **{"board": "unix", "firmware": "1", "by": "Budi", "proof": device.proof()},
        **{"replace": True, "at": B + DAY_S, "record": record.hash},
    )
