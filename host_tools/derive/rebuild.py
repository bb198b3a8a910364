"""Making every derived table again, from evidence that is verified once more.

It works into new tables beside those in use, in short transactions beside a running ingest, and
exchanges them at the end. After an interruption it goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from host_tools.archive.chain import DIRECTORY, Chain
from host_tools.derive.deriver import Deriver
from host_tools.store.archived import archives, check_chain, places
from host_tools.store.database import Database
from host_tools.store.derived_schema import REBUILDING
from host_tools.store.evidence import (
    evidence_after,
    mark_corrupt,
    mark_dirty,
    newest_report,
    report_message,
    seqs_after,
    stored_seqs,
)
from host_tools.store.generation import Generation
from host_tools.store.meta import get_meta, set_meta
from host_tools.store.pending import Pending
from host_tools.store.ranges import RangeSet
from host_tools.store.streams import Stream, Streams
from host_tools.wire import Keys, Refused, parse_report, topic_name
from host_tools.wire.envelope import byte_string_head, check_signature, signed_bytes, split

_GENERATION = "rebuild_generation"
_VERIFIED = "rebuild_verified"  # reports up to this id
_STREAMS_VERIFIED = "rebuild_streams_verified"  # streams up to this id, in the archive
_BEGUN = "rebuild_begun"  # the newest report of that moment
_ROWS = 500

Progress = Callable[[int, int], None]


def rebuild(db: Database, keys: Keys | None = None, progress: Progress | None = None) -> int:
    """Make every derived table again from the stored reports; returns how many there are.

    A report that is not what its device has signed counts as missing from now on, and a finding
    names it. The next ingest asks its device for it.

    Args:
        keys: of all devices; without them no signature is checked.
        progress: called now and then with how many are done and how many there are.

    Raises:
        ArchiveDamaged: a file of the archive is missing or was changed; nothing is derived then.
    """
    _check_archive(db)
    new = Generation(db, REBUILDING)
    if not new.exists():
        with db.transaction():
            generation = get_meta(db, _GENERATION) + 1
            set_meta(db, _GENERATION, generation)
            set_meta(db, _VERIFIED, 0)
            set_meta(db, _STREAMS_VERIFIED, 0)
            set_meta(db, _BEGUN, newest_report(db))
            new.create(generation)
    total = newest_report(db)
    verify(db, keys, lambda done: progress(done // 2, total) if progress else None)
    streams, pending = Streams(db), Pending(db, REBUILDING)
    for stream in streams.all():
        with db.transaction():
            seqs = stored_seqs(db, stream.id)
            _note_missing(db, stream, seqs)
            pending.mark_stream(streams.slot_id(stream), stream.id, seqs)
    streams.load()
    deriver, done = Deriver(db, streams, REBUILDING), 0
    while count := deriver.step(1000):
        done += count
        if progress is not None:
            progress(min(total, total // 2 + done // 2), total)
    with db.transaction():
        new.take_place()
        mark_dirty(db, seqs_after(db, get_meta(db, _BEGUN)))
    streams.load()
    deriver = Deriver(db, streams)
    while deriver.step(1000):
        pass
    return done


def verify(db: Database, keys: Keys | None, progress: Callable[[int], None]) -> None:
    """Verify every stored report; goes on where it stopped."""
    streams = {stream.id: stream for stream in Streams(db).all()}
    while rows := evidence_after(db, get_meta(db, _VERIFIED), _ROWS):
        now = int(time.time())
        with db.transaction(durable=False):
            for _, stream_id, seq, *index, _, message in rows:
                trouble = _trouble(streams.get(stream_id), seq, index, message, keys)
                if trouble:
                    mark_corrupt(db, stream_id, seq, now, trouble)
            set_meta(db, _VERIFIED, rows[-1][0])
        progress(rows[-1][0])
    for stream in sorted(streams.values(), key=lambda stream: stream.id):
        if stream.id > get_meta(db, _STREAMS_VERIFIED):
            _verify_archived(db, stream, keys)


def _check_archive(db: Database) -> None:
    """Make sure that the archive is the one that was written: signatures cover no dates of
    receipt."""
    if archives(db):
        chain = Chain(db.path.parent / DIRECTORY)
        check_chain(db, chain)
        for listed in chain:
            chain.check(listed)


def _verify_archived(db: Database, stream: Stream, keys: Keys | None) -> None:
    """Verify the reports of a stream that are in the archive."""
    now = int(time.time())
    bad = {
        report.seq: (report.message, trouble)
        for place in places(db, stream.id)
        for report in db.archive.read(place).values()
        if (trouble := _trouble(stream, report.seq, list(report[4:7]), report.message, keys))
    }
    with db.transaction(durable=False):
        for seq, (message, trouble) in bad.items():
            # Another one that is stored again may be good.
            if report_message(db, stream.id, seq) == message:
                mark_corrupt(db, stream.id, seq, now, trouble)
        set_meta(db, _STREAMS_VERIFIED, stream.id)


def _trouble(
    stream: Stream | None, seq: int, index: list[Any], message: Any, keys: Keys | None
) -> str | None:
    """What is wrong with a stored report; None: it is what its device has signed."""
    if stream is None:
        return "it belongs to no stream"
    if not isinstance(message, bytes):
        return "the message is no byte string"
    try:
        kid, begin = split(message)
        report = parse_report(message[begin:-66])
    except Refused as refused:
        return str(refused)
    if (kid, report.stream, report.seq) != (stream.kid, stream.stream, seq):
        return "the signed message is of another device, stream or number"
    if [report.boot, report.up, report.start] != index:
        return "the row and the signed message differ"
    if keys is None:
        return None
    key = keys.get(kid)
    if key is None or key.slot != stream.slot:
        return "its device is not enrolled for this slot"
    topic = topic_name(stream.slot, "report").encode()
    signed = signed_bytes(message, byte_string_head(len(topic)) + topic)
    return None if check_signature(key.public_key, signed) else "the signature does not verify"


def _note_missing(db: Database, stream: Stream, seqs: RangeSet) -> None:
    """Count reports as missing that are not among the seqs which are stored."""
    for first, last in stream.ranges.without(seqs):
        for seq in range(first, last + 1):
            mark_corrupt(db, stream.id, seq, int(time.time()), "its row is missing")
