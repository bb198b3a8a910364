"""Events that change how a month is counted: maintenance, force majeure, disputes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import datetime

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.times import WITA
from host_tools.contracts.calendar import Month, month_of
from host_tools.province.contract_records import ContractEvent
from host_tools.province.registry import Registry

_MAX_S = 366 * 86_400
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class EventError(DesalinkError):
    """An event that can't be recorded or withdrawn."""


def parse_time(text: str, *, end: bool = False) -> int:
    """Unix time of `2026-10-05 14:00` in WITA, or of a day: its begin, or its end.

    Raises:
        EventError: it is no time.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise EventError(
            _(
                "'{text}' is not a time; give one such as 2026-10-05 or '2026-10-05 14:00' (WITA)."
            ).format(text=text)
        ) from None
    unix = int((moment if moment.tzinfo else moment.replace(tzinfo=WITA)).timestamp())
    return unix + 86_400 if end and _DAY.fullmatch(text.strip()) else unix


def add(
    registry: Registry,
    kind: str,
    scope: str,
    value: str,
    begin: int,
    end: int,
    *,
    who: str,
    why: str,
    now: int,
) -> ContractEvent:
    """Record an event.

    Raises:
        EventError: it has no length, no reason, or lies in a month that is closed.
    """
    if end <= begin:
        raise EventError(_("The event ends before it begins; correct --from and --until."))
    if end - begin > _MAX_S:
        raise EventError(_("The event is longer than a year; give its own --from and --until."))
    if not why.strip():
        raise EventError(_("Say why with --why: the report prints it."))
    if scope == "provider":
        known = sorted({entry.contract.provider for entry in registry.contracts()})
        if value not in known:
            raise EventError(
                _("No contract is with '{value}'; the providers are: {known}.").format(
                    value=value, known=", ".join(known) or _("none, import contracts first")
                )
            )
    refuse_closed(registry, begin, end)
    event = ContractEvent(
        secrets.token_hex(4), kind, scope, value, begin, end, who, why.strip(), now
    )
    registry.add_contract_event(event)
    return event


def withdraw(registry: Registry, id: str, *, by: str, why: str, now: int) -> None:
    """Withdraw an event; it stays on record.

    Raises:
        EventError: there is none of that id, it has no reason, or its month is closed.
    """
    if not why.strip():
        raise EventError(_("Say why with --why."))
    found = [event for event in registry.contract_events() if event.id == id]
    if not found:
        raise EventError(_("There is no event {id}; see 'desalink events list'.").format(id=id))
    refuse_closed(registry, found[0].begin, found[0].end)
    registry.withdraw_contract_event(id, by=by, why=why.strip(), at=now)


def refuse_closed(registry: Registry, begin: int, end: int) -> None:
    """Refuse what would change a month that is closed.

    Raises:
        EventError: names the month.
    """
    for closed in registry.closed_months():
        month = month_of(closed.month)
        if closed.opened_at is None and begin < month.end and month.begin < end:
            raise EventError(
                _(
                    "{month} is closed; open it again first, with 'desalink month reopen {month} "
                    "--why TEXT'."
                ).format(month=closed.month)
            )


def about(events: Iterable[ContractEvent], month: Month) -> list[ContractEvent]:
    """Those that reach into a month."""
    return [event for event in events if event.begin < month.end and month.begin < event.end]
