"""Which slots are in trouble: their state belongs to a rule, or changes too often."""

from __future__ import annotations

from collections import deque

from host_tools.alerts.moment import Moment, Trouble
from host_tools.alerts.places import AlertPlace
from host_tools.alerts.settings import FLAPPING, STATE, AlertRule, AlertSettings
from host_tools.alerts.view import SlotView
from host_tools.wire.vocabulary import NO_DATA


class Troubles:
    """The troubles from one look to the next.

    Attributes:
        silence: the rule of slots of which nothing comes.
    """

    def __init__(self, settings: AlertSettings, first_run: int | None) -> None:
        """
        Args:
            first_run: when the alerts of this province began; None: now.
        """
        self._by_state = {state: rule for rule in settings.of_kind(STATE) for state in rule.states}
        self._flapping = next(iter(settings.of_kind(FLAPPING)), None)
        self._first_run = first_run
        self._troubles: dict[str, Trouble] = {}
        self._flips: dict[str, deque[int]] = {}
        self._silent: set[str] = set()
        self._started = False
        self.silence: AlertRule | None = self._by_state.get(NO_DATA)

    def note(self, moment: Moment) -> None:
        """Take notice of a look, and fill in what it expects and finds in trouble."""
        found: dict[str, Trouble] = {}
        for slot in moment.view.slots:
            name, state = slot.slot, slot.state
            place = moment.places.get(name)
            if place is None or not place.is_expected(moment.at):
                continue
            moment.expected[name] = slot
            if state == NO_DATA or slot.quiet is not None:
                moment.silent[name] = slot.since if state == NO_DATA else slot.quiet or 0
            if state in self._by_state:
                found[name] = self._trouble(slot, place, moment.at)
        self._note_flips(moment)
        self._troubles = found
        self._started = True
        moment.troubles = dict(found)

    def _trouble(self, slot: SlotView, place: AlertPlace, now: int) -> Trouble:
        rule, old = self._by_state[slot.state], self._troubles.get(slot.slot)
        # A clock that was set back makes the past the future.
        begin = min(max(slot.since, place.expected_since(now) or 0), now)
        if old is None or old.family != rule.family_name:
            return Trouble(rule, rule.family_name, begin, self._known(begin, now), slot.state)
        old.rule, old.state, old.begin = rule, slot.state, min(old.begin, begin)
        return old

    def _known(self, begin: int, now: int) -> int:
        """Since when a trouble is known.

        After a restart the first look finds again what was known before.
        """
        again = not self._started and self._first_run is not None and begin >= self._first_run
        return begin if again else now

    def _note_flips(self, moment: Moment) -> None:
        if self._flapping is None:
            return
        since = moment.at - self._flapping.after_s
        fell = [
            (change.slot, change.t)
            for change in moment.view.changes
            if change.before and change.state in self._by_state
        ]
        silent = {name for name in moment.silent if moment.expected[name].state == NO_DATA}
        fell += [(slot, moment.at) for slot in silent - self._silent if self._silent]
        self._silent = silent
        for name, t in fell:
            times = self._flips.setdefault(name, deque(maxlen=1000))
            # Late news are no flapping. A look that could not be noted sees a change again.
            if t >= since and t not in times:
                times.append(t)
        for name, times in list(self._flips.items()):
            while times and times[0] < since:
                times.popleft()
            if not times:
                del self._flips[name]

    def add_flapping(self, moment: Moment) -> None:
        """Add the slots that change too often, and have no other trouble that is alerted."""
        rule = self._flapping
        if rule is None:
            return
        for name, times in self._flips.items():
            trouble = moment.troubles.get(name)
            limit = rule.limit if name not in moment.alerted else rule.limit / 2
            if len(times) >= limit and (trouble is None or not ripe(moment, trouble)):
                moment.troubles[name] = Trouble(rule, rule.name, times[0], moment.at, FLAPPING)


def ripe(moment: Moment, trouble: Trouble) -> bool:
    """Whether it has lasted for long enough; of flapping the changes were counted."""
    rule = trouble.rule
    return rule.when == FLAPPING or moment.age(trouble.begin) >= rule.after_s
