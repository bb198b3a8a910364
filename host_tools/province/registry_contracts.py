"""The registry's contracts, events, rules and closed months."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from host_tools.province.registry_office_log import OfficeLogTable

if TYPE_CHECKING:
    from host_tools.province.contract_records import (
        ClosedMonth,
        Contract,
        ContractEntry,
        ContractEvent,
    )

_CONTRACT = (
    "id, slot, provider, product, medium, mbps, price, target_ppm, excluded, opens, closes, "
    "t_begin, t_end, number, added_at, added_by, withdrawn_at, withdrawn_by, withdrawn_why"
)
_EVENT = (
    "id, kind, scope, value, t_begin, t_end, who, why, added_at, withdrawn_at, withdrawn_by, "
    "withdrawn_why"
)
_MONTH = (
    "month, edition, rules, figures, digest, closed_at, closed_by, opened_at, opened_by, "
    "opened_why"
)


class ContractTables(OfficeLogTable):
    """Those tables. Changes that belong together are a `transaction` of the caller's."""

    def contracts(self, *, withdrawn: bool = False) -> list[ContractEntry]:
        """Contracts by slot and beginning. withdrawn: those that were withdrawn as well."""
        found = self.rows(
            f"SELECT {_CONTRACT} FROM contracts WHERE ? OR withdrawn_at IS NULL "
            "ORDER BY slot, t_begin, added_at, id",
            withdrawn,
        )
        return [_entry(*row) for row in found]

    def add_contract(self, id: str, contract: Contract, *, by: str, at: int) -> bool:
        """Record a contract; False if this very one is on record and was not withdrawn."""
        body = contract_body(id, contract, at)
        with self.transaction():
            self.enter_village(contract.slot)
            added = self.change(
                f"INSERT INTO contracts ({_CONTRACT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                "?, ?, ?, ?, NULL, NULL, NULL) ON CONFLICT (id) DO UPDATE SET added_at = "
                "excluded.added_at, added_by = excluded.added_by, withdrawn_at = NULL, "
                "withdrawn_by = NULL, withdrawn_why = NULL WHERE withdrawn_at IS NOT NULL",
                *(*body.values(), by),
            )
            if added:
                self.enter("contract", body, by=by)
        return bool(added)

    def withdraw_contract(self, id: str, *, by: str, why: str, at: int) -> bool:
        """Withdraw a contract; False if it was not on record or is withdrawn."""
        return self._withdraw("contract", "contracts", id, by, why, at)

    def _withdraw(self, kind: str, table: str, id: str, by: str, why: str, at: int) -> bool:
        with self.transaction():
            done = self.change(
                f"UPDATE {table} SET withdrawn_at = ?, withdrawn_by = ?, withdrawn_why = ? "
                "WHERE id = ? AND withdrawn_at IS NULL",
                *(at, by, why, id),
            )
            if done:
                self.enter(f"{kind}_withdraw", {"id": id, "why": why, "at": at}, by=by)
        return bool(done)

    def contract_events(self, *, withdrawn: bool = False) -> list[ContractEvent]:
        """Events by their beginning. withdrawn: those that were withdrawn as well."""
        from host_tools.province.contract_records import ContractEvent

        found = self.rows(
            f"SELECT {_EVENT} FROM contract_events WHERE ? OR withdrawn_at IS NULL "
            "ORDER BY t_begin, added_at, id",
            withdrawn,
        )
        return [ContractEvent(*row) for row in found]

    def add_contract_event(self, event: ContractEvent) -> None:
        body = event_body(event)
        with self.transaction():
            self.change(
                f"INSERT INTO contract_events ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, "
                "NULL, NULL)",
                *body.values(),
            )
            self.enter("event", body, by=event.who)

    def withdraw_contract_event(self, id: str, *, by: str, why: str, at: int) -> bool:
        """Withdraw an event; False if it was not on record or is withdrawn."""
        return self._withdraw("event", "contract_events", id, by, why, at)

    def rule_documents(self) -> list[tuple[int, str, int, str]]:
        """Version, text, time and author of the rules that were added, the oldest first."""
        return self.rows("SELECT version, document, added_at, added_by FROM rules ORDER BY 1")

    def add_rules(self, version: int, document: str, *, by: str, at: int) -> None:
        with self.transaction():
            self.change("INSERT INTO rules VALUES (?, ?, ?, ?)", version, document, at, by)
            self.enter("rules", {"version": version, "document": document, "at": at}, by=by)

    def closed_months(self, month: str | None = None) -> list[ClosedMonth]:
        """Editions of closed months (of one, or of all), the oldest first; opened ones too."""
        from host_tools.province.contract_records import ClosedMonth

        found = self.rows(
            f"SELECT {_MONTH} FROM closed_months WHERE ? IS NULL OR month = ? "
            "ORDER BY month, edition",
            *(month, month),
        )
        return [
            ClosedMonth(name, edition, rules, zlib.decompress(figures), *rest)
            for name, edition, rules, figures, *rest in found
        ]

    def close_month(self, closed: ClosedMonth, *, receipt: int | None = None) -> None:
        """Record a month's figures.

        Args:
            receipt: the newest one that they count.
        """
        c = closed
        with self.transaction():
            self.change(
                f"INSERT INTO closed_months ({_MONTH}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, "
                "NULL)",
                *(c.month, c.edition, c.rules, zlib.compress(c.figures), c.digest),
                *(c.closed_at, c.closed_by),
            )
            body = {"month": c.month, "edition": c.edition, "rules": c.rules, "digest": c.digest}
            self.enter("close", body | {"receipt": receipt, "at": c.closed_at}, by=c.closed_by)

    def open_month(self, month: str, *, by: str, why: str, at: int) -> bool:
        """Open a closed month again; its figures stay on record. False: it was not closed."""
        with self.transaction():
            found = self.rows(
                "SELECT edition FROM closed_months WHERE month = ? AND opened_at IS NULL", month
            )
            for (edition,) in found:
                self.change(
                    "UPDATE closed_months SET opened_at = ?, opened_by = ?, opened_why = ? "
                    "WHERE month = ? AND edition = ?",
                    *(at, by, why, month, edition),
                )
                body = {"month": month, "edition": edition, "why": why, "at": at}
                self.enter("reopen", body, by=by)
        return bool(found)


def _entry(id: str, *row: Any) -> ContractEntry:
    from host_tools.province.contract_records import Contract, ContractEntry

    excluded, opens, closes, begin, end, number = row[7:13]
    kinds = tuple(filter(None, excluded.split(",")))
    hours = None if opens is None else (opens, closes)
    fields = (*row[:7], kinds, hours, begin, end, number)
    return ContractEntry(id, Contract(*fields), *row[13:])


def contract_body(id: str, contract: Contract, at: int) -> dict[str, Any]:
    """The columns of a contract's row that its entry in the office log holds, in their order."""
    c = contract
    opens, closes = c.hours or (None, None)
    values = (
        *(id, c.slot, c.provider, c.product, c.medium, c.mbps, c.price, c.target_ppm),
        *(",".join(c.excluded), opens, closes, c.begin, c.end, c.number, at),
    )
    return dict(zip(_CONTRACT.split(", "), values, strict=False))


def event_body(event: ContractEvent) -> dict[str, Any]:
    """The same of an event."""
    e = event
    values = (e.id, e.kind, e.scope, e.value, e.begin, e.end, e.who, e.why, e.added_at)
    return dict(zip(_EVENT.split(", "), values, strict=False))
