"""The province's own side: while it does not work, its staff is alerted, and nobody else."""

from __future__ import annotations

from host_tools.alerts.moment import OWN_SIDE, Moment
from host_tools.alerts.post import OPENED, RECOVERED, Post
from host_tools.alerts.records import Alert, AlertRecords
from host_tools.alerts.settings import OWN, AlertRule, AlertSettings, seconds
from host_tools.wire.vocabulary import NO_DATA

SILENCE = "silence"  # everything is silent at once
_RECENT_S = 3600


class OwnSide:
    """Opens and closes the alerts of the own side, and notes the times as holds."""

    def __init__(self, settings: AlertSettings, records: AlertRecords, post: Post) -> None:
        self._grouping = settings.grouping
        self._window = settings.grouping.window_s
        self._settle = seconds(settings.calm.settle)
        self._rule: AlertRule | None = next(iter(settings.of_kind(OWN)), None)
        self._records = records
        self._post = post
        self._since = 0

    def begin(self, now: int) -> None:
        """Nobody has looked before: what does not work may only not have started yet."""
        self._since = now

    def check(self, its: Moment) -> None:
        """Open what is new, close what is over."""
        records, now, rule = self._records, its.at, self._rule
        known = {a.value: a for a in records.open_alerts() if a.scope == OWN_SIDE}
        wrong: dict[str, int] = {}
        if rule is not None:
            started = now - self._since >= rule.after_s
            wrong = {v: b for v, b in its.view.own.items() if started or v in known}
            begin = None if its.view.own else self._all_silent(its, known.get(SILENCE))
            if begin is not None:
                wrong[SILENCE] = begin
        for value, alert in known.items():
            if value not in wrong:
                records.close_alert(alert.id, now)
                self._post.post(alert, RECOVERED, [], now)
        for value, begin in wrong.items():
            if value not in known and rule is not None:
                records.hold(begin)
                alert = records.open_alert(
                    *(rule.name, rule.name, rule.severity, (OWN_SIDE, value), value, begin, now),
                    fallen=len(its.expected),
                )
                self._post.post(alert, OPENED, [], now)
        if not wrong:
            records.end_holds(now + self._settle)

    def _all_silent(self, its: Moment, known: Alert | None) -> int | None:
        """Since when nearly all slots are silent at once, None if they are not."""
        grouping, now = self._grouping, its.at
        begins = sorted(its.silent.values())
        calm = len(its.expected) - len(begins)
        if known is not None:
            fallen = sum(begin >= known.begin - self._window for begin in begins)
            return known.begin if fallen > calm else None
        recent = [begin for begin in begins if begin >= now - _RECENT_S - self._window]
        if its.held or len(recent) < grouping.own_least:
            return None
        middle = recent[len(recent) // 2]
        together = [begin for begin in recent if abs(begin - middle) <= self._window]
        could = calm + sum(begin >= middle - self._window for begin in begins)
        if len(together) < max(grouping.own_least, grouping.own_share * could / 100):
            return None
        sure = sum(
            begin >= together[0] and its.expected[name].state == NO_DATA
            for name, begin in its.silent.items()
        )
        return together[0] if 2 * sure >= len(together) else None
