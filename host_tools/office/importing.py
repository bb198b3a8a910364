"""The province reads a technician's log of enrolments.

Two kinds of wrong are kept apart. Where the log itself can't be trusted (not signed by a
technician of this province, altered, forked, incomplete) nothing of the file is imported. Where a
record of a sound log can't enrol its device (its slot is filled, its certificate is revoked ...)
that record is kept with the reason, and the others count: one clash in one village does not hold
up the rest of a trip. A record that was refused is tried again whenever its file is imported.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from host_tools.common.errors import DesalinkError, EnrolmentError
from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.field.enrolments.log import EXPORT
from host_tools.field.enrolments.record import (
    FIRST_PREV,
    LogError,
    Record,
    parse_record,
)
from host_tools.office.cutting import pending_slots
from host_tools.office.record_checks import check_record, check_technician, check_unique_id
from host_tools.people.replacements import order_for
from host_tools.people.technicians import technicians
from host_tools.province.records import RoleKey, kid_of
from host_tools.province.registry import Device, Registry
from host_tools.province.settings import Province
from host_tools.wire.envelope import strict_decode
from host_tools.wire.reasons import Refused

MAX_FILE = 64 << 20


@dataclass(frozen=True)
class Imported:
    record: Record
    technician: str
    outcome: str
    """`enrolled`, `replaced`, `already` (this device was enrolled before), `known` (this record
    was imported before) or `refused`."""
    reason: str = ""


def read_export(data: bytes, name: object) -> list[Record]:
    """The records of an exported log, their chain checked; signatures are not.

    Raises:
        LogError: it is not an export, or its records do not hang together.
    """
    if len(data) > MAX_FILE:
        raise LogError(
            _("{name} is too large for a log of enrolments; choose the right file.").format(
                name=name
            )
        )
    try:
        item = strict_decode(data)
        if type(item) is not list or len(item) != 2 or item[0] != EXPORT:
            raise LogError(
                _(
                    "{name} is not a log of enrolments; choose the file that 'desalink enrolments "
                    "export' wrote."
                ).format(name=name)
            )
        rows: Any = item[1]
        if type(rows) is not list or not rows or not all(type(row) is bytes for row in rows):
            raise LogError(_("{name} holds no records; export the log again.").format(name=name))
        records = [parse_record(row) for row in rows]
    except Refused as refused:
        raise LogError(
            _("{name} is damaged or not a log of enrolments ({refused}); export it again.").format(
                name=name, refused=refused
            )
        ) from None
    prev = FIRST_PREV
    for number, record in enumerate(records):
        if (record.number, record.prev, record.log) != (number, prev, records[0].log):
            raise LogError(
                _(
                    "{name}: the chain is broken at record {number} ({slot}); export the log "
                    "again on the laptop where it was made."
                ).format(name=name, number=number, slot=record.slot)
            )
        prev = record.hash
    return records


class _Tried(Exception):
    """Takes back an import that was only tried."""


def needs_authority(
    province: Province, registry: Registry, records: Sequence[Record], name: object
) -> bool:
    """Whether an import would revoke certificates, which needs the CA's key; changes nothing.

    Raises:
        LogError: as `import_records`.
    """
    needed = False
    with contextlib.suppress(_Tried), registry.transaction():
        results = import_records(registry, records, name)
        replaced = any(result.outcome == "replaced" for result in results)
        needed = replaced or bool(pending_slots(province, registry))
        raise _Tried
    return needed


def import_records(
    registry: Registry, records: Sequence[Record], name: object, *, now: float | None = None
) -> list[Imported]:
    """Enrol the devices of a log, in one transaction; importing it again changes nothing.

    Certificates of devices that are replaced are marked revoked; making that count at the broker
    is for the caller (`cut_off`).

    Args:
        records: from `read_export`.
        name: of the file, for sentences.

    Raises:
        LogError: the log can't be trusted; nothing is changed.
    """
    at = int(time.time() if now is None else now)
    known = {t.kid: t for t in technicians(registry)}
    with registry.transaction():
        stored = _stored(registry, records, name)
        owner = registry.owner_of_log(records[0].log)
        for record in records[len(stored) :]:
            check_technician(record, known, owner, at, name)
            owner = known[record.technician].name
        return [
            _import(registry, record, known[record.technician], stored, at) for record in records
        ]


def _stored(registry: Registry, records: Sequence[Record], name: object) -> list[str | None]:
    """Why each record that is here already was refused, None where it was not."""
    rows = registry.records_of_log(records[0].log)
    for record, (digest, _refused, slot) in zip(records, rows, strict=False):
        if record.hash != digest:
            raise LogError(
                _(
                    "{name}: record {number} ({slot}) is another than the one that was imported "
                    "before ({before}): the log was forked, for example by a laptop put back from "
                    "a copy. Nothing was imported; start a new log on that laptop (move its "
                    "enrolments directory away) and provision the devices since then again."
                ).format(name=name, number=record.number, slot=record.slot, before=slot)
            )
    return [refused for _digest, refused, _slot in rows[: len(records)]]


def _import(
    registry: Registry,
    record: Record,
    technician: RoleKey,
    stored: list[str | None],
    at: int,
) -> Imported:
    new = record.number >= len(stored)
    if not new and stored[record.number] is None:
        return Imported(record, technician.name, "known")
    reason = None
    try:
        outcome = _enrol(registry, record, technician)
    except DesalinkError as error:
        outcome, reason = "refused", str(error)
    if new:
        registry.add_record(
            record.log,
            record.number,
            digest=record.hash,
            technician=record.technician,
            slot=record.slot,
            record=record.raw,
            at=at,
            refused=reason,
        )
    else:
        registry.change_record(record.log, record.number, at=at, refused=reason)
    return Imported(record, technician.name, outcome, reason or "")


def _enrol(registry: Registry, record: Record, technician: RoleKey) -> str:
    """Enrol one record's device; all is checked before anything is changed."""
    if technician.revoked_at is not None:
        # New records of such a key are refused with their file; this one was refused before.
        raise EnrolmentError(
            _(
                "the key of technician {name} was revoked on {date}; provision the device again "
                "with a new kit and a new log"
            ).format(name=technician.name, date=day(technician.revoked_at))
        )
    enrolment = record.enrolment()
    check_record(registry, record, technician, enrolment)
    kid = kid_of(enrolment.public_key)
    before = registry.device_by_kid(kid)
    active = registry.active_devices()
    check_unique_id(record, active, kid)
    filling = next((d for d in active if d.slot == record.slot and d.kid != kid), None)
    order = order_for(registry, record.slot, filling.kid) if filling else None
    if filling is not None and record.replaces != filling.kid and order is None:
        raise EnrolmentError(_filled(record, filling))
    device, outcome = registry.enrol(
        record.slot,
        enrolment.public_key,
        board=record.board,
        firmware=enrolment.agent,
        by=technician.name,
        unique_id=record.unique_id or enrolment.unique_id,
        proof=record.proof,
        replace=filling is not None,
        at=record.time,
        certificate=record.certificate_serial,
        firmware_hash=record.firmware_hash,
        record=record.hash,
    )
    if outcome == "already":
        # Provisioned once more with another kit: the certificate on the device is the new one.
        registry.renew_device(
            *(device.kid, record.certificate_serial, record.firmware_hash, enrolment.agent)
        )
    if order is not None:
        registry.use_order(order, device.kid)
    keep = registry.waiting_serials(record.slot)
    if before is not None:
        keep.discard(before.certificate or "")
    keep.add(record.certificate_serial)
    registry.revoke_certificates(record.slot, keep=sorted(keep))
    return outcome


def _filled(record: Record, filling: Device) -> str:
    said = ""
    if record.replaces is not None:
        said = _(" (the record says that {replaces} was to be replaced)").format(
            replaces=record.replaces.hex()
        )
    return _(
        "slot {slot} is filled by device {kid}{said}; if it is to be replaced, run 'desalink "
        "devices replace {slot}' and import the file again"
    ).format(slot=record.slot, kid=filling.kid.hex(), said=said)
