"""What the broker knows of a device's session shows in `status`: real broker, ingest and agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.world.plant import Agent, Plant

pytestmark = pytest.mark.slow

# The broker notices a silent link after one and a half keepalives: before three reports are
# missing, when the village shows "no data" anyway.
KEEPALIVE_S = 10


def _lost(plant: Plant) -> list[str]:
    start = "from host_tools.cli import main; main()"
    command = [sys.executable, "-c", start, "-C", str(plant.province.directory)]
    command += ["status", "--all", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return [slot["slot"] for slot in json.loads(done.stdout) if slot["session_lost_since"]]


def _pid(agent: Agent) -> int:
    """Of a device's process, to be stopped as a link falls silent."""
    found = subprocess.run(
        ["pgrep", "-f", str(agent.folder / "config.json")], capture_output=True, check=True
    )
    return int(found.stdout.split()[0])


@pytest.mark.parametrize("fault", ["closed", "silent"])
def test_a_village_whose_session_the_broker_has_lost_shows_so(tmp_path: Path, fault: str) -> None:
    settings = {"broker.keepalive_s": KEEPALIVE_S, "cadence.sample_s": 20}
    with Plant(tmp_path / "plant", ("cpython", "micropython"), settings) as plant:
        plant.start()
        plant.wait_for_reports(1)
        first, second = plant.agents
        assert _lost(plant) == []
        if fault == "closed":
            second.kill9()
        else:
            os.kill(_pid(second), signal.SIGSTOP)
        plant.wait_until(lambda: _lost(plant) == [second.slot], "seen as lost", deadline_s=90)
        if fault == "closed":
            second.start()
        else:
            os.kill(_pid(second), signal.SIGCONT)
        plant.wait_until(lambda: _lost(plant) == [], "seen as back")
        assert first.connected
