"""A whole day of the real agent on a simulated clock, in the heap that an ESP32 has.

MicroPython with 160 KiB and the agent as .mpy files; a real Mosquitto with TLS; a province that
verifies and acknowledges. Twice upstream refuses, once the broker is gone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.wire import ids
from host_tools import wire
from tests import support
from tests.bench.agent_ram import mpy_sizes
from tests.sim.province import Province
from tests.sim.run import Site, life
from tests.sim.world import Upstream

HOURS = 24
HEAP = "160k"
# What a collection leaves varies by the reports under way and by chance (it looks for pointers in
# whatever is on the stack); a leak of 50 bytes an hour shows.
TOLERANCE = 2048  # what is under way between two acks, and the index of the journal's ring

# Minutes at whose end upstream stops and begins to answer again.
UPSTREAM_GONE = ((180, 205), (1001, 1003))
BROKER_GONE = (600, 612)


@dataclass
class Day:
    """What was left of it.

    counters: bytes down and up by minute; heaps: bytes after a collection by hour, of MicroPython
    only; log: what the agent said.
    """

    province: Province
    counters: list[tuple[int, int]]
    heaps: list[int]
    log: str

    @property
    def reports(self) -> list[wire.Report]:
        (stored,) = self.province.reports.values()
        return [stored[seq] for seq in sorted(stored)]

    def events(self, kind: int) -> list[tuple[int, dict]]:
        """(seconds since boot, detail) of all events of a kind."""
        return [
            (report.up + event.offset, event.detail)
            for report in self.reports
            for event in report.events
            if event.kind == kind
        ]


def _live(folder: Path, interpreter: str) -> Day:
    upstream = Upstream()
    port = support.free_port()
    targets = {"link.gateway": "127.0.0.1", "link.targets": [f"127.0.0.1:{upstream.port}"]}
    site = Site(folder, "127.0.0.1", port, targets)
    province = site.province()
    counters = [site.village.counters]
    options: dict[str, Any] = {"interpreter": interpreter}
    if interpreter == "micropython":
        mpy_sizes(folder / "mpy", ("-O3",))
        options |= {"heapsize": HEAP, "agent": folder / "mpy"}
    with life(site, province, port, **options) as (broker, device):
        while device.next_minute() < HOURS * 60:
            site.village.minute(device.minute)
            counters.append(site.village.counters)
            if device.minute in dict(UPSTREAM_GONE):
                upstream.refuse()
            if device.minute in dict(UPSTREAM_GONE).values():
                upstream.answer()
            if device.minute == BROKER_GONE[0]:
                province.close()
                broker.stop()
            if device.minute == BROKER_GONE[1]:
                broker.start()
                province.connect("127.0.0.1", port)
            province.minute(device.now)
            if device.minute % 60 == 59 and interpreter == "micropython":
                device.heap()
        log = device.finish()
    upstream.refuse()
    return Day(province, counters, device.heaps, log)


def _every_report_is_stored_and_the_chain_is_whole(day: Day) -> None:
    assert day.province.refused == []
    reports = day.reports
    assert [report.seq for report in reports] == list(range(1, len(reports) + 1))
    assert len(reports) >= HOURS * 12
    signed = {
        message.content.seq: message.signed
        for message in day.province.messages
        if isinstance(message.content, wire.Report)
    }
    for report in reports:
        before = wire.hash8(signed[report.seq - 1]) if report.seq > 1 else None
        assert report.prev == before, report.seq


def _every_minute_is_measured_once(day: Day) -> None:
    measured = [report for report in day.reports if report.n]
    assert sum(report.n for report in measured) in (HOURS * 60 - 1, HOURS * 60)
    ends = [report.up + report.n * report.step for report in measured]
    assert [report.up for report in measured[1:]] == ends[:-1]


def _usage_adds_up_to_the_interface_s_own_counters(day: Day) -> None:
    for which, metric in enumerate(("bytes_down", "bytes_up")):
        total = sum(
            value
            for report in day.reports
            for value in wire.decode_columns(report).get(metric, ())
        )
        # The first and the last sample may lie on either side of a minute's end.
        counters = [pair[which] for pair in day.counters]
        allowed = {end - begin for begin in counters[:2] for end in counters[-3:]}
        assert total in {value // 1024 * 1024 for value in allowed}


def _outages_are_told_as_they_were(day: Day) -> None:
    ended = day.events(ids.OUTAGE_ENDED)
    began = [(at, detail[1]) for at, detail in day.events(ids.OUTAGE_BEGAN)]
    assert began == [(at - detail[3], detail[1]) for at, detail in ended]
    expected = [
        (UPSTREAM_GONE[0], ids.DOWN_PROVIDER, 0),
        # The broker's end shows at once, its return with the next attempt to connect.
        (BROKER_GONE, ids.DOWN_BROKER, 300),
        (UPSTREAM_GONE[1], ids.DOWN_PROVIDER, 0),
    ]
    assert len(ended) == len(expected)
    for (at, detail), ((begin, end), cause, late) in zip(ended, expected, strict=True):
        assert detail[1] == cause
        assert abs(at - detail[3] - 60 * begin) <= 11  # one round, and a second of rounding
        assert -11 <= at - 60 * end <= 11 + late


def _nothing_goes_wrong_that_nobody_foresaw(day: Day) -> None:
    assert [line for line in day.log.splitlines() if "rror" in line] == []


def _the_heap_does_not_grow_from_the_second_hour_to_the_last(day: Day) -> None:
    if not day.heaps:
        return  # CPython
    assert len(day.heaps) == HOURS
    assert day.heaps[-1] - day.heaps[1] <= TOLERANCE, day.heaps


# One test, as the day is long and each process of the tests would live it anew.
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("interpreter", ["cpython", "micropython"])
def test_a_day(tmp_path: Path, interpreter: str) -> None:
    day = _live(tmp_path, interpreter)
    for holds in (
        _every_report_is_stored_and_the_chain_is_whole,
        _every_minute_is_measured_once,
        _usage_adds_up_to_the_interface_s_own_counters,
        _outages_are_told_as_they_were,
        _nothing_goes_wrong_that_nobody_foresaw,
        _the_heap_does_not_grow_from_the_second_hour_to_the_last,
    ):
        holds(day)
