"""Which alerts are one: slots that fell together, and share a provider, medium or place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from host_tools.alerts.places import KINDS_OF_KEYS, AlertPlace, Key


class Explanation(NamedTuple):
    """Why slots fell together: what they share."""

    key: Key
    slots: set[str]


def explanation(
    slot: str,
    fallen: Collection[str],
    sure: Collection[str],
    alive: Counter[Key],
    places: Mapping[str, AlertPlace],
    *,
    least: int,
    share: float,
) -> Explanation | None:
    """What a slot fell by, and all that fell by it; None: nothing is shared.

    What explains the fallen best is found first. Its slots explain nothing else: a backbone cut
    leaves no district in which half of the villages fell. Then the same of the slots that remain.

    A key is an explanation if at least `least` slots fell, and at least `share` (of 1) of those
    that could. The best one holds most of the fallen and least of the others (F1 score). Of two
    alike it is the narrower.

    Args:
        fallen: the slots that fell together, this one among them.
        sure: those that are surely down. Of the slot's own explanation `least` must be.
        alive: by key, how many slots there were that could fall.
    """
    left, alive = set(fallen), alive.copy()
    while True:
        best: tuple[float, int, Key] | None = None
        for key, count in Counter(chain.from_iterable(places[its].keys for its in left)).items():
            others = max(alive[key], count)
            if count < least or count < share * others:
                continue
            if key in places[slot].keys and sum(key in places[s].keys for s in sure) < least:
                continue
            precision, recall = count / others, count / len(left)
            score = 2 * precision * recall / (precision + recall)
            candidate = score, -KINDS_OF_KEYS.index(key[0]), key
            best = candidate if best is None else max(best, candidate)
        if best is None:
            return None
        held = {its for its in left if best[2] in places[its].keys}
        if slot in held:
            return Explanation(best[2], held)
        left -= held
        for its in held:
            alive.subtract(places[its].keys)


def begin_of(begins: Iterable[int]) -> int:
    """When those fell that fell together; a few that fell before do not count."""
    falls = sorted(begins)
    return falls[len(falls) // 10]


def reach(begin: int, begins: Iterable[int], window: int, least: int) -> int:
    """Until when a fall belongs to a group that began at `begin`.

    That is two windows long. It is longer while falls go on so densely that each has at least
    `least` others in the window before it: a cut that grows.

    Args:
        begins: of all that are down and share what the group shares.
    """
    last = begin + 2 * window
    falls = sorted(fall for fall in begins if fall >= begin - window)
    for before, fall in zip(falls, falls[least:], strict=False):
        if fall > last:
            if fall - before > window:
                break
            last = fall
    return last
