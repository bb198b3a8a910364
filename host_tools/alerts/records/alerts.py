"""The alerts as they stand in alerts.db: who is in them, what is held, what is silenced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from host_tools.alerts.records.file import open_database_of
from host_tools.alerts.records.outbox import OutboxRecords
from host_tools.store import dialect

_ALERT = (
    "SELECT id, rule, family, severity, scope, value, state, t_begin, opened_at, fallen, "
    "flapping, late, step, acked_at, acked_by, closed_at, merged_into FROM alerts"
)
_MEMBER = "SELECT alert_id, member, t_begin, state, detail, recovered_at FROM members"


@dataclass(frozen=True)
class Alert:
    """An alert. Its fields are those of the table."""

    id: int
    rule: str
    family: str
    severity: str
    scope: str
    value: str
    state: str
    begin: int
    opened_at: int
    fallen: int
    flapping: bool
    late: bool
    step: int
    acked_at: int | None
    acked_by: str | None
    closed_at: int | None
    merged_into: int | None


class AlertMember(NamedTuple):
    """A slot (or what ends) in an alert."""

    alert_id: int
    member: str
    begin: int
    state: str
    detail: str
    recovered_at: int | None


class Silence(NamedTuple):
    """Slots of which nothing is sent from begin to end."""

    id: int
    scope: str
    value: str
    begin: int
    end: int
    who: str
    why: str

    def concerns(self, slot: str, provider: str) -> bool:
        """Whether it holds for a slot."""
        from host_tools.province.contract_records import ContractEvent

        event = ContractEvent(
            "", "", self.scope, self.value, self.begin, self.end, self.who, self.why, 0
        )
        return event.concerns(slot, provider)


class AlertRecords(OutboxRecords):
    """All of the database."""

    # ---- alerts --------------------------------------------------------------------------

    def open_alert(
        self,
        rule: str,
        family: str,
        severity: str,
        scope: tuple[str, str],
        state: str,
        begin: int,
        now: int,
        *,
        fallen: int = 1,
        flapping: bool = False,
        late: bool = False,
    ) -> Alert:
        """Add an alert."""
        id = self._db.insert(
            "INSERT INTO alerts (rule, family, severity, scope, value, state, t_begin, opened_at, "
            "fallen, flapping, late) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (rule, family, severity, *scope, state, begin, now, fallen, flapping, late),
        )
        found = self.alert(id)
        assert found is not None
        return found

    def alert(self, id: int) -> Alert | None:
        """One alert."""
        row = self._db.one(f"{_ALERT} WHERE id = ?", (id,))
        return Alert(*row) if row else None

    def open_alerts(self) -> list[Alert]:
        """Those that are not over."""
        return [Alert(*row) for row in self._db.all(f"{_ALERT} WHERE closed_at IS NULL")]

    def alerts_since(self, since: float) -> list[Alert]:
        """Those that were opened since then, and those that are not over."""
        rows = self._db.all(f"{_ALERT} WHERE opened_at >= ? OR closed_at IS NULL", (int(since),))
        return [Alert(*row) for row in rows]

    def close_alert(self, id: int, now: int, merged_into: int | None = None) -> None:
        """An alert is over, or became a part of another one."""
        self._db.execute(
            "UPDATE alerts SET closed_at = ?, merged_into = ? WHERE id = ?", (now, merged_into, id)
        )

    def escalate(self, id: int, step: int) -> None:
        """Note the step of escalation."""
        self._db.execute("UPDATE alerts SET step = ? WHERE id = ?", (step, id))

    def acknowledge(self, id: int, who: str, now: int) -> bool:
        """Note that somebody takes care; False if somebody did before, or it is over."""
        return bool(
            self._db.execute(
                "UPDATE alerts SET acked_at = ?, acked_by = ? WHERE id = ? AND acked_at IS NULL "
                "AND closed_at IS NULL",
                (now, who, id),
            )
        )

    # ---- members -------------------------------------------------------------------------

    def add_members(self, id: int, members: Iterable[tuple[str, int, str, str]]) -> None:
        """Add slots to an alert: slot, begin, state, detail."""
        self._db.executemany(
            f"{dialect.REPLACE} members (alert_id, member, t_begin, state, detail) "
            "VALUES (?, ?, ?, ?, ?)",
            [(id, *member) for member in members],
        )

    def move_member(self, member: AlertMember, into: int) -> None:
        """Make it a member of another alert."""
        self._db.execute(
            f"{dialect.REPLACE} members VALUES (?, ?, ?, ?, ?, ?)", (into, *member[1:])
        )
        self._db.execute(
            "DELETE FROM members WHERE alert_id = ? AND member = ?", (member.alert_id, member[1])
        )

    def recover(self, member: AlertMember, now: int) -> None:
        """Its trouble is over."""
        self._db.execute(
            "UPDATE members SET recovered_at = ? WHERE alert_id = ? AND member = ?",
            (now, member.alert_id, member.member),
        )

    def members(self, id: int) -> list[AlertMember]:
        """Those of an alert, the first that fell first."""
        rows = self._db.all(f"{_MEMBER} WHERE alert_id = ? ORDER BY t_begin, member", (id,))
        return [AlertMember(*row) for row in rows]

    def in_trouble(self) -> list[tuple[AlertMember, Alert]]:
        """Those of all alerts whose trouble is not over."""
        rows = self._db.all(f"{_MEMBER} WHERE recovered_at IS NULL")
        alerts: dict[int, Alert] = {alert.id: alert for alert in self.open_alerts()}
        found = []
        for member in map(AlertMember._make, rows):
            # An alert is over before the last of its slots is up.
            alert = alerts.get(member.alert_id) or self.alert(member.alert_id)
            if alert is not None:
                found.append((member, alerts.setdefault(alert.id, alert)))
        return found

    def count_members(self) -> dict[int, tuple[int, int]]:
        """By open alert, how many slots are in it, and how many of them are still in trouble."""
        rows = self._db.all(
            "SELECT alert_id, count(*), count(*) - count(recovered_at) FROM alerts JOIN members "
            "ON alert_id = alerts.id WHERE closed_at IS NULL GROUP BY alert_id"
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def count_alerts_of(self, scope: tuple[str, str], family: str, since: int) -> int:
        """How many alerts a slot was in since then, or how many there were of a group."""
        if scope[0] == "slot":
            query = (
                "SELECT count(*) FROM members JOIN alerts ON alerts.id = alert_id WHERE "
                "member = ? AND members.t_begin >= ? AND family = ?"
            )
            return int(self._db.value(query, (scope[1], since, family)))
        query = (
            "SELECT count(*) FROM alerts WHERE scope = ? AND value = ? AND opened_at >= ? AND "
            "family = ?"
        )
        return int(self._db.value(query, (*scope, since, family)))

    # ---- holds and silences --------------------------------------------------------------

    def hold(self, begin: int, end: int | None = None) -> None:
        """The own side does not work from then on, or until then."""
        self._db.execute(
            "INSERT INTO holds VALUES (?, ?) ON CONFLICT (t_begin) DO UPDATE SET t_end = "
            "excluded.t_end",
            (begin, end),
        )

    def end_holds(self, end: int) -> None:
        """It works again."""
        self._db.execute("UPDATE holds SET t_end = ? WHERE t_end IS NULL", (end,))

    def set_back_holds(self, now: int, until: int) -> None:
        """The clock was set back to `now`: nothing is held for longer than until then."""
        self._db.execute("DELETE FROM holds WHERE t_begin > ?", (now,))
        self._db.execute("UPDATE holds SET t_end = ? WHERE t_end > ?", (until, until))

    def holds(self, since: int) -> list[tuple[int, int | None]]:
        """Those that reach into the time since then."""
        rows = self._db.all(
            "SELECT t_begin, t_end FROM holds WHERE t_end IS NULL OR t_end > ? ORDER BY 1",
            (since,),
        )
        return [(row[0], row[1]) for row in rows]

    def add_silence(
        self, scope: str, value: str, begin: int, end: int, *, who: str, why: str
    ) -> int:
        """Add a silence; returns its number."""
        return self._db.insert(
            "INSERT INTO silences (scope, value, t_begin, t_end, who, why) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (scope, value, begin, end, who, why),
        )

    def end_silence(self, id: int, now: int) -> bool:
        """End one early; False if there is none that holds."""
        return bool(
            self._db.execute(
                "UPDATE silences SET t_end = ? WHERE id = ? AND t_end > ?", (now, id, now)
            )
        )

    def silences(self, now: float) -> list[Silence]:
        """Those that hold now or later."""
        rows = self._db.all(
            "SELECT id, scope, value, t_begin, t_end, who, why FROM silences WHERE t_end > ?",
            (int(now),),
        )
        return [Silence(*row) for row in rows]


def open_records(directory: Path) -> AlertRecords:
    """Open the alerts of a province; makes them if there are none.

    Raises:
        StoreError: the file can't be used.
        DesalinkError: a newer desalink made it.
    """
    return AlertRecords(open_database_of(directory))
