"""The log of enrolments on a technician's laptop: append only, durable, hash-chained.

`enrolments.log` is a sequence of frames: length (2 bytes), record, CRC-32 of the record (4). A
record counts once its frame is complete on the disk. A power cut can leave an incomplete frame at
the end; the next record replaces it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cbor2

from host_tools.common.errors import EnrolmentError
from host_tools.common.files import make_directory, sync_directory
from host_tools.common.i18n import _
from host_tools.common.locks import hold
from host_tools.common.times import day
from host_tools.field.enrolments.record import (
    FIRST_PREV,
    LogError,
    Record,
    parse_record,
    sign_record,
    verified,
)
from host_tools.field.enrolments.site import MeasuredSite
from host_tools.people.kits.model import Kit, KitError, KitSlot, same_id
from host_tools.people.kits.opened import refuse_expired
from host_tools.wire.envelope import MAX_MESSAGE
from host_tools.wire.reasons import Refused

FILE = "enrolments.log"
EXPORT = "desalink enrolments"
"""The first item of an exported file."""

CLOCK_TOLERANCE_S = 86400


class EnrolmentLog:
    """The log in a directory; several processes may use it at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / FILE

    def records(self) -> list[Record]:
        """Every record, in order.

        Raises:
            LogError: the file is damaged before its end, or the chain in it is broken.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        return self._read(content)[0]

    def find(self, unique_id: str) -> Record | None:
        """The newest record of a device by its unique id (MAC, serial number), or None."""
        records = reversed(self.records())
        return next((r for r in records if _same(r.unique_id, unique_id)), None)

    def filled_by(self, kit: Kit, slot: str) -> bytes | None:
        """The kid of the device that fills a slot, as far as this laptop knows, or None."""
        return _filled_by(self.records(), kit, slot)

    def filled(self, kit: Kit) -> dict[str, bytes]:
        """Slot -> kid of the device that fills it, as far as this laptop knows."""
        records = self.records()
        found = {slot: _filled_by(records, kit, slot) for slot in kit.slots}
        return {slot: kid for slot, kid in found.items() if kid is not None}

    def slot_for(self, kit: Kit, slot: str, unique_id: str | None) -> KitSlot:
        """A slot of the kit with the certificate for a device.

        It is the one of the device's record, else one that no other device of the log has.

        Raises:
            KitError: the slot is not in the kit, or other devices have all its certificates.
            LogError: the log is damaged, or an old copy of itself.
        """
        found = kit.slot(slot)
        taken = set()
        records = self.records()
        self._refuse_shortened(records, kit)
        for record in reversed(records):
            for certificate in found.certificates:
                if record.certificate_serial == certificate.serial:
                    if _same(record.unique_id, unique_id):
                        return found.with_certificate(certificate)
                    taken.add(certificate.serial)
        for certificate in found.certificates:
            if certificate.serial not in taken:
                return found.with_certificate(certificate)
        raise KitError(
            _(
                "Other devices have the kit's certificates for slot {slot} already; ask the "
                "province for a new kit."
            ).format(slot=slot)
        )

    def append(
        self,
        kit: Kit,
        slot: str,
        proof: bytes,
        unique_id: str | None,
        board: str,
        firmware_hash: bytes | None,
        certificate_serial: str,
        replaces: bytes | None = None,
        *,
        corrections: dict[str, str] | None = None,
        site: MeasuredSite | None = None,
        now: float | None = None,
    ) -> Record:
        """Countersign an enrolment and write it to the disk durably.

        The same device for the same slot with the same certificate, corrections and site is
        recorded once: another call returns that record.

        Args:
            proof: of the device, as it signed it.
            unique_id: MAC or serial number, as read from the chip.
            firmware_hash: SHA-256 of the firmware that runs on it.
            certificate_serial: of the certificate that it was given, hexadecimal.
            replaces: kid of the device that it replaces, if the slot is filled.
            corrections: settings that differ from the kit's, see `Record`.
            site: what was measured there; None: nothing new.
            now: Unix time, the present if None.

        Raises:
            EnrolmentError: no valid proof; the slot is filled and nothing is replaced; the unique
                id is enrolled for another slot.
            KitError: the slot is not in the kit, or the kit expired.
            LogError: the log is damaged, or an old copy of itself.
        """
        kit.slot(slot)
        at = int(time.time() if now is None else now)
        refuse_expired(kit.expires, f"of {kit.technician}", at)
        if at < kit.created - CLOCK_TOLERANCE_S:
            raise EnrolmentError(
                _(
                    "This laptop's clock shows {today} and the kit was made on {made}; set the "
                    "clock and enrol again."
                ).format(today=day(at), made=day(kit.created))
            )
        enrolment, device = verified(proof, slot)
        if firmware_hash is None:
            firmware_hash = enrolment.firmware
        make_directory(self.directory)
        with self._locked() as file:
            records, good = self._read(file.read())
            self._refuse_shortened(records, kit)
            _refuse_replaced(records, device)
            wanted = (slot, device, certificate_serial)
            for record in reversed(records):
                if (record.slot, record.device, record.certificate_serial) == wanted:
                    if record.corrections == corrections and site in (None, record.site):
                        return record
                    break  # its settings have changed since, or its site was measured
            if unique_id is not None:
                _refuse_elsewhere(records, kit, slot, unique_id)
            filled = _filled_by(records, kit, slot)
            if filled is not None and replaces is None and kit.replacements.get(slot) == filled:
                replaces = filled
            if filled == device:
                replaces = None
            elif filled is not None and replaces != filled:
                raise EnrolmentError(
                    _(
                        "Slot {slot} is filled by device {device}; if this device replaces it, "
                        "add --replace."
                    ).format(slot=slot, device=filled.hex())
                )
            _refuse_certificate(records, kit, slot, (device, unique_id), certificate_serial)
            last = records[-1] if records else None
            raw = sign_record(
                kit.technician_key,
                log=last.log if last else secrets.token_bytes(8),
                prev=last.hash if last else FIRST_PREV,
                number=len(records),
                time=at,
                slot=slot,
                proof=proof,
                unique_id=unique_id,
                board=board,
                firmware_hash=firmware_hash,
                certificate_serial=certificate_serial,
                replaces=replaces,
                kit=kit.id,
                corrections=corrections,
                site=site,
            )
            record = parse_record(raw)
            file.seek(good)
            file.truncate()
            file.write(struct.pack(">H", len(raw)) + raw + struct.pack(">I", zlib.crc32(raw)))
            file.flush()
            os.fsync(file.fileno())
        return record

    def export(self) -> bytes:
        """The whole log as one file for the province.

        Raises:
            LogError: it is damaged, or empty.
        """
        records = self.records()
        if not records:
            raise LogError(
                _("There are no enrolments in {place} yet; provision a device first.").format(
                    place=self.directory
                )
            )
        return cbor2.dumps([EXPORT, [record.raw for record in records]], canonical=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        # A file of its own: on Windows nobody can read a locked one.
        with hold(self.directory / "lock"), os.fdopen(_opened(self._path), "r+b") as file:
            sync_directory(self.directory)
            yield file

    def _read(self, content: bytes) -> tuple[list[Record], int]:
        """The records, and the length of the part with complete frames."""
        records: list[Record] = []
        prev, at = FIRST_PREV, 0
        while at < len(content):
            raw = _frame(content, at)
            if raw is None:
                if self._torn(content, at):
                    break
                raise self._damaged(len(records))
            try:
                record = parse_record(raw)
            except Refused:
                raise self._damaged(len(records)) from None
            same_log = not records or record.log == records[0].log
            if record.prev != prev or record.number != len(records) or not same_log:
                raise self._damaged(len(records))
            records.append(record)
            prev = record.hash
            at += len(raw) + 6
        return records, at

    @staticmethod
    def _torn(content: bytes, at: int) -> bool:
        # One append writes one frame, so only the last one can be incomplete.
        return len(content) - at <= MAX_MESSAGE + 6 and not _holds_frame(content, at + 1)

    def _refuse_shortened(self, records: list[Record], kit: Kit) -> None:
        """Refuse an old copy of the log. New records in it would fork the chain, and the province
        would refuse the whole log after the trip."""
        imported = kit.imported.get(records[0].log, 0) if records else 0
        if len(records) < imported:
            raise LogError(
                _(
                    "{path} has {count} of the {imported} records that the province imported: it "
                    "is an old copy; move the file to another folder and run the same command, "
                    "which starts a new log."
                ).format(path=self._path, count=len(records), imported=imported)
            )

    def _damaged(self, number: int) -> LogError:
        return LogError(
            _(
                "{path} is damaged at record {number}; put it back from a copy, or move it away "
                "and provision the devices whose enrolments were not imported yet again."
            ).format(path=self._path, number=number)
        )


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)


def _frame(content: bytes, at: int) -> bytes | None:
    if at + 2 > len(content):
        return None
    (length,) = struct.unpack_from(">H", content, at)
    end = at + 2 + length
    if not 0 < length <= MAX_MESSAGE or end + 4 > len(content):
        return None
    raw = content[at + 2 : end]
    return raw if struct.unpack_from(">I", content, end)[0] == zlib.crc32(raw) else None


def _holds_frame(content: bytes, at: int) -> bool:
    """Whether a whole, non-empty frame begins anywhere from `at` on."""
    return any(_frame(content, start) for start in range(at, len(content) - 6))


def _since(records: list[Record], kit: Kit) -> list[Record]:
    """The records that the province had not imported when it made the kit, the newest first."""
    counted = kit.imported.get(records[0].log, 0) if records else 0
    return list(reversed(records[counted:]))


def _filled_by(records: list[Record], kit: Kit, slot: str) -> bytes | None:
    for record in _since(records, kit):
        if record.slot == slot:
            return record.device
    known = kit.device_of_slot(slot)
    return known.kid if known else None


def _refuse_replaced(records: list[Record], device: bytes) -> None:
    for record in records:
        if record.replaces == device:
            raise EnrolmentError(
                _(
                    "Device {device} was replaced in slot {slot}, and its key is no longer valid; "
                    "erase the device, so that it makes a new key, and provision it again."
                ).format(device=device.hex(), slot=record.slot)
            )


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and same_id(one) == same_id(other)


def _refuse_certificate(
    records: list[Record], kit: Kit, slot: str, device: tuple[bytes, str | None], serial: str
) -> None:
    kid, unique_id = device
    if serial not in {certificate.serial for certificate in kit.slot(slot).certificates}:
        raise EnrolmentError(
            _(
                "Certificate {serial} of the device for slot {slot} is not one of this kit; "
                "provision it again."
            ).format(serial=serial, slot=slot)
        )
    for record in records:
        # A device that was erased makes a new key, and may keep the certificate that it had.
        itself = record.device == kid or _same(record.unique_id, unique_id)
        if record.certificate_serial == serial and not itself:
            raise EnrolmentError(
                _(
                    "Device {device} has certificate {serial} already; provision the device for "
                    "slot {slot} again, so that it gets its own."
                ).format(serial=serial, device=record.device.hex(), slot=slot)
            )


def _refuse_elsewhere(records: list[Record], kit: Kit, slot: str, unique_id: str) -> None:
    known = kit.device_of_unique_id(unique_id)
    elsewhere = known.slot if known else None
    for record in _since(records, kit):
        if _same(record.unique_id, unique_id):
            elsewhere = record.slot
            break
    if elsewhere is not None and elsewhere != slot:
        raise EnrolmentError(
            _(
                "The device with unique id {unique_id} is enrolled for slot {elsewhere}; to use "
                "it for {slot}, have the province revoke it there first ('desalink devices revoke "
                "{elsewhere}') and give you a new kit."
            ).format(unique_id=unique_id, elsewhere=elsewhere, slot=slot)
        )
