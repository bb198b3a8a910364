"""What is alerted: from what the province knows at each moment to alerts that open and close.

A slot is in trouble while its state belongs to a rule. It is alerted once the trouble has lasted
as long as the rule says: by itself, or in one alert with others that fell together (grouping.py).
Its trouble is over once it was calm for a while. While the province's own side does not work,
nothing else is alerted, and that time does not count.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Protocol

from host_tools.alerts.grouping import shared
from host_tools.alerts.places import AlertPlace, Key
from host_tools.alerts.records import LAST_RUN, Alert, AlertMember, AlertRecords
from host_tools.alerts.settings import (
    FLAPPING,
    OWN,
    SEVERITIES,
    STATE,
    AlertRule,
    AlertSettings,
    seconds,
)
from host_tools.alerts.view import CLOCK, ProvinceView, SlotView
from host_tools.common.times import DAY_S
from host_tools.wire.vocabulary import NO_DATA

OPENED, ESCALATED, RECOVERED = "opened", "escalated", "recovered"
SILENCE = "silence"  # of the own side: everything is silent at once
_ONE_SLOT, _ONE_RULE, _OWN_SIDE = "slot", "rule", "own"
_BLIND_S = 300  # without a look: as if the own side had not worked
_OVER = 0.9  # of a group's slots: then it is over
_HOLDS_S = 30 * DAY_S  # how far back they count


class Poster(Protocol):
    """Where messages go, in the transaction in which the alert changes."""

    def post(self, alert: Alert, what: str, members: Sequence[AlertMember], now: int) -> None:
        """Put the messages of an alert into the outbox."""

    def step_due(self, alert: Alert, now: int) -> int:
        """Up to which step of escalation it should be sent by now."""


@dataclass
class _Trouble:
    rule: AlertRule
    family: str
    begin: int
    known: int
    state: str


@dataclass
class _Now:
    """What one tick works on."""

    at: int
    view: ProvinceView
    places: Mapping[str, AlertPlace]
    silenced: Collection[str]
    holds: list[tuple[int, int | None]] = field(default_factory=list)
    expected: dict[str, SlotView] = field(default_factory=dict)
    troubles: dict[str, _Trouble] = field(default_factory=dict)
    alerted: dict[str, tuple[AlertMember, Alert]] = field(default_factory=dict)

    @cached_property
    def shared(self) -> Counter[Key]:
        """By what slots share, how many of them are expected to be up."""
        return Counter(chain.from_iterable(self.places[slot].keys for slot in self.expected))

    def explained(self, slot: str) -> bool:
        """Whether it is in an alert of many: what they share is why it fell, and nothing else."""
        return slot in self.alerted and self.alerted[slot][1].scope != _ONE_SLOT

    def age(self, begin: int, until: int | None = None) -> int:
        """Seconds since then, without those in which the own side did not work."""
        end = self.at if until is None else until
        held = sum(
            max(0, min(end, end if e is None else e) - max(begin, b)) for b, e in self.holds
        )
        return end - begin - held


class Watch:
    """Decides at each tick what opens, joins, recovers and closes."""

    def __init__(self, settings: AlertSettings, records: AlertRecords, poster: Poster) -> None:
        self._settings = settings
        self._records = records
        self._poster = poster
        self._by_state = {state: rule for rule in settings.of_kind(STATE) for state in rule.states}
        self._flapping = next(iter(settings.of_kind(FLAPPING)), None)
        self._own = next(iter(settings.of_kind(OWN)), None)
        self._window = settings.grouping.window_s
        self._settle = seconds(settings.calm.settle)
        self._late = seconds(settings.calm.late)
        self._troubles: dict[str, _Trouble] = {}
        self._calm: dict[str, int] = {}
        self._flips: dict[str, deque[int]] = {}
        self._silent: set[str] = set()

    def tick(
        self,
        now: int,
        view: ProvinceView,
        places: Mapping[str, AlertPlace],
        silenced: Collection[str] = (),
    ) -> None:
        """Take notice of what is known now.

        Args:
            places: the slots that are watched.
            silenced: those of which nothing is sent now.
        """
        # Not durable: what a power cut takes back is found again; what is sent is durable first.
        with self._records.transaction(durable=False):
            its = _Now(now, view, places, silenced)
            its.expected = self._note(its)
            last = self._records.meta(LAST_RUN)
            if last is not None and now - last > _BLIND_S:
                self._records.hold(last, now + self._settle)
            self._records.set_meta(LAST_RUN, now)
            self._own_side(its)
            its.holds = self._records.holds(now - _HOLDS_S)
            if not any(b <= now and (e is None or now < e) for b, e in its.holds):
                self._links(its)
                self._conditions(its)
            self._escalate(its)

    # ---- what is known -------------------------------------------------------------------

    def _note(self, its: _Now) -> dict[str, SlotView]:
        """Renew the troubles; returns the slots that are expected to be up."""
        expected, now = {}, its.at
        self._note_flips(its)
        for slot in its.view.slots:
            place = its.places.get(slot.slot)
            since = place.expected_since(now) if place else None
            if since is None:
                self._troubles.pop(slot.slot, None)
                self._calm.pop(slot.slot, None)
                continue
            expected[slot.slot] = slot
            rule = self._by_state.get(slot.state)
            if rule is None:
                self._troubles.pop(slot.slot, None)
                continue
            old = self._troubles.get(slot.slot)
            family = rule.family or rule.name
            begin = int(max(slot.since, since))
            if old is None or old.family != family:
                self._troubles[slot.slot] = _Trouble(rule, family, begin, now, slot.state)
            else:
                old.rule, old.state, old.begin = rule, slot.state, min(old.begin, begin)
        return expected

    def _note_flips(self, its: _Now) -> None:
        if self._flapping is None:
            return
        since = its.at - self._flapping.after_s
        fell = [(c.slot, c.t) for c in its.view.changes if c.before and c.state in self._by_state]
        silent = {slot.slot for slot in its.view.slots if slot.state == NO_DATA}
        fell += [(slot, its.at) for slot in silent - self._silent if self._silent]
        self._silent = silent
        for name, t in fell:
            if t >= since:  # late news are no flapping
                self._flips.setdefault(name, deque(maxlen=1000)).append(t)
        for name, times in list(self._flips.items()):
            while times and times[0] < since:
                times.popleft()
            if not times:
                del self._flips[name]

    # ---- the own side --------------------------------------------------------------------

    def _own_side(self, its: _Now) -> None:
        records, now, rule = self._records, its.at, self._own
        known = {a.value: a for a in records.open_alerts() if a.scope == _OWN_SIDE}
        wrong = dict(its.view.own) if rule is not None else {}
        if rule is not None and not wrong:
            begin = self._all_silent(its, known.get(SILENCE))
            if begin is not None:
                wrong[SILENCE] = begin
        for value, alert in known.items():
            if value not in wrong:
                records.close_alert(alert.id, now)
                self._poster.post(alert, RECOVERED, [], now)
        for value, begin in wrong.items():
            if value not in known and rule is not None:
                records.hold(begin)
                alert = records.open_alert(
                    *(rule.name, rule.name, rule.severity, (_OWN_SIDE, value), value, begin, now),
                    fallen=len(its.expected),
                )
                self._poster.post(alert, OPENED, [], now)
        if not wrong:
            records.end_holds(now + self._settle)

    def _all_silent(self, its: _Now, known: Alert | None) -> int | None:
        """Since when nearly all slots are silent at once, None if they are not."""
        grouping, now = self._settings.grouping, its.at
        slots = its.expected.values()
        begins = sorted(b for b in map(_silent_since, slots) if b is not None)
        calm = len(its.expected) - len(begins)
        if known is not None:
            fallen = sum(begin >= known.begin - self._window for begin in begins)
            return known.begin if fallen > calm else None
        if any(
            b <= now and (e is None or now < e) for b, e in self._records.holds(now - _HOLDS_S)
        ):
            return None
        recent = [begin for begin in begins if begin >= now - 3600 - self._window]
        if not recent:
            return None
        middle = recent[len(recent) // 2]
        together = [begin for begin in recent if abs(begin - middle) <= self._window]
        could = calm + sum(begin >= middle - self._window for begin in begins)
        sure = sum(slot.state == NO_DATA for slot in slots if slot.since >= together[0])
        enough = max(grouping.own_least, grouping.own_share * could / 100)
        return together[0] if len(together) >= enough and 2 * sure >= len(together) else None

    # ---- links ---------------------------------------------------------------------------

    def _links(self, its: _Now) -> None:
        records, now = self._records, its.at
        for member, alert in records.in_trouble():
            if alert.scope not in (_ONE_RULE, _OWN_SIDE):
                its.alerted[member.member] = member, alert
        its.troubles = dict(self._troubles)
        self._add_flapping(its)
        ripe = []
        for name in sorted((its.troubles.keys() | its.alerted.keys()) & its.expected.keys()):
            trouble = its.troubles.get(name)
            alerted = its.alerted.get(name)
            if alerted is not None:
                self._renew_calm(its, name, trouble, alerted)
            if trouble is None or not self._ripe(its, trouble):
                continue
            if alerted is not None and trouble.rule.rank <= _rank(alerted[1]):
                continue
            if its.age(trouble.begin, trouble.known) > self._late:
                if alerted is None:
                    self._open_late(its, name, trouble)
            elif name not in its.silenced:
                ripe.append(name)
        for member, alert in [t for slot, t in its.alerted.items() if slot not in its.places]:
            # Its device is not in use any more, and nobody needs a message.
            records.recover(member, now)
            if all(m.recovered_at is not None for m in records.members(alert.id)):
                records.close_alert(alert.id, now)
        for name in sorted(ripe, key=lambda name: (its.troubles[name].begin, name)):
            alerted = its.alerted.get(name)
            if alerted is None or its.troubles[name].rule.rank > _rank(alerted[1]):
                self._alert(its, name, ripe)
        self._close(its)

    @staticmethod
    def _ripe(its: _Now, trouble: _Trouble) -> bool:
        """Whether it has lasted for long enough; of flapping the changes were counted."""
        return trouble.rule.when == FLAPPING or its.age(trouble.begin) >= trouble.rule.after_s

    def _add_flapping(self, its: _Now) -> None:
        rule = self._flapping
        if rule is None:
            return
        for name, times in self._flips.items():
            trouble = its.troubles.get(name)
            alerted = its.alerted.get(name)
            flaps = len(times) >= (rule.limit if alerted is None else rule.limit / 2)
            if flaps and (trouble is None or not self._ripe(its, trouble)):
                its.troubles[name] = _Trouble(rule, rule.name, times[0], its.at, FLAPPING)

    def _renew_calm(
        self, its: _Now, name: str, trouble: _Trouble | None, alerted: tuple[AlertMember, Alert]
    ) -> None:
        member, alert = alerted
        same = trouble is not None and trouble.family == alert.family
        if same or (trouble is not None and trouble.rule.rank >= _rank(alert)):
            self._calm.pop(name, None)
            return
        since = self._calm.setdefault(name, its.at)
        calm = self._settings.calm
        settle = seconds(calm.flapping_settle) if alert.flapping else self._settle
        if its.at - since >= settle:
            self._records.recover(member, its.at)
            del self._calm[name], its.alerted[name]

    def _open_late(self, its: _Now, name: str, trouble: _Trouble) -> None:
        alert = self._open(its, trouble, (_ONE_SLOT, name), late=True)
        self._records.add_members(alert.id, [(name, trouble.begin, trouble.state, "")])
        its.alerted[name] = self._records.members(alert.id)[0], alert

    def _open(
        self,
        its: _Now,
        trouble: _Trouble,
        scope: Key,
        *,
        begin: int | None = None,
        fallen: int = 1,
        late: bool = False,
    ) -> Alert:
        flaps = 0
        if scope[0] == _ONE_SLOT and not late:
            flaps = self._records.count_alerts_of(scope[1], trouble.family, its.at - DAY_S)
        rule = trouble.rule
        return self._records.open_alert(
            *(rule.name, trouble.family, rule.severity, scope, trouble.state),
            trouble.begin if begin is None else begin,
            its.at,
            fallen=fallen,
            flapping=rule.when == FLAPPING or flaps >= self._settings.calm.flaps,
            late=late,
        )

    def _alert(self, its: _Now, name: str, ripe: Sequence[str]) -> None:
        """Alert a slot: in an alert that is there, in a new one with others, or by itself."""
        trouble = its.troubles[name]
        for alert in self._records.open_alerts():
            if self._belongs(its, alert, name, trouble):
                self._join(its, alert, [name])
                return
        grouping, window = self._settings.grouping, self._window
        fallen = {
            slot: begin
            for slot, begin in self._fallen(its, trouble.family).items()
            if abs(begin - trouble.begin) <= window and not its.explained(slot)
        }
        fallen[name] = trouble.begin
        alive = its.shared.copy()
        for slot, other in its.troubles.items():
            if other.family == trouble.family and slot in its.expected and slot not in fallen:
                alive.subtract(its.places[slot].keys)
        key = shared(
            *(name, fallen, alive, its.places), least=grouping.least, share=grouping.share / 100
        )
        if key is None:
            alert = self._open(its, trouble, (_ONE_SLOT, name))
            self._join(its, alert, [name])
        else:
            together = [slot for slot in fallen if key in its.places[slot].keys]
            begin = min(fallen[slot] for slot in together)
            alert = self._open(its, trouble, key, begin=begin, fallen=len(together))
            self._absorb(its, alert, together)
            self._join(its, alert, [slot for slot in ripe if slot in together])
        self._poster.post(alert, OPENED, self._records.members(alert.id), its.at)

    def _fallen(self, its: _Now, family: str) -> dict[str, int]:
        """Since when each slot has a trouble of a family, or may have it."""
        found = {}
        silent = self._by_state.get(NO_DATA)
        may_be = silent is not None and (silent.family or silent.name) == family
        for name, slot in its.expected.items():
            trouble = its.troubles.get(name)
            if trouble is not None and trouble.family == family:
                found[name] = trouble.begin
            elif may_be and slot.quiet is not None:
                found[name] = slot.quiet
        for name, (member, alert) in its.alerted.items():
            if name in found and alert.family == family:
                found[name] = min(found[name], member.begin)
        return found

    def _belongs(self, its: _Now, alert: Alert, name: str, trouble: _Trouble) -> bool:
        """Whether a slot fell with those of an alert that is open."""
        return (
            alert.scope not in (_ONE_SLOT, _ONE_RULE, _OWN_SIDE)
            and alert.family == trouble.family
            and trouble.rule.rank <= _rank(alert)
            and (alert.scope, alert.value) in its.places[name].keys
            and alert.begin - self._window <= trouble.begin <= alert.begin + 2 * self._window
        )

    def _absorb(self, its: _Now, alert: Alert, together: Sequence[str]) -> None:
        """Take over those that were alerted in others."""
        for name in together:
            alerted = its.alerted.get(name)
            if alerted is not None and alerted[1].family == alert.family and not alerted[1].late:
                self._move(its, alerted, alert)

    def _move(self, its: _Now, alerted: tuple[AlertMember, Alert], alert: Alert) -> None:
        """Make a member of one alert that of another; the one is over if it was the last."""
        member, old = alerted
        self._records.move_member(member, alert.id)
        its.alerted[member.member] = member._replace(alert_id=alert.id), alert
        if all(m.recovered_at is not None for m in self._records.members(old.id)):
            self._records.close_alert(old.id, its.at, alert.id)

    def _join(self, its: _Now, alert: Alert, names: Sequence[str]) -> None:
        for name in names:
            alerted = its.alerted.get(name)
            if alerted is not None:
                if alerted[1].id != alert.id:  # it has become worse
                    self._move(its, alerted, alert)
                continue
            trouble = its.troubles[name]
            member = AlertMember(alert.id, name, trouble.begin, trouble.state, "", None)
            self._records.add_members(alert.id, [member[1:5]])
            its.alerted[name] = member, alert
            self._calm.pop(name, None)

    def _close(self, its: _Now) -> None:
        """Close the alerts of which (nearly) all are over."""
        counts = self._records.count_members()
        for alert in self._records.open_alerts():
            members, left = counts.get(alert.id, (0, 0))
            if alert.scope in (_ONE_RULE, _OWN_SIDE) or left > (1 - _OVER) * members:
                continue
            # Those that fell with them and are not down for long enough yet.
            coming = [
                name
                for name, trouble in its.troubles.items()
                if name not in its.alerted
                and name in its.places
                and self._belongs(its, alert, name, trouble)
            ]
            if len(coming) > (1 - _OVER) * (members + len(coming)):
                continue
            self._records.close_alert(alert.id, its.at)
            self._poster.post(alert, RECOVERED, self._records.members(alert.id), its.at)

    # ---- other conditions, and escalation ------------------------------------------------

    def _conditions(self, its: _Now) -> None:
        records, now = self._records, its.at
        if not its.view.found:
            return
        known: dict[str, list[AlertMember]] = {}
        for member, alert in records.in_trouble():
            if alert.scope == _ONE_RULE:
                known.setdefault(alert.rule, []).append(member)
        # A slot that is silent keeps its conditions: nothing else is known.
        unknown = {slot.slot for slot in its.view.slots if slot.state in (NO_DATA, CLOCK)}
        for name, found in its.view.found.items():
            rule = self._settings.rules[name]
            old = {member.member for member in known.get(name, ())}
            for member in known.get(name, ()):
                gone = member.member not in its.places
                if member.member not in found and (gone or member.member not in unknown):
                    records.recover(member, now)
            new = sorted(found.keys() - old - set(its.silenced))
            if new:
                scope = (_ONE_RULE, name)
                alert = records.open_alert(
                    *(name, name, rule.severity, scope, name, now, now), fallen=len(new)
                )
                records.add_members(alert.id, [(key, now, name, found[key]) for key in new])
                self._poster.post(alert, OPENED, records.members(alert.id), now)
        counts = records.count_members()
        for alert in records.open_alerts():
            if alert.scope == _ONE_RULE and not counts.get(alert.id, (0, 0))[1]:
                records.close_alert(alert.id, now)

    def _escalate(self, its: _Now) -> None:
        for alert in self._records.open_alerts():
            if alert.acked_at is not None or alert.late:
                continue
            step = self._poster.step_due(alert, its.at)
            if step > alert.step:
                self._records.escalate(alert.id, step)
                renewed = self._records.alert(alert.id)
                assert renewed is not None
                members = self._records.members(alert.id)
                self._poster.post(renewed, ESCALATED, members, its.at)


def _silent_since(slot: SlotView) -> int | None:
    return slot.since if slot.state == NO_DATA else slot.quiet


def _rank(alert: Alert) -> int:
    return SEVERITIES.index(alert.severity)
