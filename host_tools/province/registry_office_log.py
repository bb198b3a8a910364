"""The office log's table: the registry enters each change there in the same transaction.

What entries hold and who may sign them is in people/office_log.py and people/office_pen.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from host_tools.common.errors import RegistryError
from host_tools.common.i18n import _
from host_tools.province.records import Village
from host_tools.province.registry_file import VILLAGE_COLUMNS, RegistryFile

Pen = Callable[[bytes | None, str, dict[str, Any], str], bytes]
"""Signs an entry. It takes the entry before (None: it is the first), kind, body and author."""


class OfficeLogTable(RegistryFile):
    """That table. Without a pen, a province that has a log can't be changed."""

    pen: Pen | None = None

    def office_log(self, first: int = 0) -> Iterator[bytes]:
        """The signed entries from a number on."""
        for (entry,) in self._db.execute(
            "SELECT entry FROM office_log WHERE number >= ? ORDER BY number", (first,)
        ):
            yield entry

    def newest_office_entry(self) -> tuple[int, bytes] | None:
        """Number and bytes of the newest entry, or None where the log has not begun."""
        found = self.rows("SELECT number, entry FROM office_log ORDER BY number DESC LIMIT 1")
        return found[0] if found else None

    def enter(self, kind: str, body: dict[str, Any], *, by: str) -> None:
        """Sign and enter what is changed in this transaction; nothing before the log has begun.

        Raises:
            RegistryError: the log has begun, and nobody has opened the office's key.
        """
        with self.transaction():
            newest = self.newest_office_entry()
            if self.pen is None:
                if newest is None:
                    return
                raise RegistryError(
                    _(
                        "This change must be signed with the office's key, and it is not open; "
                        "nothing was changed."
                    )
                )
            number, before = (newest[0] + 1, newest[1]) if newest else (0, None)
            self._db.execute(
                "INSERT INTO office_log VALUES (?, ?)",
                (number, self.pen(before, kind, body, by)),
            )

    def enter_village(self, slot: str) -> None:
        """Enter the village of a slot, before it gets its first device or contract."""
        code = slot[:10]
        known = self.rows(
            "SELECT 1 FROM devices WHERE slot GLOB ? UNION ALL "
            "SELECT 1 FROM contracts WHERE slot GLOB ? LIMIT 1",
            *2 * (f"{code}-*",),
        )
        if not known:
            found = self.rows(f"SELECT {VILLAGE_COLUMNS} FROM villages WHERE code = ?", code)
            for row in found:
                self.enter_village_now(Village(*row))

    def enter_village_now(self, village: Village) -> None:
        """Enter a village."""
        v = village
        body = {"code": v.code, "name": v.name, "district": v.district, "regency": v.regency}
        self.enter("village", body, by="")

    def add_office_entries(self, first: int, entries: Sequence[bytes]) -> None:
        """Add entries that another registry holds, as they were signed."""
        with self.transaction():
            self._db.executemany("INSERT INTO office_log VALUES (?, ?)", enumerate(entries, first))
