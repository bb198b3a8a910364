"""Figures over a long time are read from some of the reports."""

from pathlib import Path

from agent.wire import ids
from host_tools.derive.samples import thinned
from host_tools.store.archiving import Archiver
from tests.host_tools.store.test_store_archiving import save
from tests.world.devices import START, Device, ordinary
from tests.world.filled import Filled

METRICS = {"rtt_mean": ids.RTT_MEAN, "loss": ids.LOSS}
END = START + 10 * 86400


def test_so_many_reports_are_read_at_even_distances_and_no_more(tmp_path: Path):
    filled = Filled(tmp_path / "province.db")
    device = Device()
    messages = [
        device.report({**ordinary(), ids.RTT_MEAN: [n, n, None, n + 3, n + 3]}) for n in range(96)
    ]
    del messages[50]
    filled.store(device, messages)
    filled.derive()
    every, figures = thinned(filled.db, device.slot, START, END, METRICS, 1000)
    assert every == 1 and len(figures) == 95
    every, figures = thinned(filled.db, device.slot, START, END, METRICS, 12)
    # Chunks are counted whole: seqs 0 to 111.
    assert every == 10
    assert figures == [
        (START + (seq - 1) * 300, {"rtt_mean": (seq + 0.5) / 2, "loss": 0})
        for seq in range(10, 91, 10)
    ]
    # Reports in the archive are read only on request.
    save(filled)
    Archiver(filled.db, lambda _: None).archive_older(0, END + 90 * 86400)
    assert len(thinned(filled.db, device.slot, START, END, METRICS, 1000).figures) == 1
    again = thinned(filled.db, device.slot, START, END, METRICS, 12, archived=True)
    assert again == (every, figures)
    # A time in between, and what never was.
    _every, some = thinned(
        filled.db, device.slot, START + 3000, START + 6000, METRICS, 1000, archived=True
    )
    assert [t for t, _its in some] == [START + n * 300 for n in range(10, 20)]
    assert thinned(filled.db, "6403112009-1", START, END, METRICS, 9).figures == []


def test_a_report_without_a_clock_of_its_own_is_left_out(tmp_path: Path):
    filled = Filled(tmp_path / "province.db")
    device = Device()
    first = device.report()
    device.clock = False
    filled.store(device, [first, device.report({ids.STATE: [ids.UP] * 5}), device.report()])
    filled.derive()
    _every, figures = thinned(filled.db, device.slot, START, END, METRICS, 99)
    assert [t for t, _its in figures] == [START]
