"""The registry's role keys, trust documents, kits, enrolment logs and replacements."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from host_tools.province.records import KitEntry, KitSerial, ReplacementOrder, RoleKey
from host_tools.province.registry_office_log import OfficeLogTable

_ROLE_KEY = "kid, public_key, role, name, added_at, not_after, revoked_at, revoked_by"


class PeopleTables(OfficeLogTable):
    """Those tables. Changes that belong together are a `transaction` of the caller's."""

    def role_keys(self, role: int | None = None) -> list[RoleKey]:
        """Every key that ever had a role (or any role), the oldest first."""
        found = self.rows(
            f"SELECT {_ROLE_KEY} FROM role_keys WHERE ? IS NULL OR role = ? "
            "ORDER BY added_at, not_after, kid",
            *(role, role),
        )
        return [RoleKey(*row) for row in found]

    def add_role_key(self, key: RoleKey) -> None:
        self.change(
            "INSERT INTO role_keys (kid, public_key, role, name, added_at, not_after) VALUES (?, "
            "?, ?, ?, ?, ?)",
            *(key.kid, key.public_key, key.role, key.name, key.added_at, key.not_after),
        )

    def revoke_role_key(self, kid: bytes, *, by: str, at: int) -> bool:
        """Revoke a key; False if it was revoked before."""
        return bool(
            self.change(
                "UPDATE role_keys SET revoked_at = ?, revoked_by = ? WHERE kid = ? AND revoked_at "
                "IS NULL",
                *(at, by, kid),
            )
        )

    def newest_trust(self) -> tuple[int, bytes] | None:
        """Version and bytes of the newest trust document."""
        found = self.rows("SELECT version, document FROM trusts ORDER BY version DESC LIMIT 1")
        return found[0] if found else None

    def add_trust(self, version: int, document: bytes) -> None:
        with self.transaction():
            self.change("INSERT INTO trusts VALUES (?, ?)", version, document)
            digest = hashlib.sha256(document).digest()
            self.enter("trust", {"version": version, "hash": digest}, by="")

    def trusts(self) -> list[tuple[int, bytes]]:
        """Version and bytes of each trust document, the oldest first."""
        return self.rows("SELECT version, document FROM trusts ORDER BY version")

    def kits(self) -> list[KitEntry]:
        """Every kit ever made, the oldest first."""
        serials: dict[bytes, list[KitSerial]] = {}
        for kit, *row in self.rows(
            "SELECT k.kit, k.serial, k.slot, c.revoked_at, (SELECT kid FROM devices d WHERE "
            "d.certificate = k.serial) FROM kit_certificates k JOIN certificates c USING (serial) "
            "ORDER BY k.slot"
        ):
            serials.setdefault(kit, []).append(KitSerial(*row))
        return [
            KitEntry(id, *row, tuple(serials.get(id, ())))  # type: ignore[call-arg]
            for id, *row in self.rows(
                "SELECT id, technician, name, created_at, expires_at, kits.revoked_at, "
                "kits.revoked_by, not_after, role_keys.revoked_at FROM kits JOIN role_keys ON kid "
                "= technician ORDER BY created_at, id"
            )
        ]

    def record_kit(
        self,
        id: bytes,
        technician: bytes,
        created: int,
        expires: int,
        certificates: Iterable[tuple[str, str]],
    ) -> None:
        """Record a kit before its file exists.

        Args:
            technician: kid of the role key in it.
            certificates: serial and slot of each; they are recorded already.
        """
        with self.transaction():
            self.change(
                "INSERT INTO kits (id, technician, created_at, expires_at) VALUES (?, ?, ?, ?)",
                *(id, technician, created, expires),
            )
            for serial, slot in certificates:
                self.change("INSERT INTO kit_certificates VALUES (?, ?, ?)", serial, id, slot)
            self.enter("kit", {"id": id, "technician": technician, "expires": expires}, by="")

    def revoke_kit(self, entry: KitEntry, *, by: str, at: int, unused_only: bool) -> None:
        """Mark a kit's certificates revoked: all and the kit itself, or those not in use."""
        with self.transaction():
            for chosen in entry.unused if unused_only else entry.certificates:
                self.change(
                    "UPDATE certificates SET revoked_at = ? WHERE serial = ? AND revoked_at IS "
                    "NULL",
                    *(at, chosen.serial),
                )
            if not unused_only and self.change(
                "UPDATE kits SET revoked_at = ?, revoked_by = ? WHERE id = ? AND revoked_at IS "
                "NULL",
                *(at, by, entry.id),
            ):
                self.enter("kit_revoke", {"id": entry.id, "at": at}, by=by)

    def kit_holder(self, kit: bytes) -> tuple[bytes, str, int] | None:
        """Of a kit: kid and name of the technician it was made for, and when it expires."""
        found = self.rows(
            "SELECT technician, name, kits.expires_at FROM kits JOIN role_keys ON kid = "
            "technician WHERE id = ?",
            kit,
        )
        return found[0] if found else None

    def kit_of_certificate(self, serial: str) -> tuple[str, bytes, bool] | None:
        """Slot and kit of a certificate, and whether it or the kit is revoked."""
        found = self.rows(
            "SELECT k.slot, k.kit, c.revoked_at IS NOT NULL OR kits.revoked_at IS NOT NULL FROM "
            "kit_certificates k JOIN certificates c USING (serial) JOIN kits ON kits.id = k.kit "
            "WHERE k.serial = ?",
            serial,
        )
        return found[0] if found else None

    def waiting_serials(self, slot: str) -> set[str]:
        """A slot's certificates in kits that are not revoked, which no known device has.

        Of expired kits too: a device may have been given one on the last day, and its enrolment
        be imported weeks later.
        """
        found = self.rows(
            "SELECT k.serial FROM kit_certificates k JOIN kits ON kits.id = k.kit WHERE k.slot = "
            "? AND kits.revoked_at IS NULL AND NOT EXISTS (SELECT 1 FROM devices d WHERE "
            "d.certificate = k.serial)",
            slot,
        )
        return {serial for (serial,) in found}

    def enrolment_records(self) -> list[tuple[bytes, str, str | None]]:
        """Each imported record, its technician's name, and why it was refused."""
        return self.rows(
            "SELECT record, name, refused FROM enrolment_records JOIN role_keys ON kid = "
            "technician ORDER BY log, number"
        )

    def records_of_slot(self, slot: str) -> list[bytes]:
        """The records that enrolled devices of a slot, as they were signed."""
        rows = self.rows(
            "SELECT record FROM enrolment_records WHERE slot = ? AND refused IS NULL "
            "ORDER BY log, number",
            slot,
        )
        return [record for (record,) in rows]

    def imported_records(self) -> dict[bytes, int]:
        """Log -> how many of its records were imported."""
        return dict(self.rows("SELECT log, max(number) + 1 FROM enrolment_records GROUP BY log"))

    def records_of_log(self, log: bytes) -> list[tuple[bytes, str | None, str]]:
        """Hash, refusal and slot of each record of a log, in their order."""
        return self.rows(
            "SELECT hash, refused, slot FROM enrolment_records WHERE log = ? ORDER BY number", log
        )

    def owner_of_log(self, log: bytes) -> str | None:
        """The name of the technician whose log it is, if it was imported."""
        found = self.rows(
            "SELECT k.name FROM enrolment_records e JOIN role_keys k ON k.kid = e.technician "
            "WHERE e.log = ? AND e.number = 0",
            log,
        )
        return found[0][0] if found else None

    def later_record(self, log: bytes, slot: str, number: int) -> int | None:
        """A record of the same log and slot that enrolled a device after that one."""
        found = self.rows(
            "SELECT number FROM enrolment_records WHERE log = ? AND slot = ? AND number > ? AND "
            "refused IS NULL",
            *(log, slot, number),
        )
        return found[0][0] if found else None

    def add_record(
        self,
        log: bytes,
        number: int,
        *,
        digest: bytes,
        technician: bytes,
        slot: str,
        record: bytes,
        at: int,
        refused: str | None,
    ) -> None:
        """Keep a record of a log, as it was signed."""
        self.change(
            "INSERT INTO enrolment_records VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(log, number, digest, technician, slot, record, at, refused),
        )

    def change_record(self, log: bytes, number: int, *, at: int, refused: str | None) -> None:
        """Record the new result for a record that was refused before."""
        self.change(
            "UPDATE enrolment_records SET refused = ?, imported_at = ? WHERE log = ? AND number "
            "= ?",
            *(refused, at, log, number),
        )

    def open_orders(self) -> list[ReplacementOrder]:
        """Orders that no enrolment has used yet, for devices that still fill their slots."""
        found = self.rows(
            "SELECT r.id, r.slot, r.kid, r.document FROM replacements r JOIN devices d ON d.kid = "
            "r.kid WHERE r.used_by IS NULL AND d.revoked_at IS NULL ORDER BY r.id"
        )
        return [ReplacementOrder(*row) for row in found]

    def add_order(self, slot: str, kid: bytes, document: bytes, at: int) -> None:
        self.change(
            "INSERT INTO replacements (slot, kid, document, created_at) VALUES (?, ?, ?, ?)",
            *(slot, kid, document, at),
        )

    def use_order(self, order: ReplacementOrder, by: bytes) -> None:
        self.change("UPDATE replacements SET used_by = ? WHERE id = ?", by, order.id)
