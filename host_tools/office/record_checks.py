"""What a record must be before it enrols its device."""

from __future__ import annotations

from host_tools.common.errors import EnrolmentError
from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.field.enrolments.log import CLOCK_TOLERANCE_S
from host_tools.field.enrolments.record import (
    LogError,
    Record,
    check_signer,
)
from host_tools.people.kits.model import same_id
from host_tools.province.records import RoleKey
from host_tools.province.registry import Device, Registry
from host_tools.wire.payload import Enrolment
from host_tools.wire.reasons import Refused


def check_technician(
    record: Record, known: dict[bytes, RoleKey], owner: str | None, at: int, name: object
) -> None:
    where = _("{name}: record {number} ({slot})").format(
        name=name, number=record.number, slot=record.slot
    )
    technician = known.get(record.technician)
    if technician is None:
        raise LogError(
            _(
                "{where} is signed by key {technician}, which no technician of this province has; "
                "nothing was imported."
            ).format(where=where, technician=record.technician.hex())
        )
    try:
        check_signer(record, technician.public_key)
    except Refused as refused:
        raise LogError(
            _(
                "{where} is not what technician {name} signed ({refused}); nothing was imported, "
                "export the log again."
            ).format(where=where, name=technician.name, refused=refused)
        ) from None
    if technician.revoked_at is not None:
        raise LogError(
            _(
                "{where} is signed by a key of technician {name} that was revoked on {date}; "
                "nothing was imported, provision its devices again with a new kit and a new log."
            ).format(where=where, name=technician.name, date=day(technician.revoked_at))
        )
    if not technician.added_at - CLOCK_TOLERANCE_S <= record.time < technician.not_after:
        raise LogError(
            _(
                "{where} was signed on {date}, and the key of technician {name} is valid from "
                "{added_at} (a clock may be one day behind) to {not_after}; nothing was imported, "
                "set the clock of that laptop and provision its devices again with a new log."
            ).format(
                where=where,
                date=day(record.time),
                name=technician.name,
                added_at=day(technician.added_at),
                not_after=day(technician.not_after),
            )
        )
    if record.time > at + CLOCK_TOLERANCE_S:
        raise LogError(
            _(
                "{where} was signed on {date}, more than one day ahead of this machine's clock; "
                "set the clock of this machine, or of that laptop, and try again."
            ).format(where=where, date=day(record.time))
        )
    if owner is not None and technician.name != owner:
        raise LogError(
            _(
                "{where} is signed by {name} in a log of {owner}; nothing was imported, every "
                "technician keeps a log of his own."
            ).format(where=where, name=technician.name, owner=owner)
        )


def _check_newest(registry: Registry, record: Record) -> None:
    """A record that was refused once must not undo what came after it."""
    later = registry.later_record(record.log, record.slot, record.number)
    if later is not None:
        raise EnrolmentError(
            _(
                "record {later} of the same log names a later device of slot {slot}; nothing is "
                "to be done"
            ).format(later=later, slot=record.slot)
        )


def _check_ids(record: Record, unique_id: str | None, firmware: bytes | None) -> None:
    """What the laptop and the device report must not contradict each other."""
    if record.unique_id is not None and unique_id is not None:
        read, reported = same_id(record.unique_id), same_id(unique_id)
        # Only MAC addresses are read from the chip and reported by the device alike.
        if read != reported and _mac(read) and _mac(reported):
            raise EnrolmentError(
                _(
                    "the chip's address was read as {unique_id} and the device says "
                    "{said}: the proof may be another device's; provision it again"
                ).format(unique_id=record.unique_id, said=unique_id)
            )
    if record.firmware_hash is not None and firmware not in (None, record.firmware_hash):
        raise EnrolmentError(
            _("the device runs other firmware than the record says; provision it again")
        )


def _mac(text: str) -> bool:
    return len(text) == 12 and all(c in "0123456789abcdef" for c in text)


def _check_kit(registry: Registry, record: Record, technician: RoleKey) -> None:
    """A technician enrols for the slots of his own kits only."""
    holder = registry.kit_holder(record.kit)
    if holder is None:
        raise EnrolmentError(
            _(
                "kit {kit} is not a kit of this province; provision the device again from one of "
                "this province"
            ).format(kit=record.kit.hex())
        )
    made_for, name, expires = holder
    if made_for != record.technician:
        raise EnrolmentError(
            _(
                "kit {kit} was made for key {made_for} of {name}, and the record is signed by key "
                "{technician} of {technician_name}; provision the device again from a kit of "
                "{technician_name}'s own"
            ).format(
                kit=record.kit.hex(),
                made_for=made_for.hex(),
                name=name,
                technician=record.technician.hex(),
                technician_name=technician.name,
            )
        )
    # The laptop checks this by the same clock that gave the record its time.
    if record.time >= expires:
        raise EnrolmentError(
            _(
                "it was signed on {date}, and kit {kit} expired on {expires}; provision the "
                "device again with a new kit"
            ).format(date=day(record.time), kit=record.kit.hex(), expires=day(expires))
        )


def _check_certificate(registry: Registry, record: Record) -> None:
    serial = record.certificate_serial
    packed = registry.kit_of_certificate(serial)
    if packed is None or packed[:2] != (record.slot, record.kit):
        raise EnrolmentError(
            _(
                "certificate {serial} was not given out for slot {slot} in kit {kit}; provision "
                "the device again from a kit of this province"
            ).format(serial=serial, slot=record.slot, kit=record.kit.hex())
        )
    if packed[2]:
        raise EnrolmentError(
            _(
                "certificate {serial} of slot {slot} is revoked; provision the device again with "
                "a new kit"
            ).format(serial=serial, slot=record.slot)
        )
    for device in registry.devices_of_certificate(serial):
        # A device that was erased makes a new key, and may keep the certificate that it had.
        itself = device.kid == record.device or (
            device.unique_id
            and record.unique_id
            and same_id(device.unique_id) == same_id(record.unique_id)
        )
        if not itself:
            raise EnrolmentError(
                _(
                    "certificate {serial} was given to device {kid} already; provision this one "
                    "again"
                ).format(serial=serial, kid=device.kid.hex())
            )


def check_unique_id(record: Record, active: list[Device], kid: bytes) -> None:
    if record.unique_id is None:
        return
    wanted = same_id(record.unique_id)
    for device in active:
        elsewhere = device.slot != record.slot and device.kid != kid
        if elsewhere and device.unique_id and same_id(device.unique_id) == wanted:
            raise EnrolmentError(
                _(
                    "the device with unique id {unique_id} is enrolled for slot {slot}; if it was "
                    "moved, 'desalink devices revoke {slot}' and import the file again"
                ).format(unique_id=record.unique_id, slot=device.slot)
            )


def check_record(
    registry: Registry, record: Record, technician: RoleKey, enrolment: Enrolment
) -> None:
    """Compare a record with its log, the device's own statement, its kit and its certificate.

    Raises:
        EnrolmentError: why it can't enrol its device.
    """
    _check_newest(registry, record)
    _check_ids(record, enrolment.unique_id, enrolment.firmware)
    _check_kit(registry, record, technician)
    _check_certificate(registry, record)
