"""One look at the province: what is known, what is in trouble, who is alerted already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from host_tools.alerts.places import AlertPlace, Key
from host_tools.alerts.records import Alert, AlertMember
from host_tools.alerts.settings import SEVERITIES, AlertRule
from host_tools.alerts.view import ProvinceView, SlotView

ONE_SLOT, ONE_RULE, OWN_SIDE = "slot", "rule", "own"  # scopes that are no group

Alerted = tuple[AlertMember, Alert]
Hold = tuple[int, int | None]


@dataclass
class Trouble:
    """A slot's state belongs to a rule since `begin`; the province knows of it since `known`."""

    rule: AlertRule
    family: str
    begin: int
    known: int
    state: str


@dataclass
class Moment:
    """What one look works on.

    silenced: slots of which nothing is sent. holds: times in which the own side did not work.
    expected: the slots that must be up now. groups: the open alerts of many slots.
    silent: of those, since when nothing comes, or a report is late.
    down: by family, since when slots have a trouble of it. reach: by group, its last fall.
    members: of groups, as the look found them.
    """

    at: int
    view: ProvinceView
    places: Mapping[str, AlertPlace]
    silenced: Collection[str]
    holds: list[Hold] = field(default_factory=list)
    expected: dict[str, SlotView] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    alerted: dict[str, Alerted] = field(default_factory=dict)
    groups: list[Alert] = field(default_factory=list)
    down: dict[str, dict[str, int]] = field(default_factory=dict)
    reach: dict[int, int] = field(default_factory=dict)
    members: dict[int, dict[str, AlertMember]] = field(default_factory=dict)

    @cached_property
    def shared(self) -> Counter[Key]:
        """By what slots share, how many of them are expected to be up."""
        return Counter(chain.from_iterable(self.places[slot].keys for slot in self.expected))

    @property
    def held(self) -> bool:
        """Whether the own side does not work, or has only just begun to."""
        return any(b <= self.at and (e is None or self.at < e) for b, e in self.holds)

    def age(self, begin: int, until: int | None = None) -> int:
        """Seconds since then, without those in which the own side did not work."""
        end = self.at if until is None else until
        held = sum(
            max(0, min(end, end if e is None else e) - max(begin, b)) for b, e in self.holds
        )
        return end - begin - held


def is_group(alert: Alert) -> bool:
    """Whether it is of many slots that fell together."""
    return alert.scope not in (ONE_SLOT, ONE_RULE, OWN_SIDE)


def rank(alert: Alert) -> int:
    """The higher, the more severe."""
    return SEVERITIES.index(alert.severity)
