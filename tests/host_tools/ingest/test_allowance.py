"""One device can't take the disk, the time or the quarantine of the others."""

import threading

import cbor2
import pytest

from host_tools.ingest.allowance import Buckets, Limits, Rate
from host_tools.ingest.clock import ArrivalClock, ClockBehind
from host_tools.store.quarantine import Bounds
from tests import support
from tests.host_tools.ingest.test_ingest_pipeline import Bench
from tests.world.devices import Device
from tests.world.ingesting import BROKER_LINES, Setting, client, wait_for


def limits(reports=100, births=100, streams=100, per_key=64) -> Limits:
    return Limits(Rate(reports, 0.1), Rate(births, 0), Rate(streams, 0), per_key, hold_acks_s=60)


@pytest.fixture
def bench(tmp_path):
    benches = []

    def make(*devices: Device, bounds: Bounds | None = None, **allowed: int) -> Bench:
        benches.append(Bench(tmp_path / "a.db", *devices, bounds=bounds, limits=limits(**allowed)))
        return benches[-1]

    yield make
    for made in benches:
        made.db.close()


def test_a_bucket_fills_again_and_never_beyond_its_burst():
    buckets = Buckets(Rate(3, 0.5))
    assert [buckets.take("a", 0) for _ in range(4)] == [True, True, True, False]
    assert buckets.take("b", 0)
    assert [buckets.take("a", 2) for _ in range(2)] == [True, False]
    assert [buckets.take("a", 1000) for _ in range(4)] == [True, True, True, False]


def test_what_is_beyond_a_slot_s_allowance_is_neither_stored_nor_acknowledged(bench):
    noisy, quiet = Device(), Device(slot="6403112002-1", seed=2)
    bench = bench(noisy, quiet, reports=5)
    held = noisy.reports(8)
    assert bench.offer(noisy, *held) == {noisy.slot: 3}
    assert bench.offer(quiet, *quiet.reports(3)) == {}
    bench.acks.everything()
    # It would only send what is missing again at once: it hears of that a minute later.
    assert [ack[1] for ack in bench.acks_due(1)] == [quiet.stream]
    assert bench.acks_due(61)[0] | {4: 0} == {1: noisy.stream, 2: 5, 4: 0}
    assert bench.offer(noisy, *held[5:], now=60) == {}
    assert bench.stored() == [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]


def test_births_beyond_the_allowance_are_held_and_others_answered_at_once(bench):
    device = Device()
    bench = bench(device, reports=5, births=2)
    births = [device.birth() for _ in range(4)]
    assert bench.offer(device, *births, kind="birth") == {device.slot: 2}
    assert bench.db.value("SELECT count(*) FROM births") == 2
    assert bench.acks_due()[0][5] == [1, 2]


@pytest.mark.parametrize("allowed", [{"streams": 2}, {"per_key": 2}], ids=str)
def test_a_device_begins_no_more_streams_than_it_may(bench, allowed):
    device = Device()
    bench = bench(device, **allowed)
    held = 0
    for number in range(4):
        device.stream, device.seq, device.last = bytes([number] * 4), 0, None
        held += bench.send(device, *device.reports(2)).held[device.slot]
    assert held == 4 and len(bench.stored()) == 4
    assert bench.db.value("SELECT count(*) FROM streams") == 2


def test_one_slot_can_t_push_others_out_of_the_quarantine(bench):
    noisy, quiet = Device(seed=5), Device(slot="6403112002-1", seed=2)
    bench = bench(bounds=Bounds(slot_bytes=1000))
    bench.send(noisy, *noisy.reports(10))
    bench.send(quiet, *quiet.reports(2))
    kept = dict(bench.db.all("SELECT slot, count(*) FROM quarantine GROUP BY 1"))
    assert kept == {noisy.slot: 4, quiet.slot: 2}


def test_twelve_days_of_a_device_wait_for_its_enrolment(bench):
    late = Device(seed=2)
    bench = bench()
    bench.send(late, *late.reports(12 * 288))
    assert bench.quarantine()[-1] == ("unknown_key", None, 1)
    assert len(bench.quarantine()) == 12 * 288


def measured(setting: Setting) -> dict[str, int]:
    """Seconds that are derived, by slot."""
    return dict(
        setting.all(
            "SELECT slot, sum(measured_s) FROM usage_hours JOIN slots ON id = slot_id GROUP BY 1"
        )
    )


def test_a_flood_of_one_device_keeps_nobody_from_being_derived(tmp_path):
    noisy = Device()
    others = [Device(slot=f"64031120{n:02}-1", seed=n) for n in range(2, 12)]
    flood = noisy.reports(1500)
    with support.start_mosquitto(tmp_path / "broker", BROKER_LINES) as broker:
        setting = Setting(tmp_path, broker, noisy, *others)
        with setting.running(limits=limits(reports=300)) as running:
            thread = threading.Thread(target=setting.publish, args=(noisy, *flood))
            thread.start()
            for other in others:
                setting.publish(other, *other.reports(3))
            wait_for(lambda: len(setting.seqs_of(*others)) == 30)
            wait_for(lambda: measured(setting).items() >= {o.slot: 900 for o in others}.items())
            thread.join()
            figures = running.ingest.figures
            wait_for(lambda: figures.held + figures.reports >= 1500 + 30)
            assert setting.said("held")
        # A bucket fills while the flood lasts, but no faster than its rate.
        assert 300 <= len(setting.seqs_of(noisy)) < 600
        with client(broker.port) as listener:
            acks: list[dict] = []
            listener.on_message = lambda _c, _u, m: acks.append(cbor2.loads(m.payload))
            listener.subscribe(noisy.topic("ack"), 1)
            # With its allowance back, the device sends what no ack covers.
            with setting.running():
                setting.publish(noisy, noisy.birth(), kind="birth")
                wait_for(lambda: any(5 in ack for ack in acks[:]))
                setting.publish(noisy, *flood)
                wait_for(lambda: len(setting.seqs_of(noisy)) == 1500)


def test_a_clock_behind_what_is_stored_dates_nothing(tmp_path):
    device = Device()
    with support.start_mosquitto(tmp_path / "broker", BROKER_LINES) as broker:
        setting = Setting(tmp_path, broker, device)
        with setting.running():
            setting.publish(device, device.report())
            wait_for(lambda: setting.seqs() == [1])
        with pytest.raises(ClockBehind, match="--accept-clock"):
            setting.ingest(clock=lambda: 1_700_000_000).run()
        setting.publish(device, device.report())
        setting.drain(2, clock=lambda: 1_700_000_000, accept_clock=True)
        assert setting.seqs() == [1, 2]


def test_a_small_step_back_dates_no_arrival_before_another():
    wall, monotonic = [1000.0], [0.0]
    clock = ArrivalClock(0, lambda: wall[0], lambda: monotonic[0])
    assert (clock.now(), clock.step()) == (1000, None)
    wall[0], monotonic[0] = 970.0, 10.0
    assert (clock.now(), clock.step(), clock.step()) == (1000, -40.0, None)
    wall[0] = 1005.0
    assert (clock.now(), clock.step()) == (1005, 35.0)
    wall[0] = 900.0
    with pytest.raises(ClockBehind, match="105 s behind"):
        clock.now()
