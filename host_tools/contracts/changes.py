"""Contracts that are added, ended and withdrawn; closed months stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from host_tools.common.i18n import _
from host_tools.contracts.events import refuse_closed
from host_tools.contracts.table import ContractError, contract_id
from host_tools.province.contract_records import Contract, ContractEntry
from host_tools.province.registry import Registry


def add_all(registry: Registry, contracts: Iterable[Contract], *, by: str, now: int) -> int:
    """Record contracts, all or none; returns how many are new.

    Raises:
        EventError: one reaches into a month that is closed.
    """
    with registry.transaction():
        known = {entry.id for entry in registry.contracts()}
        new = [c for c in contracts if contract_id(c) not in known]
        for contract in new:
            refuse_closed(registry, contract.begin, contract.end)
            registry.add_contract(contract_id(contract), contract, by=by, at=now)
    return len(new)


def end(registry: Registry, id: str, at: int, *, by: str, why: str, now: int) -> Contract:
    """End a contract at a time: the old entry is withdrawn, one with the new end takes its place.

    Raises:
        ContractError: there is none, or it does not reach so far.
        EventError: the time that falls away lies in a month that is closed.
    """
    entry = _entry(registry, id)
    old = entry.contract
    if not old.begin < at < old.end:
        raise ContractError(
            _(
                "Contract {id} of {slot} does not cover that day; see 'desalink contracts list'."
            ).format(id=id, slot=old.slot)
        )
    refuse_closed(registry, at, old.end)
    new = replace(old, end=at)
    with registry.transaction():
        registry.withdraw_contract(id, by=by, why=why, at=now)
        registry.add_contract(contract_id(new), new, by=by, at=now)
    return new


def withdraw(registry: Registry, id: str, *, by: str, why: str, now: int) -> Contract:
    """Withdraw a contract that was never right; it stays on record.

    Raises:
        ContractError: there is none, or no reason.
        EventError: it reaches into a month that is closed.
    """
    if not why.strip():
        raise ContractError(_("Say why with --why."))
    contract = _entry(registry, id).contract
    refuse_closed(registry, contract.begin, contract.end)
    registry.withdraw_contract(id, by=by, why=why.strip(), at=now)
    return contract


def _entry(registry: Registry, id: str) -> ContractEntry:
    found = [entry for entry in registry.contracts() if entry.id == id]
    if not found:
        raise ContractError(
            _("There is no contract {id}; see 'desalink contracts list'.").format(id=id)
        )
    return found[0]
