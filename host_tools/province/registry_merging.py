"""What a registry from a backup takes over, so that it undoes no revocation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from host_tools.province.registry import Registry

# In the order of their references to each other.
_TABLES = (
    "slots",
    "certificates",
    "devices",
    "role_keys",
    "trusts",
    "kits",
    "kit_certificates",
    "enrolment_records",
    "replacements",
    "contracts",
    "contract_events",
    "rules",
    "closed_months",
)
# What the office log holds in full.
_LOGGED = ("devices", "contracts", "contract_events", "rules", "closed_months")


def merge_registry(registry: Registry, other: Registry, entries: Sequence[bytes] = ()) -> int:
    """Add what only the other registry holds; whatever is revoked in either is revoked.

    Args:
        entries: of the other's office log, which is longer; then its rows are the newer ones.

    Returns:
        How many revocations were taken over.
    """
    with registry.transaction():
        # Devices refer to their successors, which may come later.
        registry.rows("PRAGMA defer_foreign_keys=ON")
        revoked = _take_revocations(registry, other)
        newest = registry.newest_office_entry()
        registry.add_office_entries(newest[0] + 1 if newest else 0, entries)
        for table in _TABLES:
            add = "REPLACE" if entries and table in _LOGGED else "IGNORE"
            columns = [name for _, name, *_ in other.rows(f"PRAGMA table_info({table})")]
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            for row in other.rows(f"SELECT {names} FROM {table}"):
                registry.change(f"INSERT OR {add} INTO {table} ({names}) VALUES ({marks})", *row)
        # A device that could not be added, because its slot is filled, can't be a successor.
        registry.change(
            "UPDATE devices SET replaced_by = NULL WHERE replaced_by NOT IN (SELECT kid FROM "
            "devices)"
        )
    return revoked


def _take_revocations(registry: Registry, other: Registry) -> int:
    count = 0
    for table, key, by in (
        ("certificates", "serial", "NULL"),
        ("devices", "kid", "revoked_by"),
        ("role_keys", "kid", "revoked_by"),
        ("kits", "id", "revoked_by"),
    ):
        for name, when, who in other.rows(
            f"SELECT {key}, revoked_at, {by} FROM {table} WHERE revoked_at IS NOT NULL"
        ):
            changed = registry.change(
                f"UPDATE {table} SET revoked_at = ? WHERE {key} = ? AND revoked_at IS NULL",
                *(when, name),
            )
            if changed and who is not None:
                registry.change(f"UPDATE {table} SET revoked_by = ? WHERE {key} = ?", who, name)
            count += changed
    return count


def merge_serials(
    registry: Registry, revoked: Iterable[tuple[str, int]], not_after: int
) -> tuple[int, int]:
    """Mark certificates revoked that a revocation list names.

    Args:
        revoked: serial and Unix time of the revocation.
        not_after: end of a certificate that the registry does not know.

    Returns:
        How many were valid in the registry, and how many it did not know.
    """
    changed = unknown = 0
    with registry.transaction():
        known = {c.serial: c.revoked_at for c in registry.certificates()}
        for serial, when in revoked:
            if serial not in known:
                unknown += registry.change(
                    "INSERT INTO certificates (serial, slot, not_after, issued_at, revoked_at) "
                    "VALUES (?, '', ?, ?, ?)",
                    *(serial, not_after, when, when),
                )
            elif known[serial] is None:
                changed += registry.change(
                    "UPDATE certificates SET revoked_at = ? WHERE serial = ?", when, serial
                )
    return changed, unknown


def merge_trust(
    registry: Registry,
    version: int,
    document: bytes,
    issued: int,
    keys: Collection[tuple[bytes, bytes, int, str, int]],
) -> int:
    """Take a trust document over that is newer than the registry.

    A key that is valid in the registry and not in the document was revoked in between.

    Args:
        keys: kid, public key, role, name and end of each key in the document.

    Returns:
        How many keys are revoked by it.
    """
    named = {key[0] for key in keys}
    revoked = 0
    with registry.transaction():
        before = registry.rows("SELECT coalesce(max(added_at), 0) FROM role_keys")[0][0]
        for kid, added, not_after in registry.rows(
            "SELECT kid, added_at, not_after FROM role_keys WHERE revoked_at IS NULL"
        ):
            if kid not in named and added <= issued < not_after:
                revoked += registry.change(
                    "UPDATE role_keys SET revoked_at = ?, revoked_by = ? WHERE kid = ?",
                    *(issued, f"trust document {version}", kid),
                )
        for kid, public, role, name, not_after in keys:
            registry.change(
                "INSERT OR IGNORE INTO role_keys (kid, public_key, role, name, added_at, "
                "not_after) VALUES (?, ?, ?, ?, ?, ?)",
                *(kid, public, role, name, before, not_after),
            )
        registry.change("INSERT OR REPLACE INTO trusts VALUES (?, ?)", version, document)
    return revoked


def without_certificate(registry: Registry) -> list[str]:
    """Slots whose device is valid although each of its certificates is revoked."""
    return [
        slot
        for (slot,) in registry.rows(
            "SELECT slot FROM devices d WHERE revoked_at IS NULL AND EXISTS (SELECT 1 FROM "
            "certificates c WHERE c.slot = d.slot) AND NOT EXISTS (SELECT 1 FROM certificates c "
            "WHERE c.slot = d.slot AND c.revoked_at IS NULL) ORDER BY slot"
        )
    ]
