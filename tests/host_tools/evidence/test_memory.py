"""A verifier holds one slot in memory, however many there are."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from host_tools.common.times import DAY_S
from host_tools.contracts.calendar import month_of
from host_tools.evidence.export import Exporter
from host_tools.ingest.receipting import ProvinceReceipts, close_all
from host_tools.people.technicians import root_public
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.simulate.province import found, places
from host_tools.simulate.run import run
from host_tools.simulate.storing import TrustedStore
from host_tools.simulate.world import SimulationSettings, World
from tests.support import ROOT

OCTOBER = month_of("2026-10")
_VERIFY = """
import resource, sys
from pathlib import Path
from host_tools.evidence.documents import read_roots
from host_tools.evidence.verify import verify
print(verify(Path(sys.argv[1]), read_roots(Path(sys.argv[2]))).reports)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def simulated(directory: Path, villages: int) -> Province:
    """A province with the reports of nine days, and their receipts."""
    begin = OCTOBER.begin - 3 * DAY_S
    settings = SimulationSettings(villages=villages, days=9, seed=1, begin=begin)
    chosen = places(villages)
    world = World(settings, chosen)
    province = found(directory, settings, [world.village(n) for n in range(villages)])
    store = TrustedStore(province.database)
    store.db.execute("PRAGMA synchronous=OFF")
    run(settings, chosen, store, workers=0)
    for end in range(begin, begin + 11 * DAY_S, DAY_S):
        close_all(store.db, ProvinceReceipts(province), end + 60, clock=time.time)
    with Registry.open(directory) as registry:
        exporter = Exporter(registry, store.db, province.name, [root_public(province)])
        exporter.export(directory / "month.evidence", OCTOBER, {}, now=0)
    store.close()
    return province


@pytest.mark.slow
def test_four_times_the_villages_take_no_more_memory(tmp_path: Path):
    seen = []
    for villages in (3, 12):
        province = simulated(tmp_path / str(villages), villages)
        file = province.directory / "month.evidence"
        done = subprocess.run(
            [sys.executable, "-c", _VERIFY, file, province.root_public],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        seen.append([int(number) for number in done.stdout.split()])
    (few, small), (many, large) = seen
    assert many > 3 * few > 3000
    # Of the whole province it keeps the figures of each slot, some kilobytes.
    assert large < small + 12, f"{small} MB, then {large} MB"
