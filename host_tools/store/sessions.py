"""What the broker says of devices' sessions, and when the ingest was last at work.

Hints for people, never evidence: no figure is made from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from host_tools.store.database import Database
from host_tools.store.dialect import or_change
from host_tools.store.evidence import newest_arrival
from host_tools.store.meta import get_meta, set_meta

_OR_CHANGED = or_change(
    "slot", "online = new.online, since = new.since WHERE online <> new.online"
)
_INGEST, _BROKER = "ingest_alive", "broker_alive"


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
    if connected:
        set_meta(db, _BROKER, at)


def liveness(db: Database) -> Liveness:
    """When the province's own side was last at work."""
    return Liveness(get_meta(db, _INGEST), get_meta(db, _BROKER), newest_arrival(db))
