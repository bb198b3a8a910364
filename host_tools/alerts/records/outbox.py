"""The outbox as it stands in alerts.db."""

from __future__ import annotations

from typing import NamedTuple

from host_tools.alerts.records.file import RecordsFile
from host_tools.store import dialect

DUE, SENDING, SENT, FAILED, DROPPED = "due", "sending", "sent", "failed", "dropped"

_OUT = (
    "SELECT id, alert_id, what, name, channel, subject, body, reply_to, queued_at, planned_at, "
    "due_at, state, attempts, sent_at, error FROM outbox"
)


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


class OutboxRecords(RecordsFile):
    """The messages."""

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

    def set_back_messages(self, now: int) -> None:
        """The clock was set back to `now`: no message waits for what it showed before."""
        self._db.execute(
            "UPDATE outbox SET queued_at = ?, planned_at = ?, due_at = ? WHERE state = ? AND "
            "planned_at = queued_at AND queued_at > ?",
            (now, now, now, DUE, now),
        )
