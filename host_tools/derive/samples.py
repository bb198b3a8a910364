"""The samples of a slot, decoded from the signed reports when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import NamedTuple

from host_tools.derive.reading import reading_of
from host_tools.derive.readings import Readings
from host_tools.store.database import Database
from host_tools.store.derived import Derived
from host_tools.store.derived_schema import CHUNK
from host_tools.store.evidence import report_message, reports_at, stream_name
from host_tools.store.queries.common import slots_of
from host_tools.store.timelines import Timelines
from host_tools.wire import Refused, Report, decode_columns, parse_report
from host_tools.wire.columns import SCALES, decode_column
from host_tools.wire.envelope import split


class Thinned(NamedTuple):
    """Figures of one report in `every`: the time of its first sample, and the mean of each metric
    by its name, in the metric's unit; None: not measured."""

    every: int
    figures: list[tuple[int, dict[str, float | None]]]


class SlotSample(NamedTuple):
    """What was measured from t on for `step` seconds: scaled integers by the metric's name."""

    t: int
    step: int
    stream: bytes
    seq: int
    values: dict[str, int | None]


def samples(db: Database, slot: str, begin: int = 0, end: int = 2**40) -> Iterator[SlotSample]:
    """The samples of a slot that touch the time from begin to end, by stream and seq."""
    derived = Derived(db)
    readings = Readings(db, derived)
    slot_id = next(iter(slots_of(db, None, slot)), None)
    if slot_id is None:
        return
    longest_s = Timelines(db).longest(slot_id)
    for stream_id, chunk in sorted(derived.chunks_in(slot_id, begin, end, longest_s)):
        stream = stream_name(db, stream_id)
        for reading in readings.between([(stream_id, chunk)], begin, end):
            message = report_message(db, stream_id, reading.seq)
            if message is None or reading.t is None:
                continue
            report = parse_report(message[split(message)[1] : -66])
            columns = decode_columns(report)
            for i in range(report.n):
                values = {name: column[i] for name, column in columns.items()}
                t = reading.t + i * report.step
                if t <= end and t + report.step >= begin:
                    yield SlotSample(t, report.step, stream, report.seq, values)


def thinned(
    db: Database,
    slot: str,
    begin: int,
    end: int,
    metrics: Mapping[str, int],
    most: int,
    *,
    archived: bool = False,
) -> Thinned:
    """Figures of a slot from begin to end, of at most so many reports at even distances.

    Reports whose own clock is not believed are left out.

    Args:
        metrics: name and number of each.
        archived: reports in the archive are read too, which takes a second for a year.

    Raises:
        ArchiveDamaged, ArchiveUnavailable: the archive can't be read.
    """
    slot_id = next(iter(slots_of(db, None, slot)), None)
    if slot_id is None:
        return Thinned(1, [])
    chunks = Derived(db).chunks_in(slot_id, begin, end, Timelines(db).longest(slot_id))
    every = max(1, -(-len(chunks) * CHUNK // most))
    wanted = (
        (stream_id, seq)
        for stream_id, chunk in chunks
        for seq in range(-(-chunk * CHUNK // every) * every, (chunk + 1) * CHUNK, every)
    )
    found = []
    for stream_id, received_at, message in reports_at(db, wanted, archived=archived):
        try:
            report = parse_report(message[split(message)[1] : -66])
        except Refused:
            continue  # its bytes are damaged
        t = reading_of(stream_id, received_at, report, b"").t
        if t is not None and begin <= t < end:
            found.append((t, {name: _mean(report, name, m) for name, m in metrics.items()}))
    db.archive.forget()
    return Thinned(every, sorted(found, key=itemgetter(0)))


def _mean(report: Report, name: str, metric: int) -> float | None:
    column = report.metrics.get(metric)
    if column is None:
        return None
    known = [value for value in decode_column(column, report.n, metric) if value is not None]
    return sum(known) / len(known) / SCALES[name] if known else None
