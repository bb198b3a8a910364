"""The registry compared with the office log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, fields
from typing import Any

from host_tools.common.i18n import _
from host_tools.people.office_state import OfficeState
from host_tools.province.contract_records import Contract, ContractEntry, ContractEvent
from host_tools.province.registry import Registry

_Rows = Mapping[Any, tuple[Any, ...]]


def registry_differences(registry: Registry, state: OfficeState) -> Iterator[str]:
    """Where the registry's rows are not what the office log says."""
    for what, names, rows, log in _tables(registry, state):
        for key in rows.keys() | log.keys():
            name = key.hex() if isinstance(key, bytes) else key
            if key not in log:
                yield _("{what} {name} is in the registry, and the office log knows none.").format(
                    what=what, name=name
                )
            elif key not in rows:
                yield _(
                    "{what} {name} is in the office log, and the registry has lost it."
                ).format(what=what, name=name)
            else:
                for field, value, logged in zip(names, rows[key], log[key], strict=True):
                    if value != logged:
                        yield _(
                            "{what} {name}: '{field}' is {shown} in the registry and {log} in the "
                            "office log."
                        ).format(
                            what=what,
                            name=name,
                            field=field,
                            shown=_shown(value),
                            log=_shown(logged),
                        )


def _tables(
    registry: Registry, state: OfficeState
) -> Iterator[tuple[str, Sequence[str], _Rows, _Rows]]:
    """Of each table: what a row is, its fields, and the rows of the registry and of the log."""
    yield (
        "Device",
        ("slot", "key", "enrolled", "revoked", "replaced by"),
        {
            d.kid: (d.slot, d.public_key, d.enrolled_at, d.revoked_at, d.replaced_by)
            for d in registry.devices()
        },
        {d.kid: (d.slot, d.key, d.begin, d.end, d.replaced_by) for d in state.devices.values()},
    )
    yield (
        "Contract",
        [f.name for f in (*fields(Contract), *fields(ContractEntry)) if f.name != "contract"],
        {e.id: _flat(e) for e in registry.contracts(withdrawn=True)},
        {e.id: _flat(e) for e in state.contracts.values()},
    )
    yield (
        "Event",
        [f.name for f in fields(ContractEvent)],
        {e.id: astuple(e) for e in registry.contract_events(withdrawn=True)},
        {e.id: astuple(e) for e in state.events.values()},
    )
    yield (
        "Rules",
        ("document", "added", "author"),
        {str(version): tuple(row) for version, *row in registry.rule_documents()},
        {str(version): row for version, row in state.rules.items()},
    )
    yield (
        "Closed month",
        ("rules", "digest", "digest of its figures", "closed", "opened", "why opened"),
        {
            f"{c.month} edition {c.edition}": (
                *(c.rules, c.digest, hashlib.sha256(c.figures).digest()),
                *(c.closed_at, c.opened_at, c.opened_why),
            )
            for c in registry.closed_months()
        },
        {
            f"{c.month} edition {c.edition}": (
                *(c.rules, c.digest, c.digest, c.closed_at, c.opened_at, c.opened_why),
            )
            for c in state.months.values()
        },
    )
    yield (
        "Kit",
        ("technician", "expires", "revoked"),
        {k.id: (k.technician, k.expires_at, k.revoked_at) for k in registry.kits()},
        {id: (k.technician, k.expires, k.revoked_at) for id, k in state.kits.items()},
    )
    # Others are of before the log began, or came back with trust.cbor: the root signed them all.
    yield (
        "Trust document",
        ("SHA-256",),
        {
            str(version): (hashlib.sha256(document).digest(),)
            for version, document in registry.trusts()
            if version in state.trusts
        },
        {str(version): (digest,) for version, digest in state.trusts.items()},
    )
    yield (
        "Village",
        ("name", "district", "regency"),
        {
            v.code: (v.name, v.district, v.regency)
            for v in registry.villages()
            if v.code in state.villages
        },
        state.villages,
    )


def _flat(entry: ContractEntry) -> tuple[Any, ...]:
    id, contract, *rest = astuple(entry)
    return (*contract, id, *rest)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
