"""Everything dies at one moment, as in a power cut, and comes back in any order."""

from pathlib import Path

from tests.system.audit import audit
from tests.world.plant import Plant

_CUTS = 4


def test_a_power_cut_of_everything_loses_nothing(tmp_path: Path) -> None:
    with Plant(tmp_path / "plant", ("micropython", "cpython")) as plant:
        plant.start()
        for number in range(_CUTS):
            plant.wait_for_journals(plant.random.randrange(3))
            for part in plant.random.sample([*plant.agents, plant.ingest], len(plant.agents) + 1):
                part.kill9()
            plant.kill_broker(forget=number % 2 == 1)
            # Agents first: they must get on without a broker, and the broker without an ingest.
            starts = [plant.start_broker, *(part.start for part in (plant.ingest, *plant.agents))]
            for start in plant.random.sample(starts, len(starts)):
                start()
        plant.wait_for_reports(3)
        plant.finish()
        audit(plant)
