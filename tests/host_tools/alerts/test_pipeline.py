"""From the devices' reports to the alerts: what the province derives is what is alerted."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tools.alerts.post import Post
from host_tools.alerts.records import AlertRecords, open_records
from host_tools.alerts.view import BROKER, ProvinceView, look
from host_tools.alerts.watch import Watch
from host_tools.derive import Deriver
from host_tools.simulate.delivery import Arrival
from host_tools.simulate.province import places
from host_tools.simulate.run import run
from host_tools.simulate.storing import TrustedStore
from host_tools.simulate.world import SimulatedVillage, SimulationSettings, World
from host_tools.store.queries import changes
from tests.host_tools.alerts.playing import (
    BEGIN,
    TICK_S,
    cuts_of,
    judge,
    place_of,
    settings_in,
)


class Alerted:
    """A store that derives what arrives, and shows it to the alerts at each tick."""

    def __init__(self, folder: Path, villages: list[SimulatedVillage], begin: int) -> None:
        self.store_ = TrustedStore(folder / "province.db")
        self.db = self.store_.db
        self.db.execute("PRAGMA synchronous=OFF")
        self._deriver = Deriver(self.db, self.store_.streams)
        self._broken = cuts_of(villages, "broker", len(villages) // 2)
        self.records: AlertRecords = open_records(folder)
        settings = settings_in(folder)
        self._post = Post(settings, self.records)
        self._post.places = {village.slot: place_of(village) for village in villages}
        self._watch = Watch(settings, self.records, self._post)
        self._next, self._seen = begin, 0

    def store(self, at: int, arrivals: list[Arrival]) -> None:
        self.until(at)
        self.store_.store(at, arrivals)

    def until(self, end: int) -> None:
        while self._next < end:
            while self._deriver.step(1000):
                pass
            now = self._next
            view = ProvinceView(look(self.db, now), changes=changes(self.db, self._seen))
            view.own = dict((BROKER, b) for b, e in self._broken if b + 180 <= now < e)
            if view.changes:
                self._seen = view.changes[-1].id
            self._watch.tick(now, view, self._post.places)
            self._next += TICK_S


def alerted(folder: Path, count: int, days: int, seed: int, least: int) -> None:
    settings = SimulationSettings(count, days, seed, BEGIN)
    chosen = places(count)
    world = World(settings, chosen)
    # A revoked device goes on sending: the registry knows it, and it is not watched.
    villages = [
        village
        for village in map(world.village, range(count))
        if village.spells and village.special != "revoked"
    ]
    store = Alerted(folder, villages, settings.begin)
    run(settings, chosen, store, workers=0)
    store.until(settings.end)
    verdict = judge(store.records, villages, 1800, settings.end)
    assert verdict.due >= least
    assert (verdict.missed, verdict.twice, verdict.invented) == ([], [], [])


def test_each_outage_that_the_province_can_see_is_alerted_once_and_nothing_else(tmp_path):
    alerted(tmp_path, count=12, days=1, seed=1, least=2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_of_40_villages_and_three_days(tmp_path):
    alerted(tmp_path, count=40, days=3, seed=2, least=8)
