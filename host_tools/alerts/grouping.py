"""Which alerts are one: slots that fell together, and share a provider, medium or place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from host_tools.alerts.places import AlertPlace, Key


def shared(
    slot: str,
    fallen: Mapping[str, int],
    alive: Counter[Key],
    places: Mapping[str, AlertPlace],
    *,
    least: int,
    share: float,
) -> Key | None:
    """What explains best why a slot fell together with others; None: nothing does.

    Of what it shares with at least `least` slots that fell, and of which at least `share` (of 1)
    fell, it is the one that holds most of the fallen and least of the others (F1 score). Of two
    alike it is the narrower.

    Args:
        fallen: the slots that fell together, this one among them.
        alive: by key, how many slots there were that could fall.
    """
    best: tuple[float, int, Key] | None = None
    for number, key in enumerate(places[slot].keys):
        count = sum(key in places[its].keys for its in fallen)
        others = max(alive[key], count)
        if count < least or count < share * others:
            continue
        precision, recall = count / others, count / len(fallen)
        score = 2 * precision * recall / (precision + recall)
        if best is None or (score, -number) > best[:2]:
            best = score, -number, key
    return best[2] if best else None
