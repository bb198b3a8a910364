"""The quiet mode: long reports while all is well, and at once what changes."""

from pathlib import Path

import pytest

from agent.wire import ids
from host_tools import wire
from tests import support
from tests.sim.run import Site, life
from tests.sim.world import Upstream

OUTAGE = (20, 24)  # minutes at whose end it begins and ends
USAGE_LOST = 60


@pytest.mark.parametrize("interpreter", ["cpython", "micropython"])
def test_reports_take_15_minutes_while_all_is_well_and_a_change_is_reported_at_once(
    tmp_path: Path, interpreter: str
) -> None:
    upstream = Upstream()
    port = support.free_port()
    settings = {
        "cadence.quiet_samples": 15,
        "link.gateway": "127.0.0.1",
        "link.targets": [f"127.0.0.1:{upstream.port}"],
    }
    site = Site(tmp_path, "127.0.0.1", port, settings)
    province = site.province()
    arrived: list[tuple[int, wire.Report]] = []  # minute and report
    births = []
    with life(site, province, port, interpreter=interpreter) as (_, device):
        while device.next_minute() < 75:
            site.village.minute(device.minute)
            if device.minute == OUTAGE[0]:
                upstream.refuse()
            if device.minute == OUTAGE[1]:
                upstream.answer()
            if device.minute >= USAGE_LOST:
                site.village.proc_net_dev.unlink()
            province.minute(device.now)
            for message in province.messages[len(arrived) + len(births) :]:
                if isinstance(message.content, wire.Report):
                    arrived.append((device.minute, message.content))
                else:
                    births.append(message.content)
        device.finish()
    upstream.refuse()
    # A province that knows this waits for so long before it shows "no data".
    assert {birth.cadence for birth in births} == {(10, 60, 15)}
    minutes = {
        kind: [minute for minute, report in arrived for e in report.events if e.kind == kind]
        for kind in (ids.BOOTED, ids.OUTAGE_BEGAN, ids.OUTAGE_ENDED)
    }
    assert minutes[ids.BOOTED][0] <= 2
    (began,), (ended,) = minutes[ids.OUTAGE_BEGAN], minutes[ids.OUTAGE_ENDED]
    assert OUTAGE[0] < began <= OUTAGE[0] + 2 and OUTAGE[1] < ended <= OUTAGE[1] + 2
    between = [report.n for minute, report in arrived if ended < minute <= USAGE_LOST]
    assert 15 in between and max(between) == 15
    lost = next(
        minute
        for minute, report in arrived
        if minute > USAGE_LOST and wire.decode_columns(report)["bytes_down"][-1] is None
    )
    assert lost <= USAGE_LOST + 2
    measured = [report for _, report in arrived if report.n]
    ends = [report.up + report.n * report.step for report in measured]
    assert [report.up for report in measured[1:]] == ends[:-1]
