"""Findings: what is wrong with a stream as a whole, each with its place in it (docs/wire.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from agent.wire import ids
from host_tools.derive.reading import Reading, uint
from host_tools.store.derived_rows import ClockTrouble, Declared, FindingRow
from host_tools.store.ranges import Range, RangeSet

NUMBER = "findings"  # in the detail of one that stands for several: how many
MOST_DECLARED = 2000  # `dropped` events that tell of one stream
MOST = 100  # of a slot and kind; if there are more, those of each stream are one


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


def as_one(rows: list[FindingRow], number: int | None = None) -> list[FindingRow]:
    """Findings of a stream as one, which says how many they are.

    Args:
        number: how many, if these are only the first and the last.
    """
    number = sum(map(count, rows)) if number is None else number
    if number < 2:
        return rows
    first = min(rows, key=lambda row: (row.boot, row.first_seq, row.last_seq, row.found_at))
    return [
        FindingRow(
            0,
            min(row.first_seq for row in rows),
            max(row.last_seq for row in rows),
            sum(row.missing for row in rows),
            first.found_at,
            json.dumps({NUMBER: number}),
        )
    ]


def count(row: FindingRow) -> int:
    """How many findings a row stands for."""
    return int(json.loads(row.detail).get(NUMBER, 1)) if row.detail else 1


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
    return as_one(found) if len(found) > MOST else found


def gaps(
    stored: RangeSet, declared: Iterable[Range], shown: Callable[[int], int]
) -> list[FindingRow]:
    """The holes that no device declares.

    Args:
        shown: when a report arrived, by its seq.
    """
    holes = list(RangeSet(stored.holes()).without(RangeSet(declared)))
    if len(holes) > MOST:
        missing = sum(last - first + 1 for first, last in holes)
        ends = FindingRow(0, holes[0][0], holes[-1][1], missing, shown(holes[0][1] + 1), "")
        return as_one([ends], len(holes))
    return [
        FindingRow(0, first, last, last - first + 1, shown(last + 1), "") for first, last in holes
    ]


def clocks(troubles: Iterable[ClockTrouble]) -> list[FindingRow]:
    """One for each boot with reports without a place in time, or with a clock from the future."""
    return [
        FindingRow(
            trouble.boot,
            trouble.first_seq,
            trouble.last_seq,
            0,
            trouble.received_at,
            json.dumps({"ahead_s": trouble.ahead_s}) if trouble.ahead_s else "",
        )
        for trouble in troubles
    ]
