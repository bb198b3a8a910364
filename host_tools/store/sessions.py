"""What the broker says of devices' sessions, and when the ingest was last at work.

Hints for people, never evidence: no figure is made from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from host_tools.store.database import Database
from host_tools.store.dialect import or_change
from host_tools.store.evidence import newest_arrival
from host_tools.store.meta import get_meta, set_meta

_OR_CHANGED = or_change(
    "slot", "online = new.online, since = new.since WHERE online <> new.online"
)
_INGEST, _BROKER = "ingest_alive", "broker_alive"
_DEAF_BEGIN, _DEAF_END = "deaf_begin", "deaf_end"

DEAF_S = 90
"""The ingest notes every 20 s that it hears its broker; after so long without it does not."""


@dataclass(frozen=True)
class SlotSession:
    """Whether a slot's device has a session at the broker, and since when (Unix time)."""

    online: bool
    since: int


@dataclass(frozen=True)
class Liveness:
    """When the province's own side was last at work; Unix times, 0: never.

    ingest: the ingest ran. broker: it was connected to the broker. message: a message arrived.
    """

    ingest: int
    broker: int
    message: int


def save_sessions(db: Database, states: Mapping[str, bool], at: int) -> None:
    """Keep what the broker said last of slots, within a transaction; `since` is of the change."""
    db.executemany(
        f"INSERT INTO sessions VALUES (?, ?, ?) {_OR_CHANGED}",
        [(slot, online, at) for slot, online in states.items()],
    )


def sessions(db: Database) -> dict[str, SlotSession]:
    """The last that is known, by slot."""
    rows = db.all("SELECT slot, online, since FROM sessions")
    return {slot: SlotSession(bool(online), since) for slot, online, since in rows}


def save_alive(db: Database, at: int, *, connected: bool) -> None:
    """Note that the ingest is at work, within a transaction."""
    set_meta(db, _INGEST, at)
    if not connected:
        return
    heard = get_meta(db, _BROKER)
    if heard and at - heard > DEAF_S:
        set_meta(db, _DEAF_BEGIN, heard)
        set_meta(db, _DEAF_END, at)
    set_meta(db, _BROKER, at)


class Hearing(NamedTuple):
    """What of the time before a moment the province could hear its villages in.

    until: that moment, or when the province last heard if it does not hear then. deaf: begin and
    end of the last time before in which it did not hear. Unix times.
    """

    until: float
    deaf: tuple[int, int]

    def is_within(self, seconds: float, since: int) -> bool:
        """Whether a village could be heard for no more than so many seconds since a time."""
        passed = self.until - since
        if passed <= seconds:
            return True
        begin, end = self.deaf
        return passed - max(0, min(end, self.until) - max(begin, since)) <= seconds


def hearing(db: Database, now: float) -> Hearing:
    """As of now."""
    heard = get_meta(db, _BROKER)
    until = heard if heard and now - heard > DEAF_S else now
    return Hearing(until, (get_meta(db, _DEAF_BEGIN), get_meta(db, _DEAF_END)))


def liveness(db: Database) -> Liveness:
    """When the province's own side was last at work."""
    return Liveness(get_meta(db, _INGEST), get_meta(db, _BROKER), newest_arrival(db))
