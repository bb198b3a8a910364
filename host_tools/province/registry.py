"""The registry: villages, their slots, the devices that fill them, certificates.

Times are Unix seconds. Nothing is deleted: a revoked key stays known, so that what it signed while
it was valid can still be verified. What the rows mean is in records.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from host_tools.common.errors import EnrolmentError, RegistryError, VillageError
from host_tools.common.i18n import _
from host_tools.province.records import (
    Certificate,
    Device,
    Village,
    kid_of,
    slot_name,
    village_of,
)
from host_tools.province.registry_contracts import ContractTables
from host_tools.province.registry_file import FILE, VILLAGE_COLUMNS
from host_tools.province.registry_people import PeopleTables

__all__ = [
    "FILE",
    "Certificate",
    "Device",
    "Registry",
    "Village",
    "kid_of",
    "slot_name",
    "village_of",
]

_DEVICE = (
    "kid, public_key, slot, board, unique_id, firmware, enrolled_at, enrolled_by, revoked_at, "
    "revoked_by, replaced_by, certificate, firmware_hash"
)
_CERTIFICATE = "serial, slot, not_after, issued_at, revoked_at"


class Registry(PeopleTables, ContractTables):
    """An open registry. One connection, for one thread at a time; use as a context manager."""

    def village(self, code: str) -> Village | None:
        row = self._db.execute(
            f"SELECT {VILLAGE_COLUMNS} FROM villages WHERE code = ?", (code,)
        ).fetchone()
        return Village(*row) if row else None

    def villages(self, regency: str | None = None, find: str | None = None) -> list[Village]:
        """Villages in the order of their codes.

        Args:
            regency: its 4-digit code.
            find: text somewhere in the name, district, site or code; case does not matter.
        """
        rows = self._db.execute(f"SELECT {VILLAGE_COLUMNS} FROM villages ORDER BY code")
        wanted = (find or "").casefold()
        digits = wanted.replace(".", "")
        return [
            village
            for village in (Village(*row) for row in rows)
            if (regency is None or village.regency_code == regency)
            and (
                not wanted
                or wanted in f"{village.name}\n{village.district}\n{village.site or ''}".casefold()
                or (digits.isdigit() and digits in village.code)
            )
        ]

    def regencies(self) -> dict[str, str]:
        """4-digit code and name of each regency that has villages."""
        rows = self._db.execute(
            "SELECT substr(code, 1, 4), min(regency) FROM villages GROUP BY 1 ORDER BY 1"
        )
        return dict(rows.fetchall())

    def place_villages(
        self, places: Iterable[tuple[str, tuple[float, float] | None, str | None, str | None]]
    ) -> int:
        """Set what is given of position (lat, lon), site and provider of villages, all or none;
        returns how many.

        Raises:
            VillageError: a code that the registry does not hold; nothing is changed.
        """
        count = 0
        with self.transaction():
            for code, position, site, provider in places:
                lat, lon = position or (None, None)
                changed = self._db.execute(
                    "UPDATE villages SET lat = coalesce(?, lat), lon = coalesce(?, lon), site = "
                    "coalesce(?, site), provider = coalesce(?, provider) WHERE code = ?",
                    (lat, lon, site, provider, code),
                ).rowcount
                if not changed:
                    raise VillageError(
                        _("The registry has no village {code}; nothing was imported.").format(
                            code=code
                        )
                    )
                count += 1
        return count

    def _devices(self, where: str, *values: object) -> list[Device]:
        rows = self._db.execute(
            f"SELECT {_DEVICE} FROM devices WHERE {where} ORDER BY slot, enrolled_at, "
            "revoked_at IS NULL, kid",
            values,
        )
        return [Device(*row) for row in rows]

    def device_by_kid(self, kid: bytes) -> Device | None:
        """The device of a key id, active or revoked, or None."""
        found = self._devices("kid = ?", kid)
        return found[0] if found else None

    def proof_of(self, kid: bytes) -> bytes | None:
        """A device's signed enrolment, where it is known."""
        rows = self.rows("SELECT proof FROM devices WHERE kid = ?", kid)
        proof: bytes | None = rows[0][0] if rows else None
        return proof

    def active_devices(self) -> list[Device]:
        """Every device that fills a slot now."""
        return self._devices("revoked_at IS NULL")

    def devices(self) -> list[Device]:
        """Every device ever enrolled, by slot and time of enrolment."""
        return self._devices("1")

    def keys_for_slot(self, slot: str) -> list[Device]:
        """Every key that a slot ever had, the oldest first, revoked ones included."""
        return self._devices("slot = ?", slot)

    def devices_of_certificate(self, serial: str) -> list[Device]:
        return self._devices("certificate = ?", serial)

    def renew_device(
        self, kid: bytes, certificate: str, firmware_hash: bytes | None, firmware: str
    ) -> None:
        """Record what a device got when it was provisioned again."""
        self.change(
            "UPDATE devices SET certificate = ?, firmware_hash = ?, firmware = ? WHERE kid = ?",
            *(certificate, firmware_hash, firmware, kid),
        )

    def enrol(
        self,
        slot: str,
        public_key: bytes,
        *,
        board: str,
        firmware: str,
        by: str,
        unique_id: str | None = None,
        proof: bytes | None = None,
        replace: bool = False,
        at: int | None = None,
        certificate: str | None = None,
        firmware_hash: bytes | None = None,
        record: bytes | None = None,
    ) -> tuple[Device, str]:
        """Record that a device fills a slot.

        Args:
            slot: of a village that the registry holds.
            public_key: Ed25519, 32 bytes.
            by: who enrols.
            replace: revoke the device that fills the slot now.
            at: Unix time; now if None.
            certificate: serial of the certificate that the device was given.
            firmware_hash: SHA-256 of the firmware that runs on it.
            record: SHA-256 of the technician's record that enrols it.

        Returns:
            The device, and `enrolled`, `replaced` or `already` (the same key filled it before).

        Raises:
            EnrolmentError: the slot is filled by another key; the key is revoked or fills another
                slot.
            VillageError: the registry has no such village.
            RegistryError: not a slot.
        """
        if len(public_key) != 32:
            raise EnrolmentError(
                _("The device's public key has {count} bytes instead of 32.").format(
                    count=len(public_key)
                )
            )
        village = village_of(slot)
        if self.village(village) is None:
            raise VillageError(
                _("The registry has no village {village}; see 'desalink villages'.").format(
                    village=village
                )
            )
        now = int(time.time()) if at is None else at
        kid = kid_of(public_key)
        with self.transaction():
            known = self.device_by_kid(kid)
            if known is not None:
                self._check_known(known, public_key, slot)
                return known, "already"
            others = [device for device in self.keys_for_slot(slot) if device.active]
            if others and not replace:
                raise EnrolmentError(
                    _(
                        "Slot {slot} is filled by device {kid} ({board}); if this device takes "
                        "its place, say so with --replace."
                    ).format(slot=slot, kid=others[0].kid.hex(), board=others[0].board)
                )
            self.enter_village(slot)
            self._db.execute("INSERT OR IGNORE INTO slots VALUES (?, ?, ?)", (slot, village, now))
            for device in others:
                # The rows point at each other: the old one is revoked first, the link set last.
                self._db.execute(
                    "UPDATE devices SET revoked_at = ?, revoked_by = ? WHERE kid = ?",
                    (now, by, device.kid),
                )
            self._db.execute(
                "INSERT INTO devices (kid, public_key, slot, board, unique_id, firmware, proof, "
                "enrolled_at, enrolled_by, certificate, firmware_hash) VALUES (?, ?, ?, ?, ?, ?, "
                "?, ?, ?, ?, ?)",
                (kid, public_key, slot, board, unique_id, firmware, proof, now, by)
                + (certificate, firmware_hash),
            )
            for device in others:
                self._db.execute(
                    "UPDATE devices SET replaced_by = ? WHERE kid = ?", (kid, device.kid)
                )
            replaced = others[0].kid if others else None
            self.enter(
                "enrol",
                {"slot": slot, "kid": kid, "key": public_key, "proof": proof, "at": now}
                | {"certificate": certificate, "replaces": replaced, "record": record}
                | {"adopted": False},
                by=by,
            )
        enrolled = self.device_by_kid(kid)
        assert enrolled is not None
        return enrolled, "replaced" if others else "enrolled"

    @staticmethod
    def _check_known(known: Device, public_key: bytes, slot: str) -> None:
        name = known.kid.hex()
        if known.public_key != public_key:
            raise EnrolmentError(
                _(
                    "Another device already has the key id {name}; delete this device's key so "
                    "that it makes a new one, and enrol it again."
                ).format(name=name)
            )
        if known.slot != slot:
            raise EnrolmentError(
                _(
                    "Device key {name} belongs to slot {slot} (was its storage copied?); delete "
                    "this device's state directory so that it makes its own key, and enrol it "
                    "again for {wanted}."
                ).format(name=name, slot=known.slot, wanted=slot)
            )
        if not known.active:
            raise EnrolmentError(
                _(
                    "Device key {name} of slot {slot} was revoked; delete the device's state "
                    "directory so that it makes a new key, and enrol it again."
                ).format(name=name, slot=slot)
            )

    def revoke(self, kid: bytes, *, by: str, at: int | None = None, reason: str = "") -> Device:
        """Revoke a device's key; what it signed before stays verifiable.

        Revoking twice keeps the first time.

        Raises:
            RegistryError: no such device.
        """
        now = int(time.time()) if at is None else at
        with self.transaction():
            if self.change(
                "UPDATE devices SET revoked_at = ?, revoked_by = ? WHERE kid = ? AND revoked_at "
                "IS NULL",
                *(now, by, kid),
            ):
                self.enter("revoke", {"kid": kid, "at": now, "reason": reason}, by=by)
        device = self.device_by_kid(kid)
        if device is None:
            raise RegistryError(
                _("There is no device {kid}; see 'desalink devices list'.").format(kid=kid.hex())
            )
        return device

    def record_certificate(
        self,
        serial: str,
        slot: str,
        not_after: int,
        content: bytes | None = None,
        renews: str | None = None,
    ) -> None:
        """Record a certificate before anybody gets it: without a record it can't be revoked.

        Args:
            content: the certificate (DER), for one that may have to be renewed from afar.
            renews: serial of the certificate that it continues with the same key.
        """
        with self.transaction():
            self._db.execute(
                f"INSERT INTO certificates ({_CERTIFICATE}, content, renews) VALUES (?, ?, ?, ?, "
                "NULL, ?, ?)",
                (serial, slot, not_after, int(time.time()), content, renews),
            )

    def keep_certificate(self, serial: str, content: bytes) -> bool:
        """Keep the content (DER) of a certificate on record; False if it is not on record."""
        return bool(
            self.change("UPDATE certificates SET content = ? WHERE serial = ?", content, serial)
        )

    def certificate_content(self, serial: str) -> bytes | None:
        """The certificate itself (DER), or None where only its serial is known."""
        rows = self.rows("SELECT content FROM certificates WHERE serial = ?", serial)
        content: bytes | None = rows[0][0] if rows else None
        return content

    def certificates_in_use(self) -> dict[str, Certificate]:
        """By slot, the certificate that its device was given when it was enrolled.

        Not a spare one in a kit, and not one that was sent to the device later.
        """
        rows = self._db.execute(
            "SELECT d.slot, c.serial, c.slot, c.not_after, c.issued_at, c.revoked_at FROM devices "
            "d JOIN certificates c ON c.serial = coalesce(d.certificate, (SELECT serial FROM "
            "certificates own WHERE own.slot = d.slot AND own.revoked_at IS NULL AND own.renews "
            "IS NULL AND NOT EXISTS (SELECT 1 FROM kit_certificates k WHERE k.serial = "
            "own.serial) ORDER BY own.not_after DESC LIMIT 1)) WHERE d.revoked_at IS NULL ORDER "
            "BY d.slot"
        )
        return {slot: Certificate(*certificate) for slot, *certificate in rows}

    def renewals(self) -> dict[str, Certificate]:
        """The newest valid certificate that continues another, by the serial of that."""
        rows = self._db.execute(
            f"SELECT renews, {_CERTIFICATE} FROM certificates WHERE renews IS NOT NULL AND "
            "revoked_at IS NULL ORDER BY not_after"
        )
        return {serial: Certificate(*certificate) for serial, *certificate in rows}

    def certificates(self, slot: str | None = None) -> list[Certificate]:
        """The certificates of a slot or service (its CN), or all; the oldest first."""
        rows = self._db.execute(
            f"SELECT {_CERTIFICATE} FROM certificates WHERE ? IS NULL OR slot = ? ORDER BY "
            "issued_at",
            (slot, slot),
        )
        return [Certificate(*row) for row in rows]

    def revoke_certificates(self, slot: str, *, keep: Sequence[str] = ()) -> list[Certificate]:
        """Mark a slot's certificates revoked, but for the serials to keep; returns them.

        They are refused only once a new revocation list is made and the broker has read it.
        """
        now = int(time.time())
        with self.transaction():
            marked = [
                certificate
                for certificate in self.certificates(slot)
                if certificate.revoked_at is None and certificate.serial not in keep
            ]
            for certificate in marked:
                self._db.execute(
                    "UPDATE certificates SET revoked_at = ? WHERE serial = ?",
                    (now, certificate.serial),
                )
        return marked

    def revoked_certificates(self) -> list[tuple[str, int]]:
        """Serial and time of each revoked certificate, for the revocation list."""
        rows = self._db.execute(
            "SELECT serial, revoked_at FROM certificates WHERE revoked_at IS NOT NULL ORDER BY "
            "revoked_at"
        )
        return [(serial, when) for serial, when in rows]
