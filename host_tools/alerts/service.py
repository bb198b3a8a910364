"""The loop of alerts: look, decide, and send beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from host_tools.alerts import settings
from host_tools.alerts.channels import make_sender
from host_tools.alerts.digest import queue_digest
from host_tools.alerts.outbox import Log, Outbox
from host_tools.alerts.places import AlertPlace, in_maintenance, places_of
from host_tools.alerts.post import Post
from host_tools.alerts.records import FILE, AlertRecords, open_records
from host_tools.alerts.settings import CHANNEL, OWN, AlertSettings, load_settings
from host_tools.alerts.texts import Spell
from host_tools.alerts.view import (
    DERIVE,
    ProvinceView,
    conditions,
    endings,
    look,
    own_troubles,
)
from host_tools.alerts.watch import Watch
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.locks import hold
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.store import Database, StoreBusy, StoreFull, StoreMissing, open_database
from host_tools.store.queries import changes, intervals, newest_change

LOOK_S = 20
_SLOW_S = 900  # between looks at what changes slowly
_PLACES_S = 300
_SEND_S = 2
_CHANGES = "changes"


class AlertsBusy(DesalinkError):
    """Another process already watches this province."""

    exit_code = 75


class AlertService:
    """Watches a province until it is stopped."""

    def __init__(
        self, province: Province, log: Log, clock: Callable[[], float] = time.time
    ) -> None:
        self._province = province
        self._log = log
        self._clock = clock
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._settings: AlertSettings = load_settings(province.directory)
        self._places: dict[str, AlertPlace] = {}
        self._places_at = self._slow_at = float("-inf")
        self._behind_since: int | None = None

    def stop(self, *signal: object) -> None:
        """End soon; may be called from a signal's handler or another thread."""
        self._stop.set()

    def run(self) -> None:
        """Look and send until `stop`.

        Raises:
            AlertsBusy: another process does.
        """
        directory = self._province.directory
        sending = threading.Thread(target=self._send, daemon=True)
        with (
            hold(directory / f"{FILE}.lock", self._busy),
            Registry.open(directory) as registry,
            open_records(directory) as records,
        ):
            post = Post(self._settings, records)
            watch = Watch(self._settings, records, post)
            self._log("started", teams=len(self._settings.teams))
            if not self._settings.teams:
                text = _("Nobody is sent an alert; name teams and channels in {file}.")
                named = text.format(file=directory / settings.FILE)
                self._log("no_teams", level="warning", error=named)
            sending.start()
            while not self._stop.is_set():
                try:
                    self.look_once(registry, records, post, watch)
                except (StoreBusy, StoreFull) as error:
                    self._log("look_failed", level="error", error=error)
                self._stop.wait(LOOK_S)
            sending.join(60)
            if self._failure is not None:
                raise self._failure

    def _busy(self) -> AlertsBusy:
        sentence = _("Another 'desalink alerts run' already watches {directory}; stop it first.")
        return AlertsBusy(sentence.format(directory=self._province.directory))

    def look_once(
        self, registry: Registry, records: AlertRecords, post: Post, watch: Watch
    ) -> None:
        """Look at what is known now, and put into the outbox what follows."""
        now = int(self._clock())
        try:
            database = open_database(self._province.database, readonly=True)
        except StoreMissing:
            self._look(registry, None, records, post, watch, now)
            return
        with database:
            self._look(registry, database, records, post, watch, now)

    def _look(
        self,
        registry: Registry,
        database: Database | None,
        records: AlertRecords,
        post: Post,
        watch: Watch,
        now: int,
    ) -> None:
        settings = self._settings
        if now - self._places_at >= _PLACES_S:
            self._places = post.places = places_of(registry, settings, now)
            self._places_at = now
        view = ProvinceView([])
        seen = records.meta(_CHANGES)
        if database is not None:
            view.slots = look(database, now)
            if seen is None:  # what was before the first look is old
                seen = newest_change(database)
            view.changes = changes(database, seen)
            post.spells = _spells(database)
        after = [rule.after_s for rule in settings.of_kind(OWN)]
        if after:
            view.own = own_troubles(database, now, after[0])
            # It is behind for a moment whenever many devices come back at once.
            self._behind_since = (self._behind_since or now) if DERIVE in view.own else None
            if self._behind_since is not None and now - self._behind_since < after[0]:
                del view.own[DERIVE]
        if now - self._slow_at >= _SLOW_S:
            self._slow_at = now
            view.found = conditions(database, settings, now)
            try:
                view.found |= endings(self._province, registry, database, settings, now)
            except DesalinkError as error:
                self._log("endings_failed", level="warning", error=error)
            for rule in settings.of_kind(CHANNEL):
                failing = records.failing(rule.limit)
                view.found[rule.name] = {
                    c: e for c, e in failing.items() if c in settings.channels
                }
        watch.tick(now, view, self._places, self._silenced(registry, records, now))
        if seen is not None:
            with records.transaction(durable=False):
                records.set_meta(_CHANGES, view.changes[-1].id if view.changes else seen)
        queue_digest(settings, records, self._places, now)

    def _silenced(self, registry: Registry, records: AlertRecords, now: int) -> set[str]:
        silences = [s for s in records.silences(now) if s.begin <= now]
        return in_maintenance(registry.contract_events(), self._places, now) | {
            slot
            for slot, place in self._places.items()
            if any(silence.concerns(slot, place.provider) for silence in silences)
        }

    def _send(self) -> None:
        try:
            self._send_until_stopped()
        except BaseException as error:  # noqa: BLE001 - the other thread ends with it
            self._failure = error
            self._stop.set()

    def _send_until_stopped(self) -> None:
        directory = self._province.directory
        with open_records(directory) as records:
            outbox = Outbox(
                records, lambda name: make_sender(self._settings, name, directory), self._log
            )
            stopped = False
            while not stopped:
                stopped = self._stop.wait(_SEND_S)  # then once more: for what is under way
                try:
                    outbox.work(self._clock(), self._stop.is_set)
                except (StoreBusy, StoreFull) as error:
                    self._log("outbox_failed", level="error", error=error)


def _spells(database: Database) -> Callable[[str, int, int], Sequence[Spell]]:
    """The states of a slot other than up; a message must not wait for a busy database."""

    def spells(slot: str, begin: int, end: int) -> Sequence[Spell]:
        with suppress(StoreBusy):
            return [
                (max(its.begin, begin), min(its.end, end), its.state)
                for its in intervals(database, slot, begin=begin, end=end)
                if its.state != "up"
            ]
        return ()

    return spells
