"""Agents killed or interrupted at random moments, while they measure, sign, write and send."""

from pathlib import Path

import pytest

from tests.system.audit import audit
from tests.world.plant import Plant

_BOOTED = 3
_STOPPED = 9
_KILLS = 36
_INTERRUPTS = 8


@pytest.mark.slow
def test_agents_killed_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    devices = ("micropython", "cpython", "micropython", "cpython")
    with Plant(tmp_path / "plant", devices) as plant:
        plant.start()
        plant.wait_for_reports(1)
        plant.restart_randomly(plant.agents, _KILLS, longest_s=3.0)
        plant.wait_for_reports(2)
        plant.finish()
        evidence = audit(plant)
        for agent in plant.agents:
            # One stream each over all starts, with an event of each boot that reported.
            assert len(agent.streams()) == 1
            boots = {
                report[4] for report in evidence.streams[agent.slot, agent.streams()[0]].values()
            }
            booted = evidence.events(agent.slot, _BOOTED)
            assert len(booted) == len(boots) > 1


def test_interrupted_agents_end_quietly_with_a_last_report(tmp_path: Path) -> None:
    with Plant(tmp_path / "plant", ("micropython",)) as plant:
        plant.start()
        (agent,) = plant.agents
        plant.interrupt_randomly(agent, _INTERRUPTS)
        plant.wait_for_reports(1)
        plant.finish()
        evidence = audit(plant)
        # All but those that hit the collector, or a write, and were as a kill.
        assert len(evidence.events(agent.slot, _STOPPED)) >= 2
