"""Puts the messages of an alert into the outbox: to whom, when, in which language."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from host_tools.alerts import texts
from host_tools.alerts.places import AlertPlace
from host_tools.alerts.records import DROPPED, DUE, Alert, AlertMember, AlertRecords, Outgoing
from host_tools.alerts.settings import AlertRule, AlertSettings, Team, seconds
from host_tools.alerts.texts import MessageText, Spell
from host_tools.alerts.tokens import make_token
from host_tools.common.i18n import speaking

OPENED, ESCALATED, RECOVERED = "opened", "escalated", "recovered"
SpellsOf = Callable[[str, int, int], Sequence[Spell]]


def _nothing(slot: str, begin: int, end: int) -> Sequence[Spell]:
    return ()


class Post:
    """The messages of alerts.

    Attributes:
        places: names of slots, renewed by the service.
        spells: the states of a slot other than up, from begin to end, as they are known now.
    """

    def __init__(self, settings: AlertSettings, records: AlertRecords) -> None:
        self._settings = settings
        self._records = records
        self.places: Mapping[str, AlertPlace] = {}
        self.spells: SpellsOf = _nothing

    def post(
        self,
        alert: Alert,
        what: str,
        members: Sequence[AlertMember],
        now: int,
        concerned: Collection[str] = (),
    ) -> None:
        """Put the messages of an alert into the outbox.

        Args:
            concerned: slots that will be members.
        """
        if alert.late:
            return
        if what == RECOVERED:
            self._recovered(alert, members, now)
            return
        rule = self._settings.rules.get(alert.rule)
        if rule is None:
            return
        name = what if what == OPENED else f"{what}{alert.step}"
        teams = self._teams(rule, [*concerned, *(member.member for member in members)])
        self._to_teams(teams, rule, alert, name, members, now)

    def joined(self, alert: Alert, slots: Collection[str], now: int) -> None:
        """Slots have become members: also send it to the teams that it did not concern before."""
        rule = self._settings.rules.get(alert.rule)
        if rule is None:
            return
        members = self._records.members(alert.id)
        before = self._teams(rule, [m.member for m in members if m.member not in slots])
        teams = [team for team in self._teams(rule, slots) if team not in before]
        self._to_teams(teams, rule, alert, OPENED, members, now)

    def _to_teams(
        self,
        teams: Sequence[Team],
        rule: AlertRule,
        alert: Alert,
        name: str,
        members: Sequence[AlertMember],
        now: int,
    ) -> None:
        for team in teams:
            due = team.working(now) if rule.send == "working" else now
            for channel in team.channels(alert.step, now):
                self._queue(alert, name, channel, members, now, int(due))

    def step_due(self, alert: Alert, now: int) -> int:
        """Up to which step of escalation it should be sent by now."""
        rule = self._settings.rules.get(alert.rule)
        if rule is None or rule.send == "working" or rule.severity == "info":
            return 0
        last = max((len(team.steps) for team in self._settings.teams.values()), default=1)
        if alert.step + 1 >= last:
            return 0  # there is nobody further
        steps = [
            min((now - alert.opened_at) // seconds(team.escalate), len(team.steps) - 1)
            for team in self._teams(rule, [m.member for m in self._records.members(alert.id)])
        ]
        return max(steps, default=0)

    def _teams(self, rule: AlertRule, slots: Collection[str]) -> list[Team]:
        return [
            team
            for name, team in self._settings.teams.items()
            if name in rule.to
            and (
                not team.places
                or not slots
                or any(slot.startswith(tuple(team.places)) for slot in slots)
            )
        ]

    def _queue(
        self,
        alert: Alert,
        name: str,
        channel: str,
        members: Sequence[AlertMember],
        now: int,
        due: int,
    ) -> None:
        with speaking(self._settings.channels[channel].language):
            text = texts.opened(
                *(alert, members, self.places, self._link(alert)), escalated=name != OPENED
            )
        first = OPENED if name != OPENED else ""
        self._put(alert, name, channel, text, now, due, first)

    def _recovered(self, alert: Alert, members: Sequence[AlertMember], now: int) -> None:
        """To all who know of it, and to nobody else."""
        knowing: dict[str, list[Outgoing]] = {}
        for message in self._records.of_alert(alert.id):
            if message.what != RECOVERED and message.state != DROPPED:
                knowing.setdefault(message.channel, []).append(message)
        spells = self.spells(alert.value, alert.begin, now) if alert.scope == "slot" else ()
        for channel, messages in knowing.items():
            # What waits for working hours is not worth a message any more.
            waiting = [m for m in messages if m.state == DUE and m.due_at > now and not m.attempts]
            if all([m in waiting and self._records.drop(m.id) for m in messages]):
                continue
            settings = self._settings.channels.get(channel)
            with speaking(settings.language if settings else "id"):
                text = texts.recovered(alert, members, self.places, spells, now)
            due = max(now, min(message.due_at for message in messages))
            self._put(alert, RECOVERED, channel, text, now, due, OPENED)

    def _put(
        self,
        alert: Alert,
        name: str,
        channel: str,
        text: MessageText,
        now: int,
        due: int,
        first: str,
    ) -> None:
        self._records.queue(
            *(name, f"{alert.id}.{name}.{channel}", channel),
            *(" ".join(text.subject.split()), text.body),
            now=now,
            due=due,
            alert=alert.id,
            reply_to=f"{alert.id}.{first}.{channel}" if first else "",
        )

    def _link(self, alert: Alert) -> str:
        token = make_token(self._records, alert.id)
        link = self._settings.link
        return link.replace("{token}", token) if link else f"desalink alerts ack {token}"
