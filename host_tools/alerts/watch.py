"""What is alerted: from what the province knows at each moment to alerts that open and close.

A slot is in trouble while its state belongs to a rule. It is alerted once the trouble has lasted
as long as the rule says: by itself, or in one alert with others that fell together (grouping.py).
Its trouble is over once it was calm for a while. While the province's own side does not work,
nothing else is alerted, and that time does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from host_tools.alerts.grouping import begin_of, explanation, reach
from host_tools.alerts.moment import (
    ONE_RULE,
    ONE_SLOT,
    OWN_SIDE,
    Alerted,
    Moment,
    Trouble,
    is_group,
    rank,
)
from host_tools.alerts.own_side import OwnSide
from host_tools.alerts.places import AlertPlace, Key
from host_tools.alerts.post import ESCALATED, OPENED, RECOVERED, Post
from host_tools.alerts.records import FIRST_RUN, LAST_RUN, Alert, AlertMember, AlertRecords
from host_tools.alerts.settings import FLAPPING, AlertSettings, seconds
from host_tools.alerts.troubles import Troubles, ripe
from host_tools.alerts.view import CLOCK, ProvinceView
from host_tools.common.times import DAY_S
from host_tools.wire.vocabulary import NO_DATA

_BLIND_S = 300  # without a look: as if the own side had not worked
_OVER = 0.9  # of a group's slots: then it is over
_HOLDS_S = 30 * DAY_S  # how far back they count


class Watch:
    """Decides at each look what opens, joins, recovers and closes."""

    def __init__(self, settings: AlertSettings, records: AlertRecords, post: Post) -> None:
        self._settings = settings
        self._records = records
        self._post = post
        self._window = settings.grouping.window_s
        self._settle = seconds(settings.calm.settle)
        self._late = seconds(settings.calm.late)
        self._troubles = Troubles(settings, records.meta(FIRST_RUN))
        self._own_side = OwnSide(settings, records, post)
        self._calm: dict[str, int] = {}

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
            its = Moment(now, view, places, silenced)
            self._troubles.note(its)
            self._note_run(now)
            its.holds = self._records.holds(now - _HOLDS_S)
            self._own_side.check(its)
            its.holds = self._records.holds(now - _HOLDS_S)
            if not its.held:
                self._links(its)
                self._conditions(its)
            self._escalate(its)

    def _note_run(self, now: int) -> None:
        """Note that the alerts are at work, and the time in which they were not."""
        records, last = self._records, self._records.meta(LAST_RUN)
        if records.meta(FIRST_RUN) is None:
            records.set_meta(FIRST_RUN, now)
        if last is None or now - last > _BLIND_S:
            self._own_side.begin(now)
        if last is not None and now - last > _BLIND_S:
            records.hold(last, now + self._settle)
        if last is not None and now < last:
            records.set_back_holds(now, now + self._settle)
            records.set_back_messages(now)
        records.set_meta(LAST_RUN, now)

    # ---- links ---------------------------------------------------------------------------

    def _links(self, its: Moment) -> None:
        records = self._records
        its.groups = [alert for alert in records.open_alerts() if is_group(alert)]
        for member, alert in records.in_trouble():
            if alert.scope not in (ONE_RULE, OWN_SIDE):
                its.alerted[member.member] = member, alert
        self._troubles.add_flapping(its)
        for name, alerted in list(its.alerted.items()):
            if name not in its.places:
                self._drop(its, alerted)
            elif name in its.expected:
                self._renew_calm(its, name, alerted)
        self._calm = {name: t for name, t in self._calm.items() if name in its.expected}
        fresh = []
        for name in sorted(its.troubles):
            trouble = its.troubles[name]
            if name not in its.expected or not self._is_news(its, name):
                continue
            if its.age(trouble.begin, trouble.known) > self._late:
                if name not in its.alerted:
                    self._open_late(its, name, trouble)
            elif name not in its.silenced:
                fresh.append(name)
        for name in sorted(fresh, key=lambda name: (its.troubles[name].begin, name)):
            if self._is_news(its, name):
                self._alert(its, name, fresh)
        self._close(its)

    def _is_news(self, its: Moment, name: str) -> bool:
        """Whether a trouble has lasted for long enough, and no alert says so yet."""
        trouble, alerted = its.troubles[name], its.alerted.get(name)
        worse = alerted is None or trouble.rule.rank > rank(alerted[1])
        return worse and ripe(its, trouble)

    def _drop(self, its: Moment, alerted: Alerted) -> None:
        """Its device is not in use any more, and nobody needs a message."""
        member, alert = alerted
        self._records.recover(member, its.at)
        if all(m.recovered_at is not None for m in self._records.members(alert.id)):
            self._records.close_alert(alert.id, its.at)

    def _renew_calm(self, its: Moment, name: str, alerted: Alerted) -> None:
        """Whether a slot's trouble is over; while it is silenced, nothing changes."""
        member, alert = alerted
        trouble = its.troubles.get(name)
        same = trouble is not None and trouble.family == alert.family
        worse = trouble is not None and trouble.rule.rank >= rank(alert)
        if same or worse or name in its.silenced:
            self._calm.pop(name, None)
            return
        since = self._calm[name] = min(self._calm.get(name, its.at), its.at)
        calm = self._settings.calm
        settle = seconds(calm.flapping_settle) if alert.flapping else self._settle
        if its.at - since >= settle:
            self._records.recover(member, its.at)
            del self._calm[name], its.alerted[name]

    def _open_late(self, its: Moment, name: str, trouble: Trouble) -> None:
        alert = self._open(its, trouble, (ONE_SLOT, name), late=True)
        self._records.add_members(alert.id, [(name, trouble.begin, trouble.state, "")])
        its.alerted[name] = self._records.members(alert.id)[0], alert

    def _open(
        self,
        its: Moment,
        trouble: Trouble,
        scope: Key,
        *,
        begin: int | None = None,
        fallen: int = 1,
        late: bool = False,
    ) -> Alert:
        flaps = 0
        if not late:
            flaps = self._records.count_alerts_of(scope, trouble.family, its.at - DAY_S)
        rule = trouble.rule
        alert = self._records.open_alert(
            *(rule.name, trouble.family, rule.severity, scope, trouble.state),
            trouble.begin if begin is None else begin,
            its.at,
            fallen=fallen,
            flapping=rule.when == FLAPPING or flaps >= self._settings.calm.flaps,
            late=late,
        )
        if is_group(alert):
            its.groups.append(alert)
        return alert

    def _alert(self, its: Moment, name: str, fresh: Sequence[str]) -> None:
        """Alert a slot: in an alert that is there, in a new one with others, or by itself."""
        trouble, grouping, window = its.troubles[name], self._settings.grouping, self._window
        for alert in its.groups:
            if self._belongs(its, alert, name):
                self._join(its, alert, [name])
                self._post.joined(alert, [name], its.at)
                return
        down = self._down(its, trouble.family)
        fallen = {
            slot: begin
            for slot, begin in down.items()
            if trouble.begin - window <= begin <= trouble.begin + 2 * window
            and not self._explained(its, slot, trouble.family)
        }
        fallen[name] = trouble.begin
        alive = its.shared.copy()
        for slot in down.keys() - fallen.keys():
            alive.subtract(its.places[slot].keys)
        found = explanation(
            *(name, fallen, self._sure(its, fallen, trouble.family), alive, its.places),
            least=grouping.least,
            share=grouping.share / 100,
        )
        key, together, begin = (ONE_SLOT, name), [name], trouble.begin
        if found is not None:
            start = begin_of(fallen[slot] for slot in found.slots)
            held = sorted(slot for slot in found.slots if fallen[slot] >= start - window)
            if name in held:
                key, together, begin = found.key, held, start
        alert = self._open(its, trouble, key, begin=begin, fallen=len(together))
        self._absorb(its, alert, together)
        self._join(its, alert, [slot for slot in fresh if slot in together])
        self._post.post(alert, OPENED, self._records.members(alert.id), its.at, together)

    @staticmethod
    def _sure(its: Moment, fallen: Collection[str], family: str) -> set[str]:
        """Those that are down, and not only late with a report."""
        return {
            slot for slot in fallen if slot in its.troubles and its.troubles[slot].family == family
        }

    def _down(self, its: Moment, family: str) -> dict[str, int]:
        """Since when each slot has a trouble of a family, or may have it: its report is late."""
        if family in its.down:
            return its.down[family]
        found: dict[str, int] = {}
        its.down[family] = found
        silence = self._troubles.silence
        if silence is not None and silence.family_name == family:
            found |= its.silent
        found |= {name: t.begin for name, t in its.troubles.items() if t.family == family}
        for name, (member, alert) in its.alerted.items():
            if name in found and alert.family == family:
                found[name] = min(found[name], member.begin)
        return found

    def _belongs(self, its: Moment, alert: Alert, name: str) -> bool:
        """Whether a slot fell with those of a group, or was up again for a moment only."""
        down, key = self._down(its, alert.family), (alert.scope, alert.value)
        if name not in down or key not in its.places[name].keys:
            return False
        trouble = its.troubles.get(name)
        rule = trouble.rule if trouble is not None else self._troubles.silence
        if rule is None or rule.rank > rank(alert):
            return False
        before = self._members(its, alert).get(name)
        if before is not None and before.recovered_at is not None:
            return down[name] <= before.recovered_at + self._window
        if alert.id not in its.reach:
            begins = [begin for slot, begin in down.items() if key in its.places[slot].keys]
            its.reach[alert.id] = reach(
                alert.begin, begins, self._window, self._settings.grouping.least
            )
        return alert.begin - self._window <= down[name] <= its.reach[alert.id]

    def _members(self, its: Moment, alert: Alert) -> dict[str, AlertMember]:
        if alert.id not in its.members:
            members = self._records.members(alert.id)
            its.members[alert.id] = {member.member: member for member in members}
        return its.members[alert.id]

    def _explained(self, its: Moment, name: str, family: str) -> bool:
        """Whether a group is why it fell, also if it is not in it yet: it counts for no other."""
        if name in its.alerted and is_group(its.alerted[name][1]):
            return True
        return any(
            alert.family == family and self._belongs(its, alert, name) for alert in its.groups
        )

    def _absorb(self, its: Moment, alert: Alert, together: Sequence[str]) -> None:
        """Take over those that were alerted in others."""
        for name in together:
            alerted = its.alerted.get(name)
            if alerted is not None and alerted[1].family == alert.family and not alerted[1].late:
                self._move(its, alerted, alert)

    def _move(self, its: Moment, alerted: Alerted, alert: Alert) -> None:
        """Make a member of one alert that of another; the one is over if it was the last."""
        member, old = alerted
        self._records.move_member(member, alert.id)
        its.alerted[member.member] = member._replace(alert_id=alert.id), alert
        if all(m.recovered_at is not None for m in self._records.members(old.id)):
            self._records.close_alert(old.id, its.at, alert.id)

    def _join(self, its: Moment, alert: Alert, names: Sequence[str]) -> None:
        for name in names:
            alerted = its.alerted.get(name)
            if alerted is not None:
                if alerted[1].id != alert.id:  # it has become worse
                    self._move(its, alerted, alert)
                continue
            trouble, before = its.troubles[name], self._members(its, alert).get(name)
            begin = trouble.begin if before is None else before.begin
            member = AlertMember(alert.id, name, begin, trouble.state, "", None)
            self._records.add_members(alert.id, [member[1:5]])
            its.alerted[name] = member, alert
            self._calm.pop(name, None)

    def _close(self, its: Moment) -> None:
        """Close the alerts of which (nearly) all are over."""
        counts = self._records.count_members()
        for alert in self._records.open_alerts():
            members, left = counts.get(alert.id, (0, 0))
            if alert.scope in (ONE_RULE, OWN_SIDE) or left > (1 - _OVER) * members:
                continue
            # Those that fell with them and are not down for long enough yet.
            coming = [
                name
                for name in its.troubles
                if name not in its.alerted and is_group(alert) and self._belongs(its, alert, name)
            ]
            if len(coming) > (1 - _OVER) * (members + len(coming)):
                continue
            self._records.close_alert(alert.id, its.at)
            self._post.post(alert, RECOVERED, self._records.members(alert.id), its.at)

    # ---- other conditions, and escalation ------------------------------------------------

    def _conditions(self, its: Moment) -> None:
        records, now = self._records, its.at
        if not its.view.found:
            return
        known: dict[str, list[AlertMember]] = {}
        for member, alert in records.in_trouble():
            if alert.scope == ONE_RULE:
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
                alert = records.open_alert(
                    *(name, name, rule.severity, (ONE_RULE, name), name, now, now), fallen=len(new)
                )
                records.add_members(alert.id, [(key, now, name, found[key]) for key in new])
                self._post.post(alert, OPENED, records.members(alert.id), now)
        counts = records.count_members()
        for alert in records.open_alerts():
            if alert.scope == ONE_RULE and not counts.get(alert.id, (0, 0))[1]:
                records.close_alert(alert.id, now)

    def _escalate(self, its: Moment) -> None:
        """Send again what nobody has acknowledged; not what is held, and not what is silenced."""
        for alert in self._records.open_alerts():
            if alert.acked_at is not None or alert.late:
                continue
            if its.held and alert.scope != OWN_SIDE:
                continue
            step = self._post.step_due(alert, its.at)
            if step <= alert.step:
                continue
            members = self._records.members(alert.id)
            down = {m.member for m in members if m.recovered_at is None} - self._calm.keys()
            if members and down <= set(its.silenced):  # also if none is down any more
                continue
            self._records.escalate(alert.id, step)
            renewed = self._records.alert(alert.id)
            assert renewed is not None
            self._post.post(renewed, ESCALATED, members, its.at)
