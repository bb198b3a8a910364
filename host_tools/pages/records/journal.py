"""Checks of files, and the audit log."""

from __future__ import annotations

from host_tools.common.i18n import _
from host_tools.pages.records.book import PagesFile
from host_tools.pages.records.rows import AuditEntry, FileCheck


class CheckRecords(PagesFile):
    """Which files were verified, and what was found."""

    def begin_check(self, file: str, size: int, changed: int, *, who: str, at: int) -> int | None:
        """Note that a file is being verified; returns its number, None: another one is."""
        with self.transaction():
            if self._rows("SELECT 1 FROM checks WHERE ended_at IS NULL LIMIT 1"):
                return None
            return self._db.execute(
                "INSERT INTO checks (file, size, changed, asked_at, who) VALUES (?, ?, ?, ?, ?)",
                (file, size, changed, at, who),
            ).lastrowid

    def end_check(self, number: int, good: bool, sha256: str, text: str, at: int) -> None:
        """Note what it has found."""
        self._change(
            "UPDATE checks SET ended_at = ?, good = ?, sha256 = ?, text = ? WHERE id = ?",
            *(at, good, sha256, text, number),
        )

    def end_cut_checks(self, at: int) -> None:
        """Note that no check of an earlier server runs any more."""
        self._change(
            "UPDATE checks SET ended_at = ?, text = ? WHERE ended_at IS NULL",
            *(at, _("The server was stopped; verify it again.")),
        )

    def newest_checks(self) -> dict[str, FileCheck]:
        """The newest check of each file."""
        rows = self._rows(
            "SELECT file, size, changed, asked_at, who, ended_at, good, sha256, text FROM checks "
            "WHERE id IN (SELECT max(id) FROM checks GROUP BY file)"
        )
        return {row[0]: FileCheck(*row) for row in rows}


class AuditRecords(PagesFile):
    """Who did what."""

    def log(
        self, who: str, action: str, object: str, detail: str = "", *, address: str, at: int
    ) -> None:
        """Note who did what; nothing deletes it."""
        self._change(
            "INSERT INTO audit (at, who, action, object, detail, address) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            *(at, who, action, object, detail, address),
        )

    def audit(self, *, before: int | None = None, limit: int = 200) -> list[AuditEntry]:
        """The newest entries, of those with a smaller number."""
        rows = self._rows(
            "SELECT id, at, who, action, object, detail, address FROM audit WHERE id < ? "
            "ORDER BY id DESC LIMIT ?",
            *(2**62 if before is None else before, limit),
        )
        return [AuditEntry(*row) for row in rows]
