"""Notes devices' sessions and that the ingest is at work, for `desalink status`."""

from __future__ import annotations

from collections.abc import Iterable

from host_tools.ingest.pipeline import Message
from host_tools.province.settings import CHECK_VILLAGE
from host_tools.store import Database
from host_tools.store.sessions import save_alive, save_sessions
from host_tools.wire.reasons import Refused
from host_tools.wire.topics import parse_topic

ALIVE_S = 20
_STATES = {b"online": True, b"offline": False}


class Presence:
    """What is not written yet. It is written at most as often as `save` is called."""

    def __init__(self) -> None:
        self._states: dict[str, bool] = {}
        self._alive_at = 0.0
        self._connected: bool | None = None

    def take(self, messages: Iterable[Message]) -> list[Message]:
        """Remember the `state` messages; returns the others."""
        others = []
        for message in messages:
            if not message.topic.endswith("/state"):
                others.append(message)
                continue
            try:
                topic = parse_topic(message.topic)
            except Refused:
                continue
            state = _STATES.get(message.payload)
            if state is not None and topic.village != CHECK_VILLAGE:
                self._states[topic.slot] = state
        return others

    def save(self, db: Database, at: int, now: float, *, connected: bool) -> None:
        """Write what is new.

        Args:
            at: Unix time. now: monotonic seconds.

        Raises:
            StoreBusy, StoreFull: it stays for the next time.
        """
        due = now - self._alive_at >= ALIVE_S or connected != self._connected
        if not due and not self._states:
            return
        with db.transaction(durable=False):
            save_sessions(db, self._states, at)
            if due:
                save_alive(db, at, connected=connected)
        self._states = {}
        if due:
            self._alive_at, self._connected = now, connected
