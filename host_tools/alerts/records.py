"""The database alerts.db: alerts, who is in them, silences, and the outbox. The only SQL here.

Times are Unix seconds. A message is put into the outbox in the transaction that changes its alert:
after a crash there are both, or none.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.readonly import may_write
from host_tools.store import Database, dialect
from host_tools.store.dialect import Failure, translated

FILE = "alerts.db"
LAST_RUN = "last_run"  # when the watch was last at work
FIRST_RUN = "first_run"  # when it was first
DUE, SENDING, SENT, FAILED, DROPPED = "due", "sending", "sent", "failed", "dropped"

_TABLES = """
CREATE TABLE alerts (
    id            SERIAL,
    rule          TEXT NOT NULL,
    family        TEXT NOT NULL,
    severity      TEXT NOT NULL,
    scope         TEXT NOT NULL,             -- slot, rule, own, or what its slots share
    value         TEXT NOT NULL,             -- which
    state         TEXT NOT NULL,             -- of the first slot, or what of the own side
    t_begin       INTEGER NOT NULL,
    opened_at     INTEGER NOT NULL,
    fallen        INTEGER NOT NULL,          -- slots that fell together
    flapping      INTEGER NOT NULL,
    late          INTEGER NOT NULL,          -- known too late to send anything
    step          INTEGER NOT NULL DEFAULT 0, -- of escalation
    acked_at      INTEGER,
    acked_by      TEXT,
    closed_at     INTEGER,
    merged_into   INTEGER REFERENCES alerts(id)
);
CREATE INDEX alerts_open ON alerts (id) WHERE closed_at IS NULL;
CREATE INDEX alerts_opened ON alerts (opened_at);
CREATE TABLE members (
    alert_id      INTEGER NOT NULL REFERENCES alerts(id),
    member        TEXT NOT NULL,             -- a slot, or what ends
    t_begin       INTEGER NOT NULL,
    state         TEXT NOT NULL,
    detail        TEXT NOT NULL,
    recovered_at  INTEGER,
    PRIMARY KEY (alert_id, member)
) CLUSTERED;
CREATE INDEX members_open ON members (member) WHERE recovered_at IS NULL;
CREATE INDEX members_of ON members (member, t_begin);
CREATE TABLE holds (                         -- times in which the own side did not work
    t_begin       INTEGER PRIMARY KEY,
    t_end         INTEGER
) CLUSTERED;
CREATE TABLE silences (
    id            SERIAL,
    scope         TEXT NOT NULL,             -- as of the events of contracts
    value         TEXT NOT NULL,
    t_begin       INTEGER NOT NULL,
    t_end         INTEGER NOT NULL,
    who           TEXT NOT NULL,
    why           TEXT NOT NULL
);
CREATE TABLE outbox (
    id            SERIAL,
    alert_id      INTEGER REFERENCES alerts(id),
    what          TEXT NOT NULL,             -- opened, escalated, recovered, digest or test
    name          TEXT NOT NULL UNIQUE,      -- what is sent once
    channel       TEXT NOT NULL,
    subject       TEXT NOT NULL,
    body          TEXT NOT NULL,
    reply_to      TEXT NOT NULL,             -- name of the first message of the alert, or ''
    queued_at     INTEGER NOT NULL,
    planned_at    INTEGER NOT NULL,          -- when it was to be sent first
    due_at        INTEGER NOT NULL,
    state         TEXT NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    sent_at       INTEGER,
    error         TEXT NOT NULL DEFAULT ''
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE state IN ('due', 'sending');
CREATE INDEX outbox_of_alert ON outbox (alert_id);
CREATE TABLE meta (
    key           TEXT PRIMARY KEY,
    value         NOT NULL
) CLUSTERED
"""


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


class Outgoing(NamedTuple):
    """A message of the outbox."""

    id: int
    alert_id: int | None
    what: str
    name: str
    channel: str
    subject: str
    body: str
    reply_to: str
    queued_at: int
    planned_at: int
    due_at: int
    state: str
    attempts: int
    sent_at: int | None
    error: str


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


_ALERT = (
    "SELECT id, rule, family, severity, scope, value, state, t_begin, opened_at, fallen, "
    "flapping, late, step, acked_at, acked_by, closed_at, merged_into FROM alerts"
)
_MEMBER = "SELECT alert_id, member, t_begin, state, detail, recovered_at FROM members"
_OUT = (
    "SELECT id, alert_id, what, name, channel, subject, body, reply_to, queued_at, planned_at, "
    "due_at, state, attempts, sent_at, error FROM outbox"
)


def open_records(directory: Path) -> AlertRecords:
    """Open the alerts of a province; makes them if there are none.

    Raises:
        StoreError: the file can't be used.
        DesalinkError: a newer desalink made it.
    """
    path = directory / FILE
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        connection = dialect.connect(path, readonly=False, may_write=True, patience_s=30)
        found, _ours = dialect.version(connection)
    except Failure as error:
        raise translated(error, path) from error
    if found > 1:
        connection.close()
        raise DesalinkError(
            _("{path} is from a newer desalink; install that one.").format(path=path)
        )
    db = Database(path, connection)
    if found == 0:
        with db.transaction():
            # Two that open it at once: the second finds the tables of the first.
            if not db.has_table("alerts"):
                for statement in (*dialect.schema(_TABLES), *dialect.note_version(1)):
                    db.execute(statement)
                for key in ("secret", "nonce"):
                    db.execute("INSERT INTO meta VALUES (?, ?)", (key, secrets.token_hex(32)))
    return AlertRecords(db)


def last_run(directory: Path) -> int | None:
    """When the alerts of a province were last at work; None: never, or nobody can know.

    For who may only read.
    """
    path = directory / FILE
    if not path.exists():
        return None
    try:
        found = dialect.connect(path, readonly=True, may_write=may_write(path), patience_s=5)
        with closing(found):
            row = found.execute("SELECT value FROM meta WHERE key = ?", (LAST_RUN,)).fetchone()
    except Failure:
        return None
    return int(row[0]) if row else None


class AlertRecords:
    """The opened database; for one thread."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """All of a block, or nothing of it; `durable` as of the store."""
        return self._db.transaction(durable=durable)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __enter__(self) -> AlertRecords:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---- numbers and secrets -------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """A value that the alerts keep for themselves, None if there is none."""
        return self._db.value("SELECT value FROM meta WHERE key = ?", (key,))

    def set_meta(self, key: str, value: int) -> None:
        """Set one."""
        self._db.execute(f"{dialect.REPLACE} meta VALUES (?, ?)", (key, value))

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

    def set_back(self, now: int, held_until: int) -> None:
        """The clock was set back to `now`: nothing waits for a time that it showed too early."""
        self._db.execute("DELETE FROM holds WHERE t_begin > ?", (now,))
        self._db.execute("UPDATE holds SET t_end = ? WHERE t_end > ?", (held_until, held_until))
        self._db.execute(
            "UPDATE outbox SET queued_at = ?, planned_at = ?, due_at = ? WHERE state = ? AND "
            "planned_at = queued_at AND queued_at > ?",
            (now, now, now, DUE, now),
        )

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

    # ---- outbox --------------------------------------------------------------------------

    def queue(
        self,
        what: str,
        name: str,
        channel: str,
        subject: str,
        body: str,
        *,
        now: int,
        due: int,
        alert: int | None = None,
        reply_to: str = "",
    ) -> bool:
        """Put a message into the outbox; False if it was there before."""
        return bool(
            self._db.execute(
                "INSERT INTO outbox (alert_id, what, name, channel, subject, body, reply_to, "
                "queued_at, planned_at, due_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                f"{dialect.UNLESS_KNOWN}",
                (alert, what, name, channel, subject, body, reply_to, now, due, due, DUE),
            )
        )

    def has_message(self, name: str) -> bool:
        """Whether the outbox has, or had, a message of that name."""
        return bool(self._db.value("SELECT 1 FROM outbox WHERE name = ?", (name,)))

    def of_alert(self, id: int) -> list[Outgoing]:
        """The messages of an alert, in the order in which they were put in."""
        rows = self._db.all(f"{_OUT} WHERE alert_id = ? ORDER BY id", (id,))
        return [Outgoing(*row) for row in rows]

    def drop(self, id: int) -> bool:
        """Take back a message that nobody has begun to send."""
        return bool(
            self._db.execute(
                "UPDATE outbox SET state = ? WHERE id = ? AND state = ?", (DROPPED, id, DUE)
            )
        )

    def due(self, now: float) -> list[Outgoing]:
        """Messages to be sent now, and those whose sending a crash has cut; oldest first."""
        rows = self._db.all(
            f"{_OUT} WHERE state IN ('due', 'sending') AND due_at <= ? ORDER BY id", (int(now),)
        )
        return [Outgoing(*row) for row in rows]

    def sending(self, id: int) -> bool:
        """Note, on the disk, that a message is about to be sent; False: it was taken back."""
        with self.transaction():
            return bool(
                self._db.execute(
                    "UPDATE outbox SET state = ?, attempts = attempts + 1 WHERE id = ? AND "
                    "state IN ('due', 'sending')",
                    (SENDING, id),
                )
            )

    def sent(self, id: int, now: float) -> None:
        """Note that the other side has taken it."""
        with self.transaction():
            self._db.execute(
                "UPDATE outbox SET state = ?, sent_at = ?, error = '' WHERE id = ?",
                (SENT, int(now), id),
            )

    def not_sent(self, id: int, error: str, again_at: float | None) -> None:
        """Note that it was not taken, and when to try again; None: never."""
        state = FAILED if again_at is None else DUE
        with self.transaction():
            self._db.execute(
                "UPDATE outbox SET state = ?, error = ?, due_at = coalesce(?, due_at) "
                "WHERE id = ?",
                (state, error[:500], None if again_at is None else int(again_at), id),
            )

    def failing(self, attempts: int) -> dict[str, str]:
        """By channel that has taken nothing since, the error of what it did not take.

        Args:
            attempts: after so many it fails, also if it is tried again.
        """
        rows = self._db.all(
            "SELECT channel, max(id) FROM outbox WHERE state = 'sent' GROUP BY channel"
        )
        taken = {row[0]: row[1] for row in rows}
        rows = self._db.all(
            "SELECT id, channel, error FROM outbox WHERE what <> 'test' AND error <> '' AND "
            "(state = 'failed' OR (state IN ('due', 'sending') AND attempts >= ?)) ORDER BY id",
            (attempts,),
        )
        return {row[1]: row[2] for row in rows if row[0] > taken.get(row[1], 0)}

    def messages(self, state: str | None = None, limit: int = 1000) -> list[Outgoing]:
        """Messages, the newest first."""
        rows = self._db.all(
            f"{_OUT} WHERE ? IS NULL OR state = ? ORDER BY id DESC LIMIT ?",
            (state, state, limit),
        )
        return [Outgoing(*row) for row in rows]
