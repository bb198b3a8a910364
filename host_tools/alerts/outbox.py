"""Sends what is in the outbox, each message once as far as its channel allows it.

Before a message is sent, the disk says that it is about to be; afterwards, that it was. After a
crash between the two nobody knows whether it was. Then it is sent again, under the same identity.
A mail server and a web hook can drop the second one. Another channel may show it twice.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, Queue

from host_tools.alerts.channels import NotTaken, Sender
from host_tools.alerts.records import AlertRecords, Outgoing
from host_tools.alerts.texts import MessageText
from host_tools.common.i18n import _
from host_tools.common.times import DAY_S

GIVE_UP_S = DAY_S
_FIRST_S, _MOST_S = 60, 3600
PATIENCE_S = 2.0  # for channels that hang, before the others are looked at again
STOP_S = 25.0  # for what is under way when the service ends

Log = Callable[..., None]


def _quiet(event: str, **_fields: object) -> None:
    return None


@dataclass
class _Handed:
    """A message on its way, and how that ended."""

    message: Outgoing
    error: Exception | None = None


class Outbox:
    """Sends messages by the senders of their channels, each channel for itself."""

    def __init__(
        self,
        records: AlertRecords,
        sender: Callable[[str], Sender],
        log: Log = _quiet,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """
        Args:
            sender: of a channel; may raise NotTaken.
        """
        self._records = records
        self._sender = sender
        self._log = log
        self._patience_s = patience_s
        self._nonce = str(records.meta("nonce"))[:16]
        self._busy: set[str] = set()  # channels
        self._ended: Queue[_Handed] = Queue()
        self._unnoted: _Handed | None = None

    def work(self, now: float, stopping: Callable[[], bool] = lambda: False) -> int:
        """Send what is due; returns how many were sent.

        A channel that has failed is left alone for the rest of this round. One that hangs holds
        up no other: it is waited for in the next rounds.
        """
        done, failed = 0, set[str]()
        while True:
            if self._unnoted is None and not stopping():
                self._begin(now, failed)
            try:
                handed = self._unnoted or self._next(STOP_S if stopping() else self._patience_s)
            except Empty:
                return done
            # A disk that is full just now must not make it come again.
            self._unnoted = handed
            if self._note(handed, now):
                done += 1
            else:
                failed.add(handed.message.channel)
            self._unnoted = None
            self._busy.discard(handed.message.channel)

    def _next(self, patience_s: float) -> _Handed:
        return self._ended.get(timeout=patience_s) if self._busy else self._ended.get_nowait()

    def _begin(self, now: float, failed: set[str]) -> None:
        """Begin to send the oldest message of each channel that is free."""
        for message in self._records.due(now):
            channel = message.channel
            if channel in self._busy | failed or not self._records.sending(message.id):
                continue
            self._busy.add(channel)
            threading.Thread(target=self._send, args=(message, now), daemon=True).start()

    def _send(self, message: Outgoing, now: float) -> None:
        handed = _Handed(message)
        try:
            if now - message.due_at > GIVE_UP_S:  # of a backup that was put back
                raise NotTaken(_("It is older than a day."), for_good=True)
            self._hand_over(message)
        except Exception as error:  # noqa: BLE001 - `_note` raises what it does not know
            handed.error = error
        self._ended.put(handed)

    def _note(self, handed: _Handed, now: float) -> bool:
        """Note how a message's sending ended; returns whether it was taken."""
        message, error = handed.message, handed.error
        if error is None:
            self._records.sent(message.id, now)
            self._log("sent", message=message.id, channel=message.channel)
            return True
        if not isinstance(error, NotTaken):
            raise error
        self._not_taken(message, error, now)
        return False

    def send_now(self, what: str, channel: str, text: MessageText, now: float) -> None:
        """Send a message at once, and only once.

        Raises:
            NotTaken: the other side did not take it.
        """
        name = f"{what}.{time.time_ns()}.{channel}"
        with self._records.transaction():
            self._records.queue(
                *(what, name, channel, text.subject, text.body), now=int(now), due=int(now) + DAY_S
            )
        (message,) = [m for m in self._records.messages(limit=20) if m.name == name]
        self._records.sending(message.id)
        try:
            self._hand_over(message)
        except NotTaken as error:
            self._records.not_sent(message.id, str(error), None)
            raise
        self._records.sent(message.id, now)

    def _hand_over(self, message: Outgoing) -> None:
        reply_to = self._identity(message.reply_to) if message.reply_to else ""
        self._sender(message.channel).send(message, self._identity(message.name), reply_to)

    def _identity(self, name: str) -> str:
        """The same for a message at each attempt; no other province has it."""
        safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
        return f"desalink.{self._nonce}.{safe}"

    def _not_taken(self, message: Outgoing, error: NotTaken, now: float) -> None:
        pause = min(_MOST_S, _FIRST_S * 2 ** min(message.attempts, 10))
        pause *= random.uniform(0.8, 1.2)  # nosec B311 # many provinces may wait for one server
        over = error.for_good or now + pause - message.planned_at > GIVE_UP_S
        self._records.not_sent(message.id, str(error), None if over else now + pause)
        self._log(
            "given_up" if over else "not_taken",
            level="error" if over else "warning",
            message=message.id,
            channel=message.channel,
            error=error,
        )
