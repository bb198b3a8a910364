"""Trying the quarantine again from outside of a running ingest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from host_tools.derive import Deriver
from host_tools.ingest.acks import Acks
from host_tools.ingest.keys import KeySource
from host_tools.ingest.pipeline import Pipeline
from host_tools.store import lock, open_database
from host_tools.store.meta import get_meta, set_meta
from host_tools.store.quarantine import Quarantine
from host_tools.store.streams import Streams

REQUEST = "quarantine_retry"  # in `meta`; the ingest retries when it has grown


@dataclass(frozen=True)
class Retried:
    """What left the quarantine, and how many messages stay in it."""

    reports: int
    births: int
    left: int


def request_retry(database: Path) -> None:
    """Ask the ingest that works on a database to try its quarantine again.

    Raises:
        StoreMissing, StoreBusy, StoreFull: the request could not be written.
    """
    with open_database(database) as db, db.transaction():
        set_meta(db, REQUEST, max(int(time.time()), get_meta(db, REQUEST) + 1))


def retry_now(database: Path, keys: KeySource) -> Retried:
    """Try the quarantine of a database again that no ingest works on.

    Raises:
        StoreLocked: one does.
        StoreMissing, StoreBusy, StoreFull: the database is not there, or can't be written.
    """
    with lock(database), open_database(database) as db:
        streams = Streams(db)
        # The next ingest publishes the acks: it answers every birth.
        pipeline = Pipeline(db, streams, Acks(1, 0), keys.load())
        outcome = pipeline.retry(time.monotonic())
        deriver = Deriver(db, streams)
        while deriver.step():
            pass
        left = Quarantine(db).total()
    return Retried(outcome.reports, outcome.births, left)
