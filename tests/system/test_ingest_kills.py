"""The ingest killed with -9: at random moments, and at each step from database to device."""

from itertools import product
from pathlib import Path

from tests.system.audit import audit
from tests.system.dying_ingest import MOMENTS
from tests.world.plant import Plant

_DEVICES = ("micropython", "cpython")


def test_an_ingest_killed_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    with Plant(tmp_path / "plant", _DEVICES) as plant:
        plant.start()
        plant.wait_for_reports(1)
        plant.restart_randomly([plant.ingest], kills=8, longest_s=1.5)
        plant.wait_for_reports(2)
        plant.finish()
        audit(plant)


def test_an_ingest_killed_between_its_steps_loses_nothing(tmp_path: Path) -> None:
    with Plant(tmp_path / "plant", _DEVICES) as plant:
        plant.start_broker()
        for agent in plant.agents:
            agent.start()
        for moment, count in product(MOMENTS, (1, 2)):
            plant.start_dying_ingest(moment, count)
            plant.wait_until(plant.ingest.died, f"killed at {moment} {count}")
        before = plant.duplicates()
        plant.ingest.start()
        plant.wait_for_reports(2)
        # What was committed without a PUBACK was given to it again, and was not stored again.
        assert plant.duplicates() > before
        plant.finish()
        audit(plant)
