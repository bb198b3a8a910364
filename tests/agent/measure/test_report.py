"""Columns, and reports that survive a journal that fails."""

import asyncio
import errno

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.measure.report import Reporter, column, columns
from agent.wire import ids


def decode(metric, values, n):
    """The rules of docs/wire.md, "Columns", written a second time (counts in KiB)."""
    if isinstance(values, int):
        values = [values]
    out = []
    last = None
    for value in values:
        if value is None:
            out.append(None)
        elif metric in (ids.BYTES_DOWN, ids.BYTES_UP):
            out.append(value)
            last = value
        else:
            last = value if last is None else last + value
            out.append(last)
    fill = 0 if metric in (ids.BYTES_DOWN, ids.BYTES_UP) else last
    return out + [fill] * (n - len(out))


VALUES = st.lists(st.one_of(st.none(), st.integers(-200, 1 << 40)), min_size=1, max_size=60)


@given(st.sampled_from([ids.RTT_MEAN, ids.SIGNAL, ids.BYTES_DOWN]), VALUES)
def test_a_column_says_what_was_measured_and_null_stays_null(metric, values):
    rows = [{} if v is None else {metric: v} for v in values]
    coded = column(metric, rows)
    if all(v is None for v in values):
        assert coded is None
    else:
        assert 1 <= len(coded) <= len(values)
        assert decode(metric, coded, len(values)) == values


def test_counts_are_told_in_kib_and_what_is_left_over_is_carried_on():
    reporter = Reporter(FailingJournal(0), StillClock(), None, "t", None)
    told = []
    for value in (1500, 0, None, 600, 5000, 1023, 1):
        row = {} if value is None else {ids.BYTES_DOWN: value}
        reporter.add(row, 0, 60)
        told.append(row.get(ids.BYTES_DOWN))
    assert told == [1, 0, None, 1, 4, 1, 0]
    assert sum(filter(None, told)) == (1500 + 600 + 5000 + 1023 + 1) // 1024


def test_the_example_of_the_wire_document():
    rows = [{ids.RTT_MEAN: v} for v in (452, 455)] + [{}] + [{ids.RTT_MEAN: 454}] * 2
    assert column(ids.RTT_MEAN, rows) == [452, 3, None, -1]


def test_what_does_not_change_costs_one_element():
    assert columns([{ids.STATE: 1, ids.BYTES_UP: 0}] * 5) == {ids.STATE: 1, ids.BYTES_UP: 0}


class FailingJournal:
    """Stands for a full or broken medium: append fails `failures` times."""

    stream, boot, next_seq, last_hash8, began = b"abcd", 1, 2, b"12345678", None

    def __init__(self, failures, error=None):
        self.failures = failures
        self.error = error or OSError(errno.EIO, "medium")
        self.appended = []

    def take_drops(self):
        return []

    def append(self, message):
        if self.failures:
            self.failures -= 1
            raise self.error
        self.appended.append(message)
        return self.next_seq


class StillClock:
    def up(self):
        return 300

    def now(self):
        return 1_800_000_000

    def quality(self):
        return [None, ids.CLOCK_SYSTEM]


def test_samples_and_events_stay_for_the_next_report_when_the_journal_fails():
    from agent.wire.ed25519 import Signer

    async def scenario():
        journal = FailingJournal(failures=1)
        reporter = Reporter(journal, StillClock(), Signer(bytes(32)), "t", asyncio.Lock())
        for i in range(5):
            reporter.add({ids.CLIENTS: i}, i * 60, 60)
        reporter.event(ids.OUTAGE_BEGAN, 100, {1: ids.DOWN_DNS, 2: []})
        with pytest.raises(OSError):
            await reporter.close()
        reporter.add({ids.CLIENTS: 9}, 300, 60)
        await reporter.close()
        return journal.appended

    (message,) = asyncio.run(scenario())
    report = cbor2.loads(cbor2.loads(message).value[2])
    assert report[11] == 6
    assert report[5] == 0
    assert report[6] == 1_800_000_000 - 300
    assert decode(ids.CLIENTS, report[8][ids.CLIENTS], 6) == [0, 1, 2, 3, 4, 9]
    assert report[9] == [[100, ids.OUTAGE_BEGAN, {1: ids.DOWN_DNS, 2: []}]]


@pytest.mark.parametrize("error", [MemoryError(), ValueError("no memory, at offset 28")])
def test_after_a_lack_of_memory_reports_are_smaller_and_no_sample_is_lost(error):
    from agent.wire.ed25519 import Signer

    async def scenario():
        journal = FailingJournal(2, error)
        reporter = Reporter(journal, StillClock(), Signer(bytes(32)), "t", asyncio.Lock())
        for i in range(9):
            reporter.add({ids.CLIENTS: i}, i * 60, 60)
            if i in (3, 4):
                with pytest.raises(type(error)):
                    await reporter.close()
        while reporter.rows:
            await reporter.close()
        return journal.appended

    reports = [cbor2.loads(cbor2.loads(message).value[2]) for message in asyncio.run(scenario())]
    assert [report[5] for report in reports] == [0, 60]
    samples = [decode(ids.CLIENTS, r[8][ids.CLIENTS], r.get(11, 5)) for r in reports]
    assert samples == [[0], list(range(1, 9))]


def test_a_medium_that_fails_for_weeks_does_not_fill_the_memory_with_events():
    async def scenario():
        journal = FailingJournal(failures=1000)
        reporter = Reporter(journal, StillClock(), bytes(32), "t", asyncio.Lock())
        for at in range(1000):
            reporter.event(ids.OUTAGE_BEGAN, at)
            with pytest.raises(OSError):
                await reporter.close()
        journal.failures = 0
        while await reporter.close():
            pass
        return journal.appended

    offsets = []
    for message in asyncio.run(scenario()):
        report = cbor2.loads(cbor2.loads(message).value[2])
        offsets += [report[5] + event[0] for event in report[9]]
    assert len(offsets) == 64
    assert offsets[:30] == list(range(30)), "the first are kept"
    assert offsets[-30:] == list(range(970, 1000)), "and the newest"


def test_nothing_measured_makes_no_report():
    async def scenario():
        journal = FailingJournal(failures=0)
        reporter = Reporter(journal, StillClock(), None, "t", asyncio.Lock())
        return await reporter.close()

    assert asyncio.run(scenario()) is None


def test_what_a_cancelled_close_has_left_is_in_the_next_report():
    async def scenario():
        journal = FailingJournal(0)
        reporter = Reporter(journal, StillClock(), bytes(32), "t", asyncio.Lock())
        for minute in range(2):
            reporter.add({ids.RTT_MEAN: 100 + minute}, 60 * minute, 60)
        reporter.event(ids.STOPPED)
        closing = asyncio.create_task(reporter.close())
        await asyncio.sleep(0)
        reporter.add({ids.RTT_MEAN: 102}, 120, 60)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert not journal.appended
        await reporter.close()
        return journal.appended

    (message,) = asyncio.run(scenario())
    body = cbor2.loads(cbor2.loads(message).value[2])
    assert (body[5], body[11], body[8]) == (0, 3, {ids.RTT_MEAN: [100, 1, 1]})
    assert [event[1] for event in body[9]] == [ids.STOPPED]
    assert body[10] == [None, ids.CLOCK_SYSTEM]  # of the first report, which this is
