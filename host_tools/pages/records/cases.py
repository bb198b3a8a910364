"""What people write about villages: cases, notes, photographs."""

from __future__ import annotations

from host_tools.pages.records.book import PagesFile
from host_tools.pages.records.rows import CLOSED, OPEN, Case, CaseNote, Photograph, VillageNote

_CASE = "id, village, subject, began, state, assigned, opened_at, opened_by, closed_at, cause"


class CaseRecords(PagesFile):
    """Cases, notes and photographs; only the picture of a photograph is ever deleted."""

    def open_case(
        self, village: str, subject: str, began: int | None, *, who: str, at: int
    ) -> int:
        """Open a case; returns its number. Of one outage there is one case."""
        with self.transaction():
            if began is not None:
                rows = self._rows(
                    "SELECT id FROM cases WHERE village = ? AND began = ?", village, began
                )
                if rows:
                    return int(rows[0][0])
            number = self._db.execute(
                "INSERT INTO cases (village, subject, began, state, opened_at, opened_by) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (village, subject, began, OPEN, at, who),
            ).lastrowid
            assert number is not None
            self._note(number, at, who, OPEN, "")
        return number

    def case(self, number: int) -> Case | None:
        """A case, or None."""
        rows = self._rows(f"SELECT {_CASE} FROM cases WHERE id = ?", number)
        return Case(*rows[0]) if rows else None

    def cases(
        self,
        *,
        place: str = "",
        state: str = "",
        closed: bool = False,
        assigned: str = "",
        before: int | None = None,
        limit: int = 500,
    ) -> list[Case]:
        """The newest cases.

        Args:
            place: the first digits of the village.
            closed: those that are closed as well.
            assigned: a part of the name that they are assigned to.
            before: those with a smaller number.
        """
        rows = self._rows(
            f"SELECT {_CASE} FROM cases WHERE substr(village, 1, ?) = ? AND ? IN ('', state) "
            "AND (? OR closed_at IS NULL) AND instr(lower(assigned), lower(?)) AND id < ? "
            "ORDER BY id DESC LIMIT ?",
            *(len(place), place, state, closed, assigned, 2**62 if before is None else before),
            limit,
        )
        return [Case(*row) for row in rows]

    def cases_of(self, begin: int) -> dict[tuple[str, int], int]:
        """The cases about outages that began at a time or later: village and begin to number."""
        rows = self._rows("SELECT village, began, id FROM cases WHERE began >= ?", begin)
        return {(village, began): number for village, began, number in rows}

    def change_case(
        self,
        number: int,
        state: str,
        *,
        who: str,
        at: int,
        action: str,
        text: str = "",
        assigned: str | None = None,
        cause: str | None = None,
    ) -> None:
        """Set a case's state, and what is given of the rest; note who did it."""
        with self.transaction():
            self._db.execute(
                "UPDATE cases SET state = ?, assigned = coalesce(?, assigned), "
                "cause = coalesce(?, cause), closed_at = ? WHERE id = ?",
                (state, assigned, cause, at if state == CLOSED else None, number),
            )
            self._note(number, at, who, action, text)

    def _note(self, number: int, at: int, who: str, action: str, text: str) -> None:
        self._db.execute(
            "INSERT INTO case_notes (case_id, at, who, action, text) VALUES (?, ?, ?, ?, ?)",
            (number, at, who, action, text),
        )

    def case_notes(self, number: int) -> list[CaseNote]:
        """What was done with a case, the oldest first."""
        rows = self._rows(
            "SELECT at, who, action, text FROM case_notes WHERE case_id = ? ORDER BY id", number
        )
        return [CaseNote(*row) for row in rows]

    def add_village_note(self, village: str, kind: str, text: str, *, who: str, at: int) -> None:
        """Record a note, or a person to call."""
        self._change(
            "INSERT INTO village_notes (village, at, who, kind, text) VALUES (?, ?, ?, ?, ?)",
            *(village, at, who, kind, text),
        )

    def village_notes(self, village: str) -> list[VillageNote]:
        """The notes about a village that were not withdrawn, the newest first."""
        rows = self._rows(
            "SELECT id, at, who, kind, text FROM village_notes WHERE village = ? "
            "AND withdrawn_at IS NULL ORDER BY id DESC",
            village,
        )
        return [VillageNote(*row) for row in rows]

    def withdraw_village_note(self, village: str, number: int, at: int) -> bool:
        """Show a note no more; False: there is none such."""
        return bool(
            self._change(
                "UPDATE village_notes SET withdrawn_at = ? WHERE id = ? AND village = ? "
                "AND withdrawn_at IS NULL",
                *(at, number, village),
            )
        )

    def add_photograph(
        self,
        village: str,
        picture: bytes,
        width: int,
        height: int,
        text: str,
        *,
        who: str,
        at: int,
        most: int,
        most_bytes: int,
    ) -> int | None:
        """Record a photograph; returns its number.

        Args:
            most: None is returned if the village has so many already.
            most_bytes: or if the pictures of all villages would have more bytes.
        """
        with self.transaction():
            ((count,),) = self._rows(
                "SELECT count(*) FROM photographs WHERE village = ? AND removed_at IS NULL",
                village,
            )
            ((size,),) = self._rows("SELECT coalesce(sum(size), 0) FROM photographs")
            if count >= most or size + len(picture) > most_bytes:
                return None
            return self._db.execute(
                "INSERT INTO photographs (village, at, who, text, width, height, size, picture) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (village, at, who, text, width, height, len(picture), picture),
            ).lastrowid

    def photographs(self, village: str) -> list[Photograph]:
        """The photographs of a village, the oldest first."""
        rows = self._rows(
            "SELECT id, at, who, text, width, height, size FROM photographs WHERE village = ? "
            "AND removed_at IS NULL ORDER BY id",
            village,
        )
        return [Photograph(*row) for row in rows]

    def picture(self, number: int) -> bytes | None:
        """A photograph's picture (JPEG); None: there is none, or it was removed."""
        rows = self._rows("SELECT picture FROM photographs WHERE id = ?", number)
        return rows[0][0] if rows else None

    def remove_photograph(self, village: str, number: int, at: int) -> bool:
        """Delete a picture: people may be on it. False: there is none such."""
        return bool(
            self._change(
                "UPDATE photographs SET removed_at = ?, picture = NULL, size = 0 "
                "WHERE id = ? AND village = ? AND removed_at IS NULL",
                *(at, number, village),
            )
        )
