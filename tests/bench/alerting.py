"""Alerts on a simulated year of all villages, judged by what was true.

    python -m tests.bench.alerting [--villages 841] [--days 365] [--seed 101]

Nothing is signed: the alerts are shown what the province sees as it arrives
(tests/host_tools/alerts/playing.py). The seed was not used while the alerts were made.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from host_tools.simulate.world import SimulationSettings
from tests.host_tools.alerts import playing

_RULE_S = 1800  # of the rules no_data, provider and site
_LARGE = 200  # villages of a backbone cut


def run(villages: int = 841, days: int = 365, seed: int = 101) -> dict[str, Any]:
    """Measure; of outages that had to be alerted, alerts, and what many villages lost at once."""
    settings = SimulationSettings(villages, days, seed, playing.BEGIN)
    world = playing.villages_of(settings)
    began = time.process_time()
    with tempfile.TemporaryDirectory(prefix="desalink-bench-") as folder:
        with playing.play(Path(folder), world, settings.begin, settings.end) as records:
            spent = time.process_time() - began
            verdict = playing.judge(records, world, _RULE_S, settings.end)
            cuts = playing.backbone_cuts(records, world, _LARGE, settings.end - 3600)
            storms = playing.storms(records, settings, world, 3)
            own = [alert for alert in records.alerts_since(0) if alert.scope == "own"]
            wrong = len(own) - len(playing.cuts_of(world, "broker", villages // 2))
            return {
                "alerts_days": days,
                "alerts_due": verdict.due,
                "alerts_missed": len(verdict.missed),
                "alerts_twice": len(verdict.twice),
                "alerts_slots": verdict.alerts,
                "alerts_invented": len(verdict.invented),
                "alerts_own_side_wrong": wrong,
                "alerts_large_cuts": len(cuts),
                "alerts_large_cut_messages": max((cut.messages for cut in cuts), default=0),
                "alerts_storms": len(storms),
                "alerts_storm_villages": sum(storm.villages for storm in storms),
                "alerts_storm_messages": sum(storm.messages for storm in storms),
                "alerts_cpu_s": round(spent, 1),
            }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Alerts on a simulated year, judged.")
    parser.add_argument("--villages", type=int, default=841)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=101)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.villages, arguments.days, arguments.seed), indent=2))
