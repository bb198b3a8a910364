"""The office log of a province from before: all that is there is entered, marked as adopted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import _
from host_tools.keys.root import load_root_key
from host_tools.people.office_log import CONTRACT, EVENT
from host_tools.people.office_pen import has_log, make_office_keys
from host_tools.people.technicians import make_trust, publish_trust
from host_tools.province.records import Device
from host_tools.province.registry import Registry
from host_tools.province.registry_contracts import contract_body, event_body
from host_tools.province.settings import Province


def begin_log(province: Province, registry: Registry, passphrase: str) -> int:
    """Make the keys of office and ingest, name them in a trust document, and enter what is there.

    Returns:
        How many entries the log has.

    Raises:
        ProvinceError: it has begun already.
        PassphraseError, KeyFileError: the root key can't be opened.
    """
    if has_log(registry):
        raise ProvinceError(_("This province keeps an office log already; nothing was changed."))
    root = load_root_key(province.root_key, passphrase)
    with registry.transaction():
        make_office_keys(province, registry, passphrase)
        make_trust(province, registry, root)
        _adopt(registry)
    publish_trust(province, registry)
    newest = registry.newest_office_entry()
    assert newest is not None
    return newest[0] + 1


def _adopt(registry: Registry) -> None:
    contracts = registry.contracts(withdrawn=True)
    by_slot: dict[str, list[Device]] = {}
    for device in registry.devices():
        by_slot.setdefault(device.slot, []).append(device)
    villages = {slot[:10] for slot in (*by_slot, *(c.contract.slot for c in contracts))}
    for village in registry.villages():
        if village.code in villages:
            registry.enter_village_now(village)
    for devices in by_slot.values():
        for device, former, gone in _in_order(devices):
            if gone:
                body = {"kid": device.kid, "at": device.revoked_at, "reason": ""}
                registry.enter("revoke", body, by=device.revoked_by or "")
                continue
            registry.enter(
                "enrol",
                {"slot": device.slot, "kid": device.kid, "key": device.public_key}
                | {"proof": registry.proof_of(device.kid), "certificate": device.certificate}
                | {"replaces": former, "record": None, "adopted": True, "at": device.enrolled_at},
                by=device.enrolled_by,
            )
    for kit in registry.kits():
        body = {"id": kit.id, "technician": kit.technician, "expires": kit.expires_at}
        registry.enter("kit", body, by="")
        if kit.revoked_at is not None:
            body = {"id": kit.id, "at": kit.revoked_at}
            registry.enter("kit_revoke", body, by=kit.revoked_by or "")
    for entry in contracts:
        registry.enter(
            CONTRACT, contract_body(entry.id, entry.contract, entry.added_at), by=entry.added_by
        )
        if entry.withdrawn_at is not None:
            body = {"id": entry.id, "why": entry.withdrawn_why or "", "at": entry.withdrawn_at}
            registry.enter("contract_withdraw", body, by=entry.withdrawn_by or "")
    for event in registry.contract_events(withdrawn=True):
        registry.enter(EVENT, event_body(event), by=event.who)
        if event.withdrawn_at is not None:
            body = {"id": event.id, "why": event.withdrawn_why or "", "at": event.withdrawn_at}
            registry.enter("event_withdraw", body, by=event.withdrawn_by or "")
    for version, document, at, by in registry.rule_documents():
        registry.enter("rules", {"version": version, "document": document, "at": at}, by=by)
    for closed in registry.closed_months():
        registry.enter(
            "close",
            {"month": closed.month, "edition": closed.edition, "rules": closed.rules}
            | {"digest": hashlib.sha256(closed.figures).digest(), "receipt": None}
            | {"at": closed.closed_at},
            by=closed.closed_by,
        )
        if closed.opened_at is not None:
            registry.enter(
                "reopen",
                {"month": closed.month, "edition": closed.edition, "at": closed.opened_at}
                | {"why": closed.opened_why or ""},
                by=closed.opened_by or "",
            )


def _in_order(devices: list[Device]) -> Iterator[tuple[Device, bytes | None, bool]]:
    """A slot's devices as they came and went: the device, whom it replaced, whether it goes."""
    active: Device | None = None
    for device in sorted(devices, key=lambda d: (d.enrolled_at, d.revoked_at or 2**62)):
        if active is not None and active.replaced_by != device.kid:
            yield _ended(active, device.enrolled_at), None, True
            active = None
        yield device, active.kid if active else None, False
        active = device
    if active is not None and active.revoked_at is not None:
        yield active, None, True


def _ended(device: Device, at: int) -> Device:
    return device if device.revoked_at is not None else replace(device, revoked_at=at)
