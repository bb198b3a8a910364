"""What is wrong with what is stored, and what the quarantine had no room for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from host_tools.store.database import Database, Row
from host_tools.store.dialect import ALL
from host_tools.store.queries.common import slots_of

_FINDINGS = (
    "SELECT findings.id, kind, slot, village, kid, stream, boot, first_seq, last_seq, "
    "missing, found_at, resolved_at, detail FROM findings "
    "JOIN slots ON slots.id = findings.slot_id JOIN streams ON streams.id = stream_id "
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What the derivation has found in a stream; kinds as `derive` names them."""

    id: int
    kind: str
    slot: str
    village: str
    kid: bytes
    stream: bytes
    boot: int
    first_seq: int
    last_seq: int
    missing: int
    found_at: int
    resolved_at: int | None
    detail: dict[str, Any]

    @property
    def count(self) -> int:
        """How many it stands for."""
        return int(self.detail.get("findings", 1))


def findings(
    db: Database,
    *,
    kinds: Iterable[str] = (),
    village: str | None = None,
    resolved: bool = False,
    limit: int | None = None,
) -> list[Finding]:
    """Findings in the order of the reports that show them.

    Args:
        kinds: only these; all if empty.
        resolved: also those that are resolved.
        limit: at most so many, the newest.
    """
    where, values = _matching(db, kinds, village, resolved)
    rows = db.all(
        f"{_FINDINGS}WHERE {where} ORDER BY found_at DESC, findings.id DESC LIMIT ?",
        (*values, ALL if limit is None else limit),
    )
    return [_finding(row) for row in reversed(rows)]


def count_findings(
    db: Database, *, kinds: Iterable[str] = (), village: str | None = None, resolved: bool = False
) -> int:
    """How many findings there are; see `findings`."""
    where, values = _matching(db, kinds, village, resolved)
    return int(db.value(f"SELECT count(*) FROM findings WHERE {where}", values))


def open_kinds(db: Database, kinds: Iterable[str]) -> dict[str, set[str]]:
    """By slot, which kinds of open findings it has."""
    wanted, found = list(kinds), dict[str, set[str]]()
    for slot, kind in db.iterate(
        "SELECT DISTINCT slot, kind FROM findings JOIN slots ON slots.id = findings.slot_id "
        f"WHERE resolved_at IS NULL AND kind IN ({', '.join('?' * len(wanted))})",
        wanted,
    ):
        found.setdefault(slot, set()).add(kind)
    return found


def _matching(
    db: Database, kinds: Iterable[str], village: str | None, resolved: bool
) -> tuple[str, list[Any]]:
    parts = ["TRUE" if resolved else "resolved_at IS NULL"]
    values: list[Any] = []
    its = None if village is None else list(slots_of(db, village, None))
    for column, wanted in (("kind", list(kinds) or None), ("findings.slot_id", its)):
        if wanted is not None:
            parts.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values += wanted
    return " AND ".join(parts), values


def finding(db: Database, number: int) -> Finding | None:
    row = db.one(f"{_FINDINGS}WHERE findings.id = ?", (number,))
    return _finding(row) if row else None


def _finding(row: Row) -> Finding:
    fields: Row = (*row[:-1], json.loads(row[-1]) if row[-1] else {})
    return Finding(*fields)


def overflow(db: Database) -> list[tuple[str, str, int]]:
    """Slot, reason and number of the messages that the quarantine had no room for."""
    return [
        (slot, reason, count)
        for slot, reason, count in db.all(
            "SELECT slot, reason, count FROM quarantine_overflow ORDER BY 1, 2"
        )
    ]


def quarantined(db: Database, begin: int, end: int) -> list[tuple[str, str, int, str, str]]:
    """Messages in quarantine that came in a time: slot, reason, how many, who dismissed them, why.

    The last two are empty where nobody has.
    """
    return db.all(
        "SELECT slot, reason, count(*), coalesce(who, ''), coalesce(why, '') FROM quarantine "
        "LEFT JOIN quarantine_notes AS notes ON notes.id = note_id WHERE received_at >= ? "
        "AND received_at < ? GROUP BY slot, reason, who, why ORDER BY slot, reason, who, why",
        (begin, end),
    )
