"""A small simulated province with every regime, made once for all tests here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest

from host_tools.simulate import truth
from host_tools.simulate.delivery import Arrival
from host_tools.simulate.province import places
from host_tools.simulate.run import run
from host_tools.simulate.storing import TrustedStore, VerifiedStore
from host_tools.simulate.world import ChosenVillage, SimulatedVillage, SimulationSettings, World

BEGIN = 1_767_196_800  # 2026-01-01 00:00 WITA


class Collected:
    """A store that keeps what arrives as it comes."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []

    def store(self, at: int, arrivals: Sequence[Arrival]) -> None:
        assert all(arrival.at == at for arrival in arrivals)
        self.arrivals += arrivals


@dataclass
class Simulated:
    """A simulation: its settings, its villages, all that arrived, the truth."""

    settings: SimulationSettings
    places: list[ChosenVillage]
    villages: list[SimulatedVillage]
    lines: list[str]
    arrivals: list[Arrival] = field(repr=False)

    def fill(self, store: VerifiedStore | TrustedStore) -> None:
        """Store everything, and close the store."""
        for at, arrivals in groupby(self.arrivals, key=lambda arrival: arrival.at):
            store.store(at, list(arrivals))
        store.close()


def simulate(settings: SimulationSettings, workers: int = 0) -> Simulated:
    """Run a simulation into memory."""
    chosen = places(settings.villages)
    world = World(settings, chosen)
    collected = Collected()
    lines = run(settings, chosen, collected, workers=workers)
    villages = [world.village(index) for index in range(len(chosen))]
    return Simulated(settings, chosen, villages, lines, collected.arrivals)


@pytest.fixture(scope="session")
def small() -> Simulated:
    """16 villages, each special in its own way, for three days."""
    return simulate(SimulationSettings(villages=16, days=3, seed=1, begin=BEGIN))


@pytest.fixture(scope="session")
def filled(small: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its database, verified but not derived, and its truth; only to be copied."""
    folder = tmp_path_factory.mktemp("simulated")
    store = VerifiedStore(folder / "province.db", small.villages)
    store.db.execute("PRAGMA synchronous=OFF")  # no power cut is tested here
    small.fill(store)
    truth.write(folder / truth.FILE, small.settings, small.lines)
    return folder
