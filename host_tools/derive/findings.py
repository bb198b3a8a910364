"""Findings: what is wrong with a stream as a whole, each with its place in it (docs/wire.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum

from agent.wire import ids
from host_tools.derive.reading import Reading, uint
from host_tools.store.derived import Declared, FindingRow, Piece
from host_tools.store.ranges import Range, RangeSet

_MOST = 100  # of one stream and kind; more are shown as one


class Kind(StrEnum):
    """One word for each finding; stored in the database as it is."""

    GAP = "gap"
    DROPPED = "dropped"
    CHAIN_BREAK = "chain_break"
    FUTURE_CLOCK = "future_clock"
    UNPLACED = "unplaced"
    STREAM_LOST = "stream_lost"
    CORRUPT = "corrupt"


def chain_breaks(readings: Iterable[Reading], digests: Mapping[int, bytes]) -> list[FindingRow]:
    """The links that do not match.

    Args:
        digests: of each report before one of these, by seq, where it is known.
    """
    return [
        FindingRow(0, r.seq, r.seq, 0, r.received_at, "")
        for r in readings
        if (r.prev is None) != (r.seq == 1)
        or (r.prev is not None and digests.get(r.seq - 1, r.prev) != r.prev)
    ]


def lost_streams(readings: Iterable[Reading]) -> list[FindingRow]:
    """The reports that say that the journal before was lost."""
    found = []
    for reading in readings:
        for _, event in reading.claims:
            detail = event.detail
            if event.kind == ids.STREAM_BEGAN and detail.get(1) == ids.STREAM_LOST:
                text = json.dumps(
                    {"before": detail.get(2), "last_seq": detail.get(3)}, default=bytes.hex
                )
                seq = reading.seq
                found.append(FindingRow(0, seq, seq, 0, reading.received_at, text))
                break
    return found


def declarations(readings: Iterable[Reading], kid: bytes, stream: bytes) -> list[Declared]:
    """What reports say that their device has lost."""
    found = []
    for reading in readings:
        for number, event in reading.claims:
            span, other = event.detail.get(2), event.detail.get(3)
            if event.kind != ids.DROPPED or not (
                isinstance(span, list)
                and len(span) == 2
                and all(type(seq) is int for seq in span)
                and 1 <= span[0] <= span[1] <= 0xFFFFFFFF
            ):
                continue
            found.append(
                Declared(
                    reading.stream_id,
                    reading.seq,
                    number,
                    kid,
                    other if isinstance(other, bytes) else stream,
                    span[0],
                    span[1],
                    uint(event.detail.get(1)) or 0,
                    reading.received_at,
                )
            )
    return found


def dropped(declared: Iterable[Declared]) -> list[FindingRow]:
    """What is declared, as one where ranges of the same reason overlap: a device repeats it, and
    more, whenever the report that said so may be lost."""
    found: list[FindingRow] = []
    for row in sorted(declared, key=lambda d: (d.reason, d.first_seq, d.last_seq)):
        detail = json.dumps({"reason": row.reason})
        last = found[-1] if found else None
        if last is not None and last.detail == detail and row.first_seq <= last.last_seq:
            found[-1] = last._replace(
                last_seq=max(last.last_seq, row.last_seq),
                found_at=min(last.found_at, row.received_at),
            )
        else:
            found.append(FindingRow(0, row.first_seq, row.last_seq, 0, row.received_at, detail))
    if len(found) > _MOST:
        first, end = min(row.first_seq for row in found), max(row.last_seq for row in found)
        text = json.dumps({"findings": len(found)})
        return [FindingRow(0, first, end, 0, min(row.found_at for row in found), text)]
    return found


def gaps(stored: RangeSet, declared: Iterable[Range]) -> list[tuple[int, int, int]]:
    """First and last seq of the holes that no device declares, and how many are missing."""
    holes = RangeSet(stored.holes()).without(RangeSet(declared))
    found = [(first, last, last - first + 1) for first, last in holes]
    if len(found) > _MOST:
        return [(found[0][0], found[-1][1], sum(missing for *_, missing in found))]
    return found


def unplaced(boot: int, pieces: Iterable[Piece]) -> list[FindingRow]:
    """One for a boot with reports without a place in time."""
    found = [p for p in pieces if p.unplaced_first is not None]
    if not found:
        return []
    first, last = found[0].unplaced_first, found[-1].unplaced_last
    assert first is not None and last is not None
    return [FindingRow(boot, first, last, 0, found[0].received_at, "")]


def future_clock(boot: int, pieces: Iterable[Piece]) -> list[FindingRow]:
    """One for a boot with a clock from the future."""
    found = [p for p in pieces if p.future_first is not None]
    if not found:
        return []
    first, last = found[0].future_first, found[-1].future_last
    assert first is not None and last is not None
    detail = json.dumps({"ahead_s": found[0].ahead})
    return [FindingRow(boot, first, last, 0, found[0].received_at, detail)]
