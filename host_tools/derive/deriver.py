"""The derivation: brings the derived tables up to date with what was stored since.

It takes the slots in turns. Of each it derives the chunks of streams in which something is new,
then the boots and outages that these change, then the times that those change. Each is made by the
rules of docs/wire.md from all evidence on which it depends, so the order of arrival does not
matter. A step is one short transaction. The tables `dirty` and `stale` hold what is left to do.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace

from agent.wire import ids
from host_tools.derive import findings
from host_tools.derive.boots import find_off, take_booted
from host_tools.derive.findings import Kind
from host_tools.derive.outages import MOST_EVENTS, Surroundings, outages_of
from host_tools.derive.placing import place
from host_tools.derive.reading import DAY_S, Reading
from host_tools.derive.readings import Readings
from host_tools.derive.slot import Slot, hours_of
from host_tools.derive.ups import Ups
from host_tools.store.database import Database
from host_tools.store.derived import (
    BootRow,
    Derived,
    FindingRow,
    LatestRow,
    OutageRow,
    Piece,
    Span,
    Told,
    Work,
)
from host_tools.store.evidence import (
    StoredReport,
    Stream,
    Streams,
    corrupt,
    malformed_digests,
    report_message,
    stored_chunk,
)
from host_tools.store.schema import CHUNK
from host_tools.wire import Report, hash8

STEP_S = 0.25  # of one transaction, so that whoever else writes does not wait
_CHUNKS = 64  # of a slot at once
_SLICE_S = DAY_S  # of a slot's time at once
# Of a slot at once, about in reports: nothing that a device reports makes a step long.
_MOST_COST = 2000
_BOOT_COST, _EVENTS_PER_COST = 10, 4

BootKey = tuple[int, int]  # stream id, boot


@dataclass(slots=True)
class _Changes:
    """What chunks have changed of a slot."""

    boots: dict[BootKey, list[Piece]] = field(default_factory=dict)
    outages: set[BootKey] = field(default_factory=set)  # boots with other events of outages
    booted: set[BootKey] = field(default_factory=set)  # boots with other events of their start
    streams: set[int] = field(default_factory=set)
    declared: set[tuple[bytes, bytes]] = field(default_factory=set)
    clocks: set[int] = field(default_factory=set)  # streams with other troubles of clocks
    spans: list[Span] = field(default_factory=list)
    moved: bool = False
    now: int = 0
    cost: int = 0  # of what was done, about in reports

    @property
    def enough(self) -> bool:
        """Whether the rest has to wait for another turn."""
        return self.cost >= _MOST_COST

    def span(self, begin: int | None, end: int | None) -> None:
        if begin is not None and end is not None and end >= begin:
            self.spans.append((begin, end))


class Deriver:
    """Derives from an open database, within the process that stores reports."""

    def __init__(self, db: Database, streams: Streams, suffix: str = "") -> None:
        self._db = db
        self._streams = streams
        self._derived = Derived(db, suffix)
        self._readings = Readings(db, self._derived)
        self._after = -1
        self.load()

    def load(self) -> None:
        """Forget what was remembered of the database, after a transaction that failed."""
        self._readings.forget()
        # Most streams have none: they shall cost no query.
        self._found = self._derived.with_findings(Kind)
        self._seen: set[int] = set()
        self._corrupt = {row[0] for row in corrupt(self._db)}

    def take(self, row: StoredReport, report: Report) -> None:
        """Keep a report that was just stored, so that it is not decoded a second time."""
        self._readings.take(row, report)

    def pending(self) -> int:
        """How many reports are stored and not derived yet; 0: everything is derived."""
        return self._derived.pending()

    def step(self, limit: int = 200, seconds: float = STEP_S) -> int:
        """Derive some more; returns how many reports that were, 0 when nothing is left.

        Args:
            limit, seconds: stop after so many reports, or so long.

        Raises:
            StoreBusy, StoreFull: nothing was changed; call `load` and try again later.
        """
        end = time.monotonic() + seconds
        done, worked = 0, False
        with self._db.transaction(durable=False):
            while done < limit and time.monotonic() < end:
                slot_id = self._derived.next_slot(self._after)
                if slot_id is None:
                    break
                self._after, worked = slot_id, True
                done += self._slot(slot_id, end)
        return max(done, int(worked))

    def _slot(self, slot_id: int, end: float) -> int:
        """Derive some of a slot."""
        derived = self._derived
        changes = _Changes()
        latest = derived.latest(slot_id) or LatestRow(slot_id, 0, 0, None, 60)
        slot = Slot(derived, self._readings, self._streams, latest)
        redone = self._redo(slot_id, derived.redo(slot_id, _MOST_COST), changes, latest)
        done = 0
        for work in [] if changes.enough else derived.work(slot_id, _CHUNKS):
            first = work.chunk * CHUNK
            stored = self._streams.by_id(work.stream_id).ranges.count(first, first + CHUNK - 1)
            self._readings.renew(work, stored)
            self._chunk(slot_id, work, changes, latest)
            derived.work_done(slot_id, work)
            done += work.reports
            if changes.enough:
                break
        if changes.streams:
            self._boots(slot_id, changes, latest)
            self._streams_of(changes)
        if changes.streams or redone:
            slot.renew_latest()
            derived.put_latest(latest)
            spans = [slot.affected(*span) for span in hours_of(changes.spans)]
            for begin, until in spans:
                at = begin
                if until - begin <= _SLICE_S and time.monotonic() < end:
                    at = slot.paint(begin, until)
                if at < until:
                    derived.put_stale(slot_id, [(at, until)])
        while (rest := derived.stale(slot_id)) is not None:
            at = slot.paint(rest[0], min(rest[1], rest[0] + _SLICE_S))
            if at < rest[1]:
                derived.put_stale(slot_id, [(at, rest[1])])
            if time.monotonic() > end:
                return done
        now = derived.now(slot_id)
        if now is not None:
            derived.note_change(slot_id, *now)
        return done

    def _redo(
        self, slot_id: int, boots: list[BootKey], changes: _Changes, latest: LatestRow
    ) -> int:
        """Find the outages of boots again; returns of how many. The others wait."""
        for number, key in enumerate(boots):
            if changes.enough:
                self._derived.put_redo(slot_id, boots[number:])
                return number
            self._outages(slot_id, key, changes, latest)
        return len(boots)

    # ---- chunks ----------------------------------------------------------------------------

    def _chunk(self, slot_id: int, work: Work, changes: _Changes, latest: LatestRow) -> None:
        derived = self._derived
        stream_id, chunk = work.stream_id, work.chunk
        readings = self._readings.chunk(stream_id, chunk)
        changes.streams.add(stream_id)
        boots: dict[int, list[Reading]] = {}
        for reading in readings:
            boots.setdefault(reading.boot, []).append(reading)
        old_pieces = derived.pieces(stream_id, chunk, boots)
        changes.cost += len(readings) + _BOOT_COST * len(boots)
        for boot, its in boots.items():
            old = old_pieces.get(boot)
            clockless = [reading for reading in its if reading.offset is None]
            if clockless:
                self._place(boot, chunk, its, clockless)
            new = _piece(slot_id, boot, chunk, its)
            fresh = [r for r in its if work.first_seq <= r.seq <= work.last_seq]
            if (
                old is not None
                and _anchors(old) != _anchors(new)
                or (old is None and new.first_anchor is not None)
            ):
                derived.mark_moved(slot_id, stream_id, boot, chunk)
            if clockless or (old is not None and (old.clockless or _shrunk(old, new))):
                changes.moved = True
                for piece in (old, new):
                    if piece is not None:
                        changes.span(piece.t_begin, piece.t_end)
            for reading in fresh:
                if reading.t is not None and reading.n:
                    changes.span(reading.t, reading.end)
            if old != new:
                derived.put_piece(new)
            if new.t_begin is not None and new.t_end is not None:
                latest.longest_s = max(latest.longest_s, new.t_end - new.t_begin)
            latest.received_at = max(latest.received_at, new.received_at)
            changes.now = max(changes.now, new.received_at)
            key = (stream_id, boot)
            changes.boots.setdefault(key, []).append(new)
            if any(p is not None and _troubled(p) for p in (old, new)):
                changes.clocks.add(stream_id)
            self._events(key, its if clockless else fresh, changes)
        self._claims(slot_id, stream_id, chunk, readings, changes)

    def _place(
        self, boot: int, chunk: int, readings: list[Reading], clockless: list[Reading]
    ) -> None:
        stream_id = readings[0].stream_id
        before, after = self._derived.anchors_around(stream_id, boot, chunk)
        anchors = [(r.seq, r.offset) for r in readings if r.offset is not None]
        place(clockless, [*filter(None, [before]), *anchors, *filter(None, [after])])
        known = self._derived.placements(stream_id, chunk)
        for reading in clockless:
            if known.get(reading.seq) != reading.t:
                self._derived.put_placement(stream_id, reading.seq, reading.t)

    def _events(self, key: BootKey, readings: list[Reading], changes: _Changes) -> None:
        told = [
            Told(
                r.seq,
                number,
                event.kind,
                r.up + event.offset,
                None if r.t is None else r.t + event.offset,
                r.received_at,
                event.detail,
            )
            for r in readings
            for number, event in r.events
        ]
        if told:
            self._derived.put_events(*key, told)
            changes.cost += len(told) // _EVENTS_PER_COST
            if any(event.kind != ids.BOOTED for event in told):
                changes.outages.add(key)
            if any(event.kind == ids.BOOTED for event in told):
                changes.booted.add(key)

    def _claims(
        self,
        slot_id: int,
        stream_id: int,
        chunk: int,
        readings: list[Reading],
        changes: _Changes,
    ) -> None:
        """Chain, lost journals and declared losses of a chunk, and the link that follows it."""
        stream = self._streams.by_id(stream_id)
        first, end = chunk * CHUNK, chunk * CHUNK + CHUNK
        self._links(slot_id, stream_id, chunk, readings, changes.now)
        # Else the link is checked when the next chunk is derived.
        if end in stream.ranges and not self._readings.waits(stream_id, chunk + 1):
            following = self._readings.chunk(stream_id, chunk + 1)
            self._links(slot_id, stream_id, chunk + 1, following, changes.now)
        if not any(reading.claims for reading in readings):
            return
        lost = findings.of_batch(findings.lost_streams(readings))
        self._settle(Kind.STREAM_LOST, slot_id, stream_id, (first, end - 1), lost, changes.now)
        declared = findings.declarations(readings, stream.kid, stream.stream)
        self._derived.put_declared(declared)
        changes.declared.update((row.kid, row.stream) for row in declared)

    def _links(
        self, slot_id: int, stream_id: int, chunk: int, readings: list[Reading], now: int
    ) -> None:
        """The links of the chain from the reports of a chunk to those before them."""
        ranges = self._streams.by_id(stream_id).ranges
        first, last = chunk * CHUNK, chunk * CHUNK + CHUNK - 1
        digests = {reading.seq: reading.digest for reading in readings}
        before = [reading.seq - 1 for reading in readings]
        if any(seq in ranges and seq not in digests for seq in before if seq >= first):
            digests |= malformed_digests(self._db, stream_id, first, last)
        if first - 1 in before and first - 1 in ranges:
            self._digest(digests, stream_id, first - 1)
        breaks = findings.of_batch(findings.chain_breaks(readings, digests))
        self._settle(Kind.CHAIN_BREAK, slot_id, stream_id, (first, last), breaks, now)

    def _digest(self, digests: dict[int, bytes], stream_id: int, seq: int) -> None:
        known = self._readings.digest(stream_id, seq)
        if known is not None:
            digests[seq] = known
            return
        message = report_message(self._db, stream_id, seq)
        if message is not None and stored_chunk(self._db, stream_id, seq, seq):
            digests[seq] = hash8(message)
        elif message is None:
            digests |= malformed_digests(self._db, stream_id, seq, seq)

    # ---- boots and outages -----------------------------------------------------------------

    def _boots(self, slot_id: int, changes: _Changes, latest: LatestRow) -> None:
        derived = self._derived
        outages = set(changes.outages)
        for key in sorted(changes.boots):
            old = derived.boot(*key)
            boot = replace(old) if old is not None else BootRow(*key, slot_id)
            if old is None or changes.moved:
                boot.first_t, boot.last_t = derived.boot_extent(*key)
            else:
                for piece in changes.boots[key]:
                    if piece.t_begin is not None and piece.t_end is not None:
                        boot.first_t = min(piece.t_begin, boot.first_t or piece.t_begin)
                        boot.last_t = max(piece.t_end, boot.last_t or 0)
            boot.offset = derived.newest_offset(*key)
            if key in changes.booted:
                told = derived.events(*key, (ids.BOOTED,), 1)
                take_booted(boot, told[0])
            if boot == old:
                continue
            derived.put_boot(boot)
            if old is None or boot.untold:
                outages.add(key)
            if old is not None and old.lasting:
                # One that lasts reaches as far as the samples of its boot.
                since = derived.lasting_since(*key)
                ends = [max(since or 0, t or 0) for t in (old.last_t, boot.last_t)]
                changes.span(min(ends), max(ends))
            before = derived.boot_before(*key)
            self._offs(boot, before, changes, latest)
            if before is not None and before.untold:
                outages.add((before.stream_id, before.boot))
        if changes.moved:
            derived.redo_untold(slot_id)
            outages.update(derived.redo(slot_id, _MOST_COST))
        else:
            outages.update(derived.lasting_boots(slot_id))
        self._redo(slot_id, sorted(outages), changes, latest)
        for stream_id in changes.clocks:
            for kind, trouble in ((Kind.UNPLACED, "unplaced"), (Kind.FUTURE_CLOCK, "future")):
                rows = findings.clocks(
                    derived.clock_troubles(stream_id, trouble, findings.MOST + 1)
                )
                if len(rows) > findings.MOST:
                    rows = [findings.many(derived.all_clock_troubles(stream_id, trouble))]
                self._settle(kind, slot_id, stream_id, (0, 2**32), rows, changes.now)

    def _offs(
        self, boot: BootRow, before: BootRow | None, changes: _Changes, latest: LatestRow
    ) -> None:
        """Find the off times before a boot and before the next one again."""
        derived = self._derived
        after = derived.boot_after(boot.stream_id, boot.boot)
        for its, earlier in ((boot, before), (after, boot)):
            if its is None or (its.cause is None and its.off_state is None):
                continue
            old = (its.off_begin, its.off_end, its.off_state)
            find_off(its, earlier)
            if old != (its.off_begin, its.off_end, its.off_state):
                derived.put_boot(its)
                for begin, end in (old[:2], (its.off_begin, its.off_end)):
                    changes.span(begin, end)
                    if begin is not None and end is not None:
                        latest.longest_s = max(latest.longest_s, end - begin)

    def _outages(self, slot_id: int, key: BootKey, changes: _Changes, latest: LatestRow) -> None:
        """Find the outages of a boot again."""
        derived = self._derived
        boot = derived.boot(*key)
        if boot is None:
            return
        told = derived.events(*key, (ids.OUTAGE_BEGAN, ids.OUTAGE_ENDED), MOST_EVENTS)
        old = derived.outages_of_boot(*key)
        changes.cost += _BOOT_COST + (len(told) + len(old)) // _EVENTS_PER_COST
        if not told and not old:
            return
        ups: list[Ups] = []
        after = derived.boot_after(*key)
        new = outages_of(
            told,
            Surroundings(
                lambda seq, up: self._up_again(key, seq, up, ups),
                boot.last_t,
                after is not None,
                after.alive_t if after is not None else None,
                derived.last_of_others(slot_id, *key),
            ),
        )
        gone, come = _without(old, new), _without(new, old)
        derived.change_outages(slot_id, *key, gone, come)
        for outage in (*gone, *come):
            begin, end = outage.t_begin, outage.t_end
            if begin is not None:
                end = max(begin, boot.last_t or begin) if end is None else end
                changes.span(begin, end)
                latest.longest_s = max(latest.longest_s, end - begin)
        untold = sum(outage.duration is None for outage in new)
        lasting = sum(_lasts(outage) for outage in new)
        if (untold, lasting) != (boot.untold, boot.lasting):
            boot.untold, boot.lasting = untold, lasting
            derived.put_boot(boot)

    def _up_again(self, key: BootKey, seq: int, up: int, ups: list[Ups]) -> int | None:
        """When the first sample of a boot says up, from a seq on and from `up` on.

        Args:
            ups: of the boot; empty until it is needed.
        """
        stream_id, boot = key
        if not ups:
            ups.append(Ups(self._derived.last_ups(stream_id, boot)))
        for chunk in ups[0].chunks(seq // CHUNK, up):
            for reading in self._readings.chunk(stream_id, chunk):
                if reading.boot != boot or reading.seq < seq or reading.t is None:
                    continue
                for i, state in enumerate(reading.values(ids.STATE)):
                    if state == ids.UP and reading.up + i * reading.step >= up:
                        return reading.t + i * reading.step
        return None

    # ---- streams ---------------------------------------------------------------------------

    def _streams_of(self, changes: _Changes) -> None:
        """Gaps and declared losses of streams."""
        derived = self._derived
        streams = {self._streams.by_id(stream_id) for stream_id in changes.streams}
        for kid, name in changes.declared:
            stream = self._streams.find(kid, name)
            if stream is not None:
                streams.add(stream)
        for stream in streams:
            if stream.id in self._corrupt or (stream.id, str(Kind.CORRUPT)) in self._found:
                self._note_corrupt(stream)
            both = (stream.kid, stream.stream)
            if (
                stream.ranges.whole
                and not self._found.intersection((stream.id, kind) for kind in ("gap", "dropped"))
                and both not in changes.declared
                # What was declared before the stream was known counts.
                and stream.id in self._seen
            ):
                continue
            self._seen.add(stream.id)
            declared = derived.declared(stream.kid, stream.stream)
            slot_id = self._streams.slot_id(stream)
            whole = (0, 2**32)
            dropped = findings.dropped(declared)
            self._settle(Kind.DROPPED, slot_id, stream.id, whole, dropped, changes.now)
            found = findings.gaps(
                stream.ranges, [(row.first_seq, row.last_seq) for row in declared]
            )
            rows = [
                FindingRow(0, first, last, missing, self._shown(stream.id, last + 1), "")
                for first, last, missing in found
            ]
            self._settle(Kind.GAP, slot_id, stream.id, whole, rows, changes.now)

    def _note_corrupt(self, stream: Stream) -> None:
        rows = [
            FindingRow(0, seq, seq, 0, found_at, json.dumps({"why": detail}))
            for stream_id, seq, found_at, detail in corrupt(self._db)
            if stream_id == stream.id
        ]
        now = max((row.found_at for row in rows), default=int(time.time()))
        slot_id = self._streams.slot_id(stream)
        self._settle(Kind.CORRUPT, slot_id, stream.id, (0, 2**32), rows, now)

    def _shown(self, stream_id: int, seq: int) -> int:
        """When the report arrived that shows a gap before it."""
        found = stored_chunk(self._db, stream_id, seq, seq)
        return found[0].received_at if found else 0

    def _settle(
        self,
        kind: Kind,
        slot_id: int,
        stream_id: int,
        seqs: Span,
        rows: list[FindingRow],
        now: int,
    ) -> None:
        key = (stream_id, str(kind))
        if rows:
            self._found.add(key)
        elif key not in self._found:
            return
        self._derived.settle(kind, slot_id, stream_id, seqs, rows, now)


def _without(outages: list[OutageRow], others: list[OutageRow]) -> list[OutageRow]:
    """The outages that are not, just so, among others of the boot."""
    known = {(other.begin_up, other.cause): other for other in others}
    return [o for o in outages if known.get((o.begin_up, o.cause)) != o]


def _lasts(outage: OutageRow) -> bool:
    return outage.t_begin is not None and outage.t_end is None


def _anchors(piece: Piece) -> tuple[int | None, ...]:
    return piece.first_anchor, piece.first_offset, piece.last_anchor, piece.last_offset


def _shrunk(old: Piece, new: Piece) -> bool:
    """Whether a piece covers less than before: reports of it were found corrupt."""
    if old.t_begin is None or old.t_end is None:
        return False
    return (
        new.t_begin is None
        or new.t_end is None
        or new.t_begin > old.t_begin
        or new.t_end < old.t_end
    )


def _troubled(piece: Piece) -> bool:
    return piece.unplaced_first is not None or piece.future_first is not None


def _piece(slot_id: int, boot: int, chunk: int, readings: list[Reading]) -> Piece:
    """What the reports of a boot in a chunk say together; ascending by seq."""
    piece = Piece(readings[0].stream_id, boot, chunk, slot_id)
    for r in readings:
        piece.received_at = max(piece.received_at, r.received_at)
        if r.offset is not None:
            if piece.first_anchor is None:
                piece.first_anchor, piece.first_offset = r.seq, r.offset
            piece.last_anchor, piece.last_offset = r.seq, r.offset
        else:
            piece.clockless += 1
        if r.ahead:
            if piece.future_first is None:
                piece.future_first, piece.ahead = r.seq, r.ahead
            piece.future_last = r.seq
        if r.t is None:
            if piece.unplaced_first is None:
                piece.unplaced_first = r.seq
            piece.unplaced_last = r.seq
            continue
        piece.offset = r.t - r.up
        if r.n:
            piece.t_begin = r.t if piece.t_begin is None else min(piece.t_begin, r.t)
            piece.t_end = r.end if piece.t_end is None else max(piece.t_end, r.end)
            up = r.last_up()
            if up is not None:
                piece.last_up = up if piece.last_up is None else max(piece.last_up, up)
    return piece
