"""States and steps in the language in force."""

from __future__ import annotations

import math

from host_tools.common.i18n import _
from host_tools.states.table import (
    EMPTY,
    MAINTENANCE,
    NONE,
    OURS,
    PROVIDER,
    REVOKED,
    STATE_TEXTS,
    UNHEARD,
    UP,
    Step,
)
from host_tools.wire.vocabulary import CONNECTED, NO_DATA

LONG = math.inf
"""The age of a state that is known to have lasted for long enough to do something."""

_MANY = 3  # so many other villages at once have one cause


def state_word(state: str) -> str:
    """A state for a table; one from a newer version goes by its name."""
    if state in STATE_TEXTS:
        return _(STATE_TEXTS[state].word)
    return _("down: {cause}").format(cause=state)


def state_sentence(state: str) -> str:
    """What is so, within a line; a state from a newer version goes by its name."""
    return _(STATE_TEXTS[state].sentence) if state in STATE_TEXTS else state


def link_part(state: str) -> str:
    """The part of the link that a rung of the ladder asks."""
    part = STATE_TEXTS[state].part if state in STATE_TEXTS else ""
    return _(part) if part else state


def on_site(state: str) -> str | None:
    """What a technician looks at in the village, None if nothing."""
    text = STATE_TEXTS[state].on_site if state in STATE_TEXTS else ""
    return _(text) if text else None


def group(state: str) -> str:
    """The group of a state; a cause from a newer version is the provider's."""
    return STATE_TEXTS[state].group if state in STATE_TEXTS else PROVIDER


def is_down(state: str) -> bool:
    """Whether a state is a cause of being down that is known."""
    return state not in ("up", "degraded", CONNECTED, NO_DATA, "unknown", REVOKED, EMPTY)


def next_step(
    state: str, age_s: float | None, provider: str = "", others: int = 0, maintenance: str = ""
) -> Step:
    """What to do about a state, and who does it, in the language in force.

    Args:
        age_s: how long it lasts, `LONG`: for long enough; None: the village was never heard.
        provider: of the village, or empty.
        others: villages that are down at the same time for the same reason: by their common
            provider, or without a way to the province.
        maintenance: until when it is announced, for eyes; empty: there is none now.
    """
    step = _step(state, age_s, others, bool(maintenance))
    name = provider or _("the provider")
    text = _(step.text).format(provider=name, count=others, time=maintenance)
    return Step(_(step.who), text)


def _step(state: str, age_s: float | None, others: int, maintained: bool) -> Step:
    entry = STATE_TEXTS.get(state, STATE_TEXTS["provider"])
    if maintained and entry.group not in (UP, OURS, NONE):
        return MAINTENANCE
    if entry.many is not None and others >= _MANY:
        return entry.many
    if age_s is None and state in (NO_DATA, "unknown"):
        return UNHEARD
    if entry.first is not None and age_s is not None and age_s <= entry.patience_s:
        return entry.first
    return entry.step
