"""The province as of now, read once for all who look at it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from host_tools.common.i18n import _, ngettext
from host_tools.common.times import DAY_S
from host_tools.province.contract_records import (
    MAINTENANCE,
    ClosedMonth,
    ContractEntry,
    ContractEvent,
)
from host_tools.province.records import Device, Village
from host_tools.province.registry import Registry
from host_tools.situation.overview import Overview, Registered, overview, providers
from host_tools.states.table import EMPTY, OURS, PROVIDER
from host_tools.states.words import group
from host_tools.store import Database, StoreMissing, open_database, queries
from host_tools.store.queries import Change, Outage, SlotStatus
from host_tools.wire.vocabulary import NO_DATA

Strip = list[tuple[int, int, str]]

# Silence shows by itself after so long.
_OLDEST_S = 15
_CHANGES = 300  # the newest, of which the last hour is shown
_AHEAD_S = 120  # by which a message may come from the future
_CLOCKS = 5  # so many devices are not wrong together


@dataclass(frozen=True)
class Snapshot:
    """The province at a moment.

    version: grows with each. strips: by slot, begin, end and state of the last 24 hours.
    yesterday: how many slots had each state a day ago. changes: of the last hour, the newest
    first. lasting: outages that last, or did when their village was last heard. contracts: by
    village. closed: every edition of every closed month. events: maintenance, force majeure and
    disputes that hold. running: the maintenance of now. devices: also those that are revoked.
    """

    version: int
    at: float
    overview: Overview
    villages: dict[str, Village]
    providers: dict[str, list[str]]
    strips: dict[str, Strip]
    yesterday: Counter[str]
    changes: list[Change]
    lasting: list[Outage]
    clocks_ahead: set[str]
    contracts: dict[str, list[ContractEntry]]
    closed: list[ClosedMonth]
    events: list[ContractEvent]
    running: list[ContractEvent]
    devices: list[Device]

    def slots_of(self, village: str) -> list[SlotStatus]:
        """The slots of a village; a made-up one where it never had a device."""
        found = [slot for slot in self.overview.slots if slot.village == village]
        return found or [SlotStatus(village, village, EMPTY, None, False)]

    def regencies(self) -> list[tuple[str, str]]:
        """Code and name of each regency."""
        return sorted({(v.regency_code, v.regency) for v in self.villages.values()})

    def provider_of(self, village: str) -> str:
        """The providers of a village, with commas; empty: not known."""
        return ", ".join(self.providers.get(village, ()))

    def events_of(self, slot: str) -> list[ContractEvent]:
        """The events that concern a slot, the newest first."""
        return [event for event in reversed(self.events) if self._concerns(event, slot)]

    def _concerns(self, event: ContractEvent, slot: str) -> bool:
        providers = self.providers.get(slot[:10]) or (None,)
        return any(event.concerns(slot, provider) for provider in providers)

    def maintenance_of(self, slot: str) -> ContractEvent | None:
        """The maintenance that a slot is in now, None: it is in none."""
        return next((event for event in self.running if self._concerns(event, slot)), None)

    def down_with(self, meant: SlotStatus) -> int:
        """How many other villages are down for the same reason: by the slot's provider, or
        without a way to the province."""
        reason = group(meant.state)
        if reason not in (PROVIDER, OURS):
            return 0
        its_providers = set(self.providers.get(meant.village, ()))
        return len(
            {
                slot.village
                for slot in self.overview.slots
                if slot.village != meant.village
                and group(slot.state) == reason
                and (reason == OURS or its_providers & set(self.providers.get(slot.village, ())))
            }
        )

    def banner(self) -> list[str]:
        """What is wrong on our own side."""
        return [*self.overview.ours(), *self._clocks()]

    def _clocks(self) -> list[str]:
        """Whose clock is wrong: one device's is its own, that of many is ours."""
        slots = self.overview.slots
        ahead = self.clocks_ahead | {
            slot.slot for slot in slots if (slot.last_report or 0) - self.at > _AHEAD_S
        }
        if not ahead:
            return []
        if len(ahead) >= max(2, min(len(slots), max(_CLOCKS, len(slots) // 3))):
            text = _(
                "The clock of this server is wrong: messages of {count} devices come from its "
                "future. Set it, and see that it is kept by NTP."
            )
            return [text.format(count=len(ahead))]
        labels = self.overview.labels
        named = [f"{labels.get(slot[:10], '')} ({slot})" for slot in sorted(ahead)]
        text = ngettext(
            "The device of {names} has a clock that is ahead of ours: let a technician check it.",
            "The devices of {names} have clocks that are ahead of ours: let a technician check "
            "them.",
            len(named),
        )
        return [text.format(names=", ".join(named))]


def _yesterday(strips: dict[str, Strip], moment: float) -> Counter[str]:
    found: Counter[str] = Counter()
    for strip in strips.values():
        state = next((state for begin, end, state in strip if begin <= moment < end), NO_DATA)
        found[state] += 1
    return found


class ProvinceWatcher:
    """Keeps the newest snapshot. It reads in a thread of its own."""

    def __init__(
        self, directory: Path, database: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory, self._path, self._clock = directory, database, clock
        self._thread = ThreadPoolExecutor(1, "watcher")
        self._registry: Registry | None = None
        self._database: Database | None = None
        self._seen: tuple[int, int] = (-1, -1)
        self._newest: Snapshot | None = None
        self._known: Registered | None = None
        self._villages: dict[str, Village] = {}
        self._providers: dict[str, list[str]] = {}
        self._contracts: dict[str, list[ContractEntry]] = {}
        self._closed: list[ClosedMonth] = []
        self._events: list[ContractEvent] = []

    def close(self) -> None:
        """End the thread."""
        self._thread.submit(self._forget).result()
        self._thread.shutdown()

    def _forget(self) -> None:
        for opened in (self._registry, self._database):
            if opened is not None:
                opened.close()
        self._registry = self._database = None

    def newest(self) -> Snapshot:
        """The newest snapshot; the first time it is read now.

        Raises:
            DesalinkError: registry or database can't be read.
        """
        return self._newest or self.look()

    def look(self) -> Snapshot:
        """Read again if something has changed, or the last time is long ago.

        Raises:
            DesalinkError: registry or database can't be read.
        """
        return self._thread.submit(self._look).result()

    def _look(self) -> Snapshot:
        now = self._clock()
        replaced = self._registry is not None and self._registry.replaced()
        if replaced or (self._database is not None and self._database.replaced()):
            self._forget()  # a backup was put back
        if self._registry is None:
            self._registry = Registry.open(self._directory, readonly=True)
            self._seen = (-1, -1)
        if self._database is None and self._path.exists():
            try:
                self._database = open_database(self._path, readonly=True)
            except StoreMissing:
                pass  # an older version: the ingest renews it
        registry, database = self._registry, self._database
        seen = (registry.version(), database.version() if database else -1)
        newest = self._newest
        if newest and seen == self._seen and 0 <= now - newest.at < _OLDEST_S:
            return newest
        if newest is None or seen[0] != self._seen[0] or now // DAY_S != newest.at // DAY_S:
            self._known = Registered.read(registry)
            self._villages = {village.code: village for village in self._known.villages}
            self._providers = providers(registry, now)
            self._contracts = {}
            for entry in registry.contracts():
                self._contracts.setdefault(entry.contract.slot[:10], []).append(entry)
            self._closed = registry.closed_months()
            self._events = registry.contract_events()
        found = self._read(registry, database, now, newest.version + 1 if newest else 1)
        self._seen, self._newest = seen, found
        return found

    def _read(
        self, registry: Registry, database: Database | None, now: float, version: int
    ) -> Snapshot:
        its = overview(registry, database, now, known=self._known)
        strips: dict[str, Strip] = {}
        changes: list[Change] = []
        lasting: list[Outage] = []
        ahead: set[str] = set()
        if database is not None:
            strips = queries.recent_states(database, int(now) - DAY_S)
            last = queries.newest_change(database)
            changes = [
                change
                for change in queries.changes(database, last - _CHANGES)
                if now - 3600 <= change.t
            ]
            silent = {slot.slot for slot in its.slots if not slot.fresh}
            lasting = queries.outages(database, since=2**40, silent=silent)
            ahead = queries.slots_with_clock_ahead(database)
        return Snapshot(
            version,
            now,
            its,
            self._villages,
            self._providers,
            strips,
            _yesterday(strips, now - DAY_S),
            sorted(changes, key=lambda change: change.t, reverse=True),
            lasting,
            ahead,
            self._contracts,
            self._closed,
            self._events,
            [e for e in self._events if e.kind == MAINTENANCE and e.begin <= now < e.end],
            self._known.devices if self._known else [],
        )
