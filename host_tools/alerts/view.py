"""What the province knows at a moment, as far as alerts need it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from host_tools.alerts.settings import (
    CERTIFICATE,
    DISK,
    JOURNAL,
    UNUSED,
    VOLTAGE,
    AlertSettings,
)
from host_tools.office.expiry import ends
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.store import Database
from host_tools.store.pending import Pending
from host_tools.store.queries import (
    Change,
    SlotStatus,
    certificates,
    newest_values,
    status,
    usage_sums,
)
from host_tools.store.sessions import liveness
from host_tools.store.size import size
from host_tools.wire.vocabulary import NO_DATA

CLOCK = "clock"
INGEST, BROKER, DERIVE = "ingest", "broker", "derive"

_SILENT_REPORTS = 3  # as in store/queries
_QUIET_REPORTS = 1.5  # a report is overdue
_DERIVE_LAG = 5000  # reports that wait: what is known is not of now


class SlotView(NamedTuple):
    """A slot as of now.

    state: of docs/metrics.md; `no_data`: nothing comes; `clock`: reports come, and their time is
    not known. quiet: when the last report came, if the next one is overdue.
    """

    slot: str
    state: str
    since: int
    quiet: int | None = None


@dataclass
class ProvinceView:
    """All that alerts are made from.

    own: what of the province's own side does not work, and since when. changes: of slots' states,
    since the last view. found: by rule, the keys (slots, or things that end) in which its
    condition holds, with a detail; only of rules that were looked at.
    """

    slots: list[SlotView]
    own: dict[str, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    found: dict[str, dict[str, str]] = field(default_factory=dict)


def slot_views(statuses: Iterable[SlotStatus], now: float) -> list[SlotView]:
    """The slots that have ever been heard."""
    found = []
    for its in statuses:
        heard = its.last_report
        if heard is None:
            continue
        if its.due is not None and its.since is not None:
            heard = max(heard, its.since)  # it has connected again
        overdue = now - heard
        if its.fresh and its.since is not None:
            quiet = heard if overdue > _QUIET_REPORTS * its.interval_s else None
            found.append(SlotView(its.slot, its.state, its.since, quiet))
        elif overdue <= _SILENT_REPORTS * its.interval_s:
            found.append(SlotView(its.slot, CLOCK, heard))
        else:
            # A clock that was wrong does not move when it fell silent.
            since = min(max(its.since or 0, heard - its.interval_s), heard)
            found.append(SlotView(its.slot, NO_DATA, since))
    return found


def own_troubles(database: Database | None, now: float, after_s: float) -> dict[str, int]:
    """What of the province's own side has not worked for so long, and since when."""
    if database is None:
        return {}
    alive = liveness(database)
    if not alive.ingest:
        return {}  # it has never run
    if now - alive.ingest > after_s:
        return {INGEST: alive.ingest}
    if now - alive.broker > after_s:
        return {BROKER: alive.broker}
    if Pending(database).count() > _DERIVE_LAG:
        return {DERIVE: int(now)}
    return {}


def look(database: Database, now: float) -> list[SlotView]:
    """The slots as of now."""
    return slot_views(status(database, now), now)


def conditions(
    database: Database | None, settings: AlertSettings, now: float
) -> dict[str, dict[str, str]]:
    """By rule, where its condition holds, of the rules that look at more than states."""
    found: dict[str, dict[str, str]] = {}
    if database is not None:
        statuses = [its for its in status(database, now) if its.fresh]
        for rule in settings.of_kind(JOURNAL):
            found[rule.name] = {
                its.slot: f"{its.journal_fill:.0f} %"
                for its in statuses
                if its.journal_fill is not None and its.journal_fill >= rule.limit
            }
        if settings.of_kind(VOLTAGE):
            volts = newest_values(database, ("voltage", "router_voltage"))
            fresh = {its.slot for its in statuses}
            for rule in settings.of_kind(VOLTAGE):
                found[rule.name] = {
                    slot: f"{value:.2f} V"
                    for slot, value in sorted(volts.items())
                    if slot in fresh and 0 < value < rule.limit / 100
                }
        for rule in settings.of_kind(UNUSED):
            found[rule.name] = _unused(database, now, rule.after_s, statuses)
        for rule in settings.of_kind(DISK):
            days = size(database, now).days_left
            low = days is not None and days < rule.limit
            found[rule.name] = {"disk": f"{days:.0f} d"} if low and days is not None else {}
    return found


def endings(
    province: Province,
    registry: Registry,
    database: Database | None,
    settings: AlertSettings,
    now: float,
) -> dict[str, dict[str, str]]:
    """By rule, what ends soon.

    Raises:
        KeyFileError, TrustError: as `ends`.
    """
    found: dict[str, dict[str, str]] = {}
    for rule in settings.of_kind(CERTIFICATE):
        shown: Mapping[str, str] = certificates(database) if database is not None else {}
        found[rule.name] = {
            end.what: f"{end.days} d: {end.remedy}"
            for end in ends(province, registry, now, shown)
            if end.days < rule.limit
        }
    return found


def _unused(
    database: Database, now: float, after_s: int, statuses: list[SlotStatus]
) -> dict[str, str]:
    """Slots that were measured for all of that time, and moved nothing for people."""
    seen = {its.slot for its in statuses}
    least_s = after_s / 2  # of samples: a village that was off has no use to show
    return {
        use.slot: f"{after_s // 86400} d"
        for use in usage_sums(database, since=now - after_s)
        if use.slot in seen
        and use.measured_s >= least_s
        and use.begin <= now - after_s + 86400
        and use.clients_peak == 0
    }
