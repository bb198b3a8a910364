"""Which slots are in trouble: their state belongs to a rule, or changes too often."""

from __future__ import annotations

from collections import deque

from host_tools.alerts.moment import Moment, Trouble
from host_tools.alerts.settings import FLAPPING, STATE, AlertRule, AlertSettings
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
        self._note_flips(moment)
        found: dict[str, Trouble] = {}
        for slot in moment.view.slots:
            place = moment.places.get(slot.slot)
            if place is None or not place.is_expected(moment.at):
                continue
            moment.expected[slot.slot] = slot
            rule = self._by_state.get(slot.state)
            if rule is None:
                continue
            since = place.expected_since(moment.at) or 0
            # A clock that was set back makes the past the future.
            begin = min(max(slot.since, since), moment.at)
            old = self._troubles.get(slot.slot)
            if old is None or old.family != rule.kin:
                known = self._known(begin, moment.at)
                found[slot.slot] = Trouble(rule, rule.kin, begin, known, slot.state)
            else:
                old.rule, old.state, old.begin = rule, slot.state, min(old.begin, begin)
                found[slot.slot] = old
        self._troubles = found
        self._started = True
        moment.troubles = dict(found)

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
        silent = {slot.slot for slot in moment.view.slots if slot.state == NO_DATA}
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
