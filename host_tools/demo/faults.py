"""The faults of a demo and their times: in a demo of any length all happen and end in time."""

from __future__ import annotations

from dataclasses import dataclass

CUT = "upstream cut"
AGENT_KILL = "agent killed"
BROKER_KILL = "broker killed"

# Of the run's length: begin, end; and how many seconds it may last at most. After the last one
# there is a third of the time to recover and to drain.
_PLAN = (
    (CUT, 0.13, 0.37, 120.0),
    (AGENT_KILL, 0.46, 0.52, 20.0),
    (BROKER_KILL, 0.60, 0.65, 10.0),
)


@dataclass
class Fault:
    """One fault: seconds from the demo's start, planned; and Unix times, as it happened."""

    kind: str
    begin: float
    end: float
    began: float | None = None
    ended: float | None = None


def plan(seconds: float) -> list[Fault]:
    """The faults of a demo that lasts so long, in order."""
    return [
        Fault(kind, begin * seconds, min(end * seconds, begin * seconds + most))
        for kind, begin, end, most in _PLAN
    ]
