"""Rounds of reachability by a visited device, and the measuring of a site by them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from host_tools.field.enrolments.site import MeasuredSite
from host_tools.field.provision.errors import understood
from host_tools.field.talk.visitor import Visitor, unknown_form
from host_tools.wire.vocabulary import state_name

_UP = 1
_STATE = 1
# A round asks several hosts, each with a limit of some seconds.
_ROUND_S = 120
_NETWORK_S = 180
_PAUSE_S = 1.0


class Round(NamedTuple):
    """One climb of the ladder. cause: a state, None if nothing could be asked; evidence: pairs of
    a rung and its result; figures: metric -> value, as on the wire."""

    cause: int | None
    evidence: list[tuple[int, int]]
    figures: dict[int, int]

    @property
    def state(self) -> str:
        return state_name(self.cause)


def _row(visitor: Visitor, said: dict[str, int]) -> dict[int, int]:
    row = {int(metric): int(value) for metric, value in said.items() if value is not None}
    row.pop(_STATE, None)  # the agent's own, which has not begun
    return visitor.figures(row)


def one_round(visitor: Visitor, put: bool = True) -> Round:
    """Have the device climb the ladder once.

    Args:
        put: whether the figures hold this round's statistics.
    """
    with understood(unknown_form):
        cause, evidence, row = visitor.ask(f"round({put})", _ROUND_S)
        pairs = [(int(rung), int(result)) for rung, result in evidence]
        return Round(None if cause is None else int(cause), pairs, _row(visitor, row))


def figures(visitor: Visitor) -> tuple[dict[int, int], dict[str, bool]]:
    """The statistics of the rounds since the last call, and which source of usage answers."""
    with understood(unknown_form):
        row, answers = visitor.ask("figures()", _ROUND_S)
        return _row(visitor, row), {str(name)[:40]: bool(said) for name, said in answers}


def test_province(visitor: Visitor) -> tuple[str, str]:
    """Result and detail of the agent's network test (agent/province/selftest.py)."""
    with understood(unknown_form):
        result, detail = visitor.ask(f"network({int(time.time())})", _NETWORK_S)
        return str(result)[:40], str(detail)


def measure(visitor: Visitor, seconds: int, progress: Callable[[float], None]) -> MeasuredSite:
    """Measure a site for so many seconds, at least one round."""
    province, _detail = test_province(visitor)
    figures(visitor)  # counters need a value to count from
    began = time.monotonic()
    rounds: list[Round] = []
    while not rounds or time.monotonic() - began < seconds:
        rounds.append(one_round(visitor, put=False))
        progress(min(1.0, (time.monotonic() - began) / max(seconds, 1)))
        time.sleep(_PAUSE_S)
    row, usage = figures(visitor)
    causes = Counter(round_.cause for round_ in rounds)
    up = causes[_UP]
    if 2 * up < len(rounds):
        del causes[_UP]
    state: Any = causes.most_common(1)[0][0] if 2 * up < len(rounds) else _UP
    return MeasuredSite(
        seconds=round(time.monotonic() - began),
        rounds=len(rounds),
        up=up,
        state=state or 0,
        figures=row,
        province=province,
        usage=usage,
    )
