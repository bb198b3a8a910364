"""The broker killed with -9. It acknowledges from memory: what it had must come again."""

from pathlib import Path

import pytest

from tests.system.audit import audit
from tests.world.plant import Plant

_DEVICES = ("micropython", "cpython", "micropython")


@pytest.mark.slow
def test_a_broker_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    with Plant(tmp_path / "plant", _DEVICES) as plant:
        plant.start()
        plant.wait_for_reports(1)
        for number in range(6):
            plant.kill_broker(forget=number % 2 == 1)
            plant.wait_for_journals(plant.random.randrange(3))
            plant.start_broker()
            plant.wait_for_reports(plant.random.randrange(1, 3))
        plant.finish()
        audit(plant)


def test_reports_that_only_the_broker_had_come_again(tmp_path: Path) -> None:
    """It acknowledged them for an ingest that was away, and lost its memory and its disk."""
    with Plant(tmp_path / "plant", _DEVICES[:2]) as plant:
        plant.start()
        plant.wait_for_reports(2)
        plant.ingest.stop()
        plant.wait_for_journals(4)
        plant.kill_broker(forget=True)
        plant.start_broker()
        plant.wait_for_journals(2)
        assert len(plant.missing()) >= 6 * len(plant.agents)
        plant.ingest.start()
        plant.wait_for_reports(6)
        plant.finish()
        audit(plant)


def test_a_backlog_that_only_the_broker_had_comes_again(tmp_path: Path) -> None:
    """More reports than the window holds are sent before an ingest runs."""
    with Plant(tmp_path / "plant", _DEVICES[:2]) as plant:
        plant.start()
        plant.wait_for_reports(1)
        plant.settle()
        plant.ingest.stop()
        plant.kill_broker(forget=True)
        plant.start_broker()
        for agent in plant.agents:
            plant.be_offline(agent, "reports", 80)
            agent.start()
        # Each has sent them to the broker; it needs some seconds for the first 64, and makes more.
        plant.wait_for_journals(5)
        plant.ingest.start()
        plant.wait_for_storage()
        plant.finish()
        audit(plant)


@pytest.mark.slow
def test_a_broker_that_comes_back_with_an_old_memory_loses_nothing(tmp_path: Path) -> None:
    """It is killed some time after it has saved: old births, acks and reports come back."""
    with Plant(tmp_path / "plant", _DEVICES) as plant:
        plant.start()
        plant.wait_for_reports(1)
        for _ in range(2):
            plant.ingest.kill9()
            plant.wait_for_journals(2)
            plant.save_broker()
            plant.ingest.start()
            plant.wait_for_reports(3)
            for agent in plant.agents:
                agent.kill9()
                agent.start()
            plant.wait_for_reports(3)
            plant.kill_broker()
            plant.start_broker()
            plant.wait_for_reports(2)
        plant.finish()
        audit(plant)
