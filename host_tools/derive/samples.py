"""The samples of a slot, decoded from the signed reports when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from host_tools.derive.readings import Readings
from host_tools.store.database import Database
from host_tools.store.derived import Derived
from host_tools.store.evidence import Streams, report_message
from host_tools.store.timelines import Timelines
from host_tools.wire import decode_columns, parse_report
from host_tools.wire.envelope import split


class SlotSample(NamedTuple):
    """What was measured from t on for `step` seconds: scaled integers by the metric's name."""

    t: int
    step: int
    stream: bytes
    seq: int
    values: dict[str, int | None]


def samples(db: Database, slot: str, begin: int = 0, end: int = 2**40) -> Iterator[SlotSample]:
    """The samples of a slot that touch the time from begin to end, by stream and seq."""
    derived, streams = Derived(db), Streams(db)
    readings = Readings(db, derived)
    slot_id = next((streams.slot_id(s) for s in streams.all() if s.slot == slot), None)
    if slot_id is None:
        return
    longest_s = Timelines(db).longest(slot_id)
    for stream_id, chunk in sorted(derived.chunks_in(slot_id, begin, end, longest_s)):
        for reading in readings.between([(stream_id, chunk)], begin, end):
            message = report_message(db, stream_id, reading.seq)
            if message is None or reading.t is None:
                continue
            report = parse_report(message[split(message)[1] : -66])
            columns = decode_columns(report)
            stream = streams.by_id(stream_id).stream
            for i in range(report.n):
                values = {name: column[i] for name, column in columns.items()}
                t = reading.t + i * report.step
                if t <= end and t + report.step >= begin:
                    yield SlotSample(t, report.step, stream, report.seq, values)
