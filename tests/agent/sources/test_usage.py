"""Bytes and clients: wraps, resets, interfaces that go and come back."""

import asyncio

import pytest

from agent.sources.clients import Clients, count_leases, count_neighbours
from agent.sources.interface import Counter, Interface
from agent.wire import ids
from tests.support import run_on


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([100, 150, 150], [None, 50, 0]),
        ([(1 << 32) - 10, 20], [None, 30]),  # a 32-bit wrap loses nothing
        ([1 << 33, 5], [None, 5]),  # too large to have wrapped: began anew
        ([1000, 5], [None, 5]),
    ],
)
def test_counters_over_wrap_and_reset(values, expected):
    counter = Counter()
    assert [counter.step(v, False)[0] for v in values] == expected


def test_a_renewed_interface_counts_from_zero_even_if_it_counts_higher():
    counter = Counter()
    counter.step(100, False)
    assert counter.step(300, True) == (300, True)


class Router:
    """An interface in files laid out like Linux's."""

    def __init__(self, path):
        self.path = path
        (path / "net" / "eth0").mkdir(parents=True)
        self.resets = []
        self.source = Interface(str(path / "dev"), str(path / "net"), "eth0", self.resets.append)

    def write(self, received, sent, index=3):
        (self.path / "dev").write_text(
            "Inter-|   Receive                                                |  Transmit\n"
            " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets\n"
            "    lo:  999  1 0 0 0 0 0 0  999 1 0 0 0 0 0 0\n"
            f"  eth0:{received} 12 0 0 0 0 0 0 {sent} 13 0 0 0 0 0 0\n"
        )
        (self.path / "net" / "eth0" / "ifindex").write_text(f"{index}\n")

    def gone(self):
        (self.path / "dev").write_text("    lo:  999  1 0 0 0 0 0 0  999 1 0 0 0 0 0 0\n")

    def sample(self):
        row = {}
        asyncio.run(self.source.sample(row))
        return row


def test_an_interface_that_goes_and_comes_back(tmp_path):
    router = Router(tmp_path)
    router.write(1000, 500)
    assert router.sample() == {}
    router.write(1600, 700)
    assert router.sample() == {ids.BYTES_DOWN: 600, ids.BYTES_UP: 200}
    router.gone()
    assert router.sample() == {}  # null, not 0
    router.write(2000, 30, index=4)
    assert router.sample() == {ids.BYTES_DOWN: 2000, ids.BYTES_UP: 30}
    assert router.resets == [ids.BYTES_DOWN, ids.BYTES_UP]


def test_an_interface_that_was_away_between_two_samples_counts_from_zero(tmp_path):
    router = Router(tmp_path)
    router.write(1000, 500)
    router.sample()
    router.gone()
    router.source.observe()
    router.write(5000, 700)
    router.source.observe()
    assert router.sample() == {ids.BYTES_DOWN: 5000, ids.BYTES_UP: 700}
    router.write(5001, 703)
    assert router.sample() == {ids.BYTES_DOWN: 1, ids.BYTES_UP: 3}


def test_garbage_in_place_of_counters_is_null(tmp_path):
    router = Router(tmp_path)
    (tmp_path / "dev").write_text("  eth0: nonsense\n")
    assert router.sample() == {}


LEASES = """1800000100 02:00:00:00:00:01 10.0.0.2 phone 01:02
1799999999 02:00:00:00:00:02 10.0.0.3 * *
0 02:00:00:00:00:03 10.0.0.4 * *
duid 00:01:00:01
17
"""


def test_leases_that_ran_out_are_not_clients(tmp_path):
    path = tmp_path / "leases"
    path.write_text(LEASES)
    assert count_leases(str(path), 1_800_000_000) == 2
    assert count_leases(str(path), None) == 3
    assert count_leases(str(tmp_path / "none"), None) is None


@pytest.mark.parametrize("interpreter", ["cpython", "micropython"])
def test_a_thousand_leases_are_read_in_pieces(tmp_path, interpreter):
    lines = [f"{1_800_000_000 + n % 2} 02:00:00:00:{n:05} 10.0.0.2 * *" for n in range(1000)]
    lines.insert(500, "duid " + "00:" * 3000)
    path = tmp_path / "leases"
    path.write_text("\n".join(lines) + "\n1800000001 02:00")
    script = "import sys\nfrom agent.sources.clients import count_leases\n"
    script += "print(count_leases(sys.argv[1], 1800000000), count_leases(sys.argv[1], None))"
    said = run_on(interpreter, script, path, heapsize="32k", check=True).stdout
    assert said.split() == ["500", "1000"]


ARP = """IP address       HW type     Flags       HW address            Mask     Device
10.0.0.2         0x1         0x2         02:00:00:00:00:01     *        br-lan
10.0.0.3         0x1         0x0         00:00:00:00:00:00     *        br-lan
100.64.0.1       0x1         0x2         02:00:00:00:00:09     *        wan
"""


def test_incomplete_neighbours_and_other_interfaces_are_not_clients(tmp_path):
    path = tmp_path / "arp"
    path.write_text(ARP)
    assert count_neighbours(str(path), "br-lan") == 1
    assert count_neighbours(str(path), None) == 2


class NoClock:
    def now(self):
        return None


def test_the_peak_is_one_and_starts_anew_each_sample(tmp_path):
    path = tmp_path / "leases"
    source = Clients(NoClock(), str(path), None, None)

    def sample():
        row = {}
        asyncio.run(source.sample(row))
        return row

    assert sample() == {}
    path.write_text("0 a b c d\n" * 5)
    source.observe()
    path.write_text("0 a b c d\n" * 2)
    source.observe()
    assert sample() == {ids.CLIENTS: 2, ids.CLIENTS_PEAK: 5}
    source.observe()
    assert sample() == {ids.CLIENTS: 2, ids.CLIENTS_PEAK: 2}
    path.unlink()
    source.observe()
    assert ids.CLIENTS not in sample()
