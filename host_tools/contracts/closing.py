"""Closing a month: its figures as one canonical JSON text with its SHA-256.

A closed month is never counted again. A month that was opened again keeps its old edition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from host_tools.common.i18n import _
from host_tools.common.times import DAY_S
from host_tools.contracts.calendar import Month
from host_tools.contracts.months import (
    MonthError,
    SlotMonth,
    all_rules,
    count,
    holding,
    rounded,
    rules_of,
)
from host_tools.contracts.rules import Rules, RulesError, read_rules
from host_tools.contracts.table import contract_id
from host_tools.province.contract_records import ClosedMonth
from host_tools.province.registry import Registry
from host_tools.store import Database
from host_tools.store.pending import Pending
from host_tools.store.receipts import has_uncounted, newest_receipt

FORMAT = 1

# A running ingest derives what has arrived within seconds.
_DERIVED_S = 600


def as_json(slot: SlotMonth) -> dict[str, Any]:
    """The figures of a slot's month: whole numbers, times in Unix seconds, shares as fractions."""
    usage = slot.usage
    return {
        "slot": slot.slot,
        "pieces": [
            {
                "contract": None if piece.contract is None else contract_id(piece.contract),
                "begin": piece.begin,
                "end": piece.end,
                "seconds": dict(sorted(piece.seconds.items())),
                "causes": dict(sorted(piece.causes.items())),
                "charged": [
                    {
                        "begin": outage.begin,
                        "end": outage.end,
                        "seconds": outage.seconds,
                        "causes": dict(sorted(outage.causes.items())),
                    }
                    for outage in piece.charged
                ],
                "availability": _share(piece.availability),
                "best": _share(piece.best),
                "worst": _share(piece.worst),
                "price": rounded(piece.price),
                "restitution": rounded(piece.restitution),
            }
            for piece in slot.pieces
        ],
        "usage": {
            "measured_s": usage.measured_s,
            "bytes_down": usage.bytes_down,
            "bytes_up": usage.bytes_up,
            "clients_peak": usage.clients_peak,
            "clients_day": usage.clients_day,
            "measured_days": usage.measured_days,
            "unused_days": usage.unused_days,
        },
    }


def _share(value: Fraction | None) -> list[int] | None:
    return None if value is None else [value.numerator, value.denominator]


def canonical(month: Month, rules: Rules, slots: Sequence[SlotMonth]) -> bytes:
    """The figures of a month as one text that is the same whenever they are."""
    value = {
        "format": FORMAT,
        "month": month.name,
        "rules": {"version": rules.version, "sha256": rules.digest},
        "slots": [as_json(slot) for slot in slots],
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def check_closed(closed: ClosedMonth, slots: Iterable[SlotMonth]) -> None:
    """See that slots still count as they did when their month was closed.

    Raises:
        MonthError: one does not, as where reports came in later; names it.
    """
    kept = {one["slot"]: _without_ids(one) for one in json.loads(closed.figures)["slots"]}
    for one in slots:
        if kept.get(one.slot) != _without_ids(as_json(one)):
            raise MonthError(
                _(
                    "{month} is closed, and {slot} would have other figures with the data that "
                    "came later; 'desalink month figures {month}' prints those that hold. To "
                    "count the month again, open it with 'desalink month reopen {month} --why "
                    "TEXT'."
                ).format(month=closed.month, slot=one.slot)
            )


def _without_ids(slot: dict[str, Any]) -> dict[str, Any]:
    # A contract that ends earlier than it was meant to, after the month, has another id.
    return {**slot, "pieces": [{**piece, "contract": None} for piece in slot["pieces"]]}


def is_underived(database: Database | None, end: int, now: int) -> bool:
    """Whether the figures before `end` lack reports that arrived more than ten minutes ago."""
    return database is not None and Pending(database).reaches(end, now - _DERIVED_S)


def close(
    registry: Registry, database: Database | None, month: Month, *, by: str, now: int
) -> ClosedMonth:
    """Count a month for good.

    Raises:
        MonthError: it is closed already, not over, or has reports that no receipt counts or that
            are not derived.
        RulesError: no rules are valid for it.
    """
    if holding(registry, month) is not None:
        raise MonthError(
            _(
                "{name} is closed already; see it with 'desalink month show {name}', or open it "
                "again with 'desalink month reopen {name} --why TEXT'."
            ).format(name=month.name)
        )
    if now < month.end:
        raise MonthError(_("{name} is not over; close it when it is.").format(name=month.name))
    if is_underived(database, month.end, now):
        raise MonthError(
            _(
                "Reports of {name} are not derived yet, and would count as no data; wait for the "
                "ingest, or run 'desalink ingest --rebuild', then close it."
            ).format(name=month.name)
        )
    # Its evidence could not be exported.
    if database and has_uncounted(database, month.begin - DAY_S, month.end):
        raise MonthError(
            _(
                "Reports of {name} have arrived that no receipt counts yet; have one made with "
                "'desalink evidence receipts --now', then close it."
            ).format(name=month.name)
        )
    rules = rules_of(registry, month)
    figures = canonical(month, rules, list(count(registry, database, month, rules)))
    closed = ClosedMonth(
        month.name,
        1 + max((c.edition for c in registry.closed_months(month.name)), default=0),
        rules.version,
        figures,
        hashlib.sha256(figures).digest(),
        now,
        by,
    )
    newest = newest_receipt(database) if database else None
    registry.close_month(closed, receipt=newest[0] if newest else None)
    return closed


def reopen(registry: Registry, month: Month, *, by: str, why: str, now: int) -> None:
    """Open a closed month again; the closed edition stays on record.

    Raises:
        MonthError: it is not closed, or there is no reason.
    """
    if not why.strip():
        raise MonthError(_("Say why {name} is opened again, with --why.").format(name=month.name))
    if not registry.open_month(month.name, by=by, why=why.strip(), at=now):
        raise MonthError(
            _("{name} is not closed; there is nothing to open again.").format(name=month.name)
        )


def add_rules(registry: Registry, text: str, name: str, *, by: str, now: int) -> Rules:
    """Add a version of the rules.

    Raises:
        RulesError: it is not valid, not the next version, or would hold for a closed month.
    """
    rules = read_rules(text, name)
    newest = max(known.version for known in all_rules(registry))
    if rules.version != newest + 1:
        raise RulesError(
            _("{name}: version {version} is not the next; give {newest}.").format(
                name=name, version=rules.version, newest=newest + 1
            )
        )
    later = [c.month for c in registry.closed_months() if c.opened_at is None]
    if later and rules.valid_from <= max(later):
        raise RulesError(
            _(
                "{name}: {month} is closed, so new rules can't hold from {valid_from}. Open the "
                "closed months first, or give a later month in valid_from."
            ).format(name=name, month=max(later), valid_from=rules.valid_from)
        )
    registry.add_rules(rules.version, text, by=by, at=now)
    return rules
