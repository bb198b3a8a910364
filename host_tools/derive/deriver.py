"""The derivation: brings the derived tables up to date with what was stored since.

It takes the slots in turns. Of each it derives the chunks of streams in which something is new,
then the boots and outages that these change, then the times that those change. Each is made by the
rules of docs/wire.md from all evidence on which it depends, so the order of arrival does not
matter. A step is one short transaction. The tables `dirty` and `stale` hold what is left to do.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache

from agent.wire import ids
from host_tools.derive.boots import find_off, take_booted
from host_tools.derive.changes import MOST_COST, BootKey, Changes
from host_tools.derive.outages import MOST_EVENTS, Surroundings, outages_of
from host_tools.derive.pieces import anchors, piece_of, shrunk, troubled
from host_tools.derive.placing import place
from host_tools.derive.reading import DAY_S, Reading
from host_tools.derive.readings import Readings
from host_tools.derive.slot import Slot, hours_of
from host_tools.derive.stream_findings import StreamFindings
from host_tools.derive.ups import Ups
from host_tools.store.database import Database
from host_tools.store.derived import Derived
from host_tools.store.derived_rows import BootRow, LatestRow, OutageRow, Told, Work
from host_tools.store.derived_schema import CHUNK
from host_tools.store.evidence import StoredReport
from host_tools.store.finding_table import FindingTable
from host_tools.store.pending import Pending
from host_tools.store.streams import Streams
from host_tools.store.timelines import Timelines
from host_tools.wire import Report

STEP_S = 0.25  # of one transaction, so that whoever else writes does not wait
_CHUNKS = 64  # of a slot at once
_SLICE_S = DAY_S  # of a slot's time at once
_BOOT_COST, _EVENTS_PER_COST = 10, 4


class Deriver:
    """Derives from an open database, within the process that stores reports."""

    def __init__(self, db: Database, streams: Streams, suffix: str = "") -> None:
        self._db = db
        self._streams = streams
        self._derived = Derived(db, suffix)
        self._pending = Pending(db, suffix)
        self._timelines = Timelines(db, suffix)
        self._readings = Readings(db, self._derived)
        self._findings = StreamFindings(
            db, self._derived, FindingTable(db, suffix), self._readings, streams
        )
        self._after = -1

    def load(self) -> None:
        """Forget what was remembered of the database, after a transaction that failed."""
        self._readings.forget()
        self._findings.load()

    def take(self, row: StoredReport, report: Report) -> None:
        """Keep a report that was just stored, so that it is not decoded a second time."""
        self._readings.take(row, report)

    def pending(self) -> int:
        """How many reports are stored and not derived yet; 0: everything is derived."""
        return self._pending.count()

    def step(self, limit: int = 200, seconds: float = STEP_S) -> int:
        """Derive some more; returns how many reports that were, 0 when nothing is left.

        Args:
            limit, seconds: stop after so many reports, or so long.

        Raises:
            StoreBusy, StoreFull: nothing was changed; call `load` and try again later.
        """
        done, worked = 0, False
        with self._db.transaction(durable=False):
            # Not before: the wait for another process is no part of it. One slot's turn is always
            # taken, because 0 says that nothing is left.
            end = time.monotonic() + seconds
            while done < limit and (not worked or time.monotonic() < end):
                slot_id = self._pending.next_slot(self._after)
                if slot_id is None:
                    break
                self._after, worked = slot_id, True
                done += self._slot(slot_id, end)
        return max(done, int(worked))

    def _slot(self, slot_id: int, end: float) -> int:
        changes = Changes()
        latest = self._timelines.latest(slot_id) or LatestRow(slot_id, 0, 0, None, 60)
        slot = Slot(self._derived, self._timelines, self._readings, self._streams, latest)
        redone = self._redo(slot_id, self._pending.redo(slot_id, MOST_COST), changes, latest)
        done = 0
        for work in [] if changes.enough else self._pending.work(slot_id, _CHUNKS):
            first = work.chunk * CHUNK
            stored = self._streams.by_id(work.stream_id).ranges.count(first, first + CHUNK - 1)
            self._readings.renew(work, stored)
            self._chunk(slot_id, work, changes, latest)
            self._pending.work_done(slot_id, work)
            done += work.reports
            if changes.enough:
                break
        if changes.streams:
            self._boots(slot_id, changes, latest)
            self._findings.take_streams(changes)
        if changes.streams or redone:
            slot.renew_latest()
            self._timelines.put_latest(latest)
            all_spans = [*changes.spans, *slot.explained(changes.begins)]
            spans = [slot.affected(*span) for span in hours_of(all_spans)]
            for begin, until in spans:
                at = begin
                if until - begin <= _SLICE_S and time.monotonic() < end:
                    at = slot.paint(begin, until)
                if at < until:
                    self._pending.put_stale(slot_id, [(at, until)])
        while (rest := self._pending.stale(slot_id)) is not None:
            at = slot.paint(rest[0], min(rest[1], rest[0] + _SLICE_S))
            if at < rest[1]:
                self._pending.put_stale(slot_id, [(at, rest[1])])
            if time.monotonic() > end:
                return done
        now = self._timelines.now(slot_id)
        if now is not None:
            self._timelines.note_change(slot_id, *now)
        return done

    def _redo(
        self, slot_id: int, boots: list[BootKey], changes: Changes, latest: LatestRow
    ) -> int:
        """Find the outages of boots again; returns of how many. The others wait."""
        for number, key in enumerate(boots):
            if changes.enough:
                self._pending.put_redo(slot_id, boots[number:])
                return number
            self._outages(slot_id, key, changes, latest)
        return len(boots)

    # ---- chunks ----------------------------------------------------------------------------

    def _chunk(self, slot_id: int, work: Work, changes: Changes, latest: LatestRow) -> None:
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
            new = piece_of(slot_id, boot, chunk, its)
            fresh = [r for r in its if work.first_seq <= r.seq <= work.last_seq]
            if (
                old is not None
                and anchors(old) != anchors(new)
                or (old is None and new.first_anchor is not None)
            ):
                self._pending.mark_moved(slot_id, stream_id, boot, chunk)
            if clockless or (old is not None and (old.clockless or shrunk(old, new))):
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
            if any(p is not None and troubled(p) for p in (old, new)):
                changes.clocks.add(stream_id)
            self._events(key, its if clockless else fresh, changes)
        self._findings.take_chunk(stream_id, chunk, readings, changes)

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

    def _events(self, key: BootKey, readings: list[Reading], changes: Changes) -> None:
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

    # ---- boots and outages -----------------------------------------------------------------

    def _boots(self, slot_id: int, changes: Changes, latest: LatestRow) -> None:
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
            if old is None or boot.untold:
                # Any sample of the boot may end an outage, or show how long it is known.
                outages.add(key)
            if boot == old:
                continue
            derived.put_boot(boot)
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
            self._pending.redo_untold(slot_id)
            outages.update(self._pending.redo(slot_id, MOST_COST))
        else:
            outages.update(derived.lasting_boots(slot_id))
        self._redo(slot_id, sorted(outages), changes, latest)

    def _offs(
        self, boot: BootRow, before: BootRow | None, changes: Changes, latest: LatestRow
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

    def _outages(self, slot_id: int, key: BootKey, changes: Changes, latest: LatestRow) -> None:
        derived = self._derived
        boot = derived.boot(*key)
        if boot is None:
            return
        told = derived.events(*key, (ids.OUTAGE_BEGAN, ids.OUTAGE_ENDED), MOST_EVENTS)
        old = derived.outages_of_boot(*key)
        changes.cost += _BOOT_COST + (len(told) + len(old)) // _EVENTS_PER_COST
        if not told and not old:
            return
        ups = cache(lambda: Ups(derived.sampled(*key)))
        new = outages_of(
            told,
            Surroundings(
                lambda seq, up: self._up_again(key, seq, up, ups()),
                lambda t: ups().sampled_until(t),
                derived.boot_after(*key) is not None,
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
                changes.begins.append(begin)
                latest.longest_s = max(latest.longest_s, end - begin)
        untold = sum(outage.duration is None for outage in new)
        lasting = sum(_lasts(outage) for outage in new)
        if (untold, lasting) != (boot.untold, boot.lasting):
            boot.untold, boot.lasting = untold, lasting
            derived.put_boot(boot)

    def _up_again(self, key: BootKey, seq: int, up: int, ups: Ups) -> int | None:
        """When the first sample of a boot says up, from a seq on and from `up` on."""
        stream_id, boot = key
        for chunk in ups.chunks(seq // CHUNK, up):
            for reading in self._readings.chunk(stream_id, chunk):
                if reading.boot != boot or reading.seq < seq or reading.t is None:
                    continue
                for i, state in enumerate(reading.values(ids.STATE)):
                    if state == ids.UP and reading.up + i * reading.step >= up:
                        return reading.t + i * reading.step
        return None


def _without(outages: list[OutageRow], others: list[OutageRow]) -> list[OutageRow]:
    """The outages that are not, just so, among others of the boot."""
    known = {(other.begin_up, other.cause): other for other in others}
    return [o for o in outages if known.get((o.begin_up, o.cause)) != o]


def _lasts(outage: OutageRow) -> bool:
    return outage.t_begin is not None and outage.t_end is None
