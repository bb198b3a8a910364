"""The confusion matrix: random sequences of faults, and what the agent calls each of them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agent.wire import ids
from host_tools.wire.vocabulary import STATES
from tests.lab.simulated import ROUND_S, Village, installed, run

NONE = "none"
STATE = {term.code: term.name for term in STATES}

# fault -> the cause it must be called; of two at once the first in this order gives the name.
FAULTS = {
    "no carrier": "interface",
    "no address": "interface",
    "router frozen": "gateway",
    "portal": "portal",
    "provider down": "provider",
    "DNS dead": "dns",
    "DNS dead behind the router": "dns",
    "DNS fails": "dns",
    "DNS wrong": "dns",
    "DNS hijacked": "dns",
    "clock": "broker",
    "TLS intercepted": "tls",
    "broker down": "broker",
    "broker gone": "broker",
    "loss": "degraded",
    "delay": "degraded",
}
_LENGTH_S = 3600
# How late begin and end may be. Loss and delay need time to show: the more, the closer they are to
# their limits.
_TOLERANCE_S = {"degraded": 90, "dns": 60}
_TOLERANCE_OTHERS_S = 30


@dataclass(frozen=True)
class Span:
    """A time with one cause."""

    begin: float
    end: float
    cause: str


@dataclass
class Matrix:
    """What many sequences gave. cells: (expected, reported) -> outages; invented: reported ones
    that overlap nothing injected, missed: the reverse. late: by cause, those whose begin or end is
    beyond the limit."""

    sequences: int = 0
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)
    invented: int = 0
    missed: int = 0
    late: Counter[str] = field(default_factory=Counter)
    begin_errors: list[float] = field(default_factory=list)
    end_errors: list[float] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Outages injected."""
        return sum(self.cells.values())

    @property
    def right(self) -> float:
        """Part of the injected outages that got their own cause."""
        return sum(n for (a, b), n in self.cells.items() if a == b) / max(self.total, 1)

    @property
    def ok(self) -> bool:
        """As it must be: 99 % right, nothing missed, nothing invented."""
        return self.right >= 0.99 and not self.missed and not self.invented

    def row(self) -> dict[str, Any]:
        """For the file."""
        return {
            "sequences": self.sequences,
            "outages": self.total,
            "right": self.right,
            "missed": self.missed,
            "invented": self.invented,
            "late": self.late.total(),
            "cells": [[a, b, n] for (a, b), n in sorted(self.cells.items())],
            "begin_error_max_s": max(map(abs, self.begin_errors), default=0),
            "end_error_max_s": max(map(abs, self.end_errors), default=0),
        }


def story(draw: random.Random) -> list[tuple[float, frozenset[str]]]:
    """(from when, which faults): quiet and disturbed times, now and then a change of fault."""
    moments: list[tuple[float, frozenset[str]]] = [(0.0, frozenset())]
    t = draw.uniform(100, 400)
    names = list(FAULTS)
    while t < _LENGTH_S - 1500:
        faults = frozenset(draw.sample(names, 1 if draw.random() < 0.85 else 2))
        moments.append((t, faults))
        long = not faults.isdisjoint(("loss", "delay"))
        # Each kind of DNS fault is looked for once a minute.
        least = 80 if "dns" in {FAULTS[name] for name in faults} else 35
        t += draw.uniform(240, 600) if long else draw.uniform(least, 500)
        if draw.random() < 0.15 and not long:
            continue  # the next fault follows at once
        moments.append((t, frozenset()))
        t += draw.uniform(400, 700) if long else draw.uniform(60, 400)
    if moments[-1][1]:
        moments.append((t, frozenset()))
    return moments


def cause_of(faults: frozenset[str]) -> str:
    """What faults that are there at once must be called."""
    for name, cause in FAULTS.items():
        if name in faults:
            return cause
    return NONE


def injected(moments: list[tuple[float, frozenset[str]]]) -> list[Span]:
    """The outages of a story; neighbours of one cause are one."""
    spans: list[Span] = []
    ends = [*(begin for begin, _ in moments[1:]), float(_LENGTH_S)]
    for (begin, faults), end in zip(moments, ends, strict=True):
        cause = cause_of(faults)
        if cause == NONE:
            continue
        if spans and spans[-1].end == begin and spans[-1].cause == cause:
            spans[-1] = Span(spans[-1].begin, end, cause)
        else:
            spans.append(Span(begin, end, cause))
    return spans


def beside(moments: list[tuple[float, frozenset[str]]]) -> list[Span]:
    """Every fault of a story, those that another one's name covers, too."""
    ends = [*(begin for begin, _ in moments[1:]), float(_LENGTH_S)]
    return [
        Span(begin, end, FAULTS[name])
        for (begin, faults), end in zip(moments, ends, strict=True)
        for name in faults
    ]


def reported(seed: int) -> tuple[list[Span], list[Span], list[Span]]:
    """Play the story of a seed: what was injected, what the agent reported, and `beside`."""
    draw = random.Random(seed)
    moments = story(draw)
    village = Village(draw)
    if any("loss" in faults for _, faults in moments):
        village.heavy_loss = draw.uniform(0.3, 0.6)
    spans: list[Span] = []
    begun: tuple[int, int] | None = None
    phase = draw.uniform(0, ROUND_S)
    at = 0
    with installed(village) as ladder:
        for number in range(_LENGTH_S // ROUND_S):
            now = phase + number * ROUND_S
            while at + 1 < len(moments) and moments[at + 1][0] <= now:
                at += 1
            village.advance(now, moments[at][1])
            for kind, when, detail in run(ladder.round()):
                if kind == ids.OUTAGE_BEGAN:
                    begun = when, detail[1]
                else:
                    assert begun is not None and begun == (when - detail[3], detail[1])
                    spans.append(Span(begun[0], when, STATE[detail[1]]))
                    begun = None
    if begun is not None:
        spans.append(Span(begun[0], _LENGTH_S, STATE[begun[1]]))
    return injected(moments), spans, beside(moments)


def compare(matrix: Matrix, seed: int) -> None:
    """Add the story of a seed to a matrix."""
    wanted, found, true = reported(seed)
    matrix.sequences += 1
    left = list(found)
    for span in wanted:
        overlapping = [f for f in found if f.begin < span.end + ROUND_S and f.end > span.begin]
        if not overlapping:
            matrix.missed += 1
            matrix.cells[span.cause, NONE] += 1
            matrix.remarks.append(f"seed {seed}: missed {span}")
            continue
        best = max(overlapping, key=lambda f: min(f.end, span.end) - max(f.begin, span.begin))
        matrix.cells[span.cause, best.cause] += 1
        if best.cause != span.cause:
            matrix.remarks.append(f"seed {seed}: {span} called {best}")
        else:
            allowed = _TOLERANCE_S.get(span.cause, _TOLERANCE_OTHERS_S)
            begin_error, end_error = best.begin - span.begin, best.end - span.end
            matrix.begin_errors.append(begin_error)
            matrix.end_errors.append(end_error)
            if abs(begin_error) > allowed or abs(end_error) > allowed:
                matrix.late[span.cause] += 1
                matrix.remarks.append(f"seed {seed}: {span} told as {best}")
        if best in left:
            left.remove(best)
    for span in left:
        # Of two faults at once, the one that shows sooner may be reported until the other shows.
        if any(span.cause == t.cause and t.begin <= span.begin <= t.end for t in true):
            continue
        matrix.invented += 1
        matrix.remarks.append(f"seed {seed}: invented {span} beside {wanted}")


def confusion(sequences: int, first_seed: int = 0) -> Matrix:
    """Play so many sequences."""
    matrix = Matrix()
    for seed in range(first_seed, first_seed + sequences):
        compare(matrix, seed)
    return matrix
