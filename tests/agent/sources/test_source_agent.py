"""The whole agent with its sources, from a configuration file to the reports that arrive.

Real agent, real broker with TLS, equipment on loopback, a simulated clock.
"""

import atexit
import functools
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from host_tools import wire
from host_tools.devices.boards import load_board
from host_tools.devices.release import build_release
from host_tools.devices.romfs import romfs_image
from tests import support
from tests.agent.sources.equipment import GIVEN, RAW, ROUTERS, SECRETS, Village
from tests.agent.sources.source_lab import WAYS, http, tcp, udp
from tests.agent.sources.test_source_privacy import openwrt, routeros, snmp_router
from tests.sim.province import Province
from tests.sim.run import Device, Site, life
from tests.sim.world import Upstream

every_way = pytest.mark.parametrize("interpreter", WAYS)

ALL = tuple(GIVEN)
# Of a MicroPython with 64 bits, which needs more than an ESP32; the agent compiled in.
HEAP = "160k"

COUNTED = {"bytes_down", "bytes_up", "clients", "clients_peak"}


class Lived:
    """What was left of an agent's life: the samples that the province has, what it said, and all
    that it sent or left in its state folder."""

    def __init__(self, province: Province, log: str, state: Path) -> None:
        self.refused = province.refused
        self.log = log
        self.samples: list[dict[str, int]] = []
        for stored in province.reports.values():
            for _, report in sorted(stored.items()):
                columns = wire.decode_columns(report)
                for i in range(report.n):
                    row = {name: values[i] for name, values in columns.items()}
                    self.samples.append({k: v for k, v in row.items() if v is not None})
        sent = [message.signed for message in province.messages]
        kept = [path.read_bytes() for path in sorted(state.rglob("*")) if path.is_file()]
        self.told = b"\0".join([*sent, *province.states, *kept, log.encode()])


@functools.cache
def compiled_in() -> Path:
    """The agent as it is compiled into a firmware."""
    folder = tempfile.mkdtemp(prefix="desalink-")
    atexit.register(shutil.rmtree, folder)
    path = Path(folder) / "agent.romfs"
    path.write_bytes(romfs_image(build_release(load_board("unix"))))
    return path


def runs(way: str) -> dict[str, Any]:
    """The options of a Device."""
    if way == "in turn":
        return {"heapsize": HEAP, "rom": compiled_in()}
    return {"interpreter": way}


def live(
    folder: Path,
    interpreter: str,
    usage: dict[str, object],
    minutes: int,
    each: Callable[[int], None] = lambda minute: None,
    modules: Iterable[tuple[str, object]] = (("tests.sim.streams", 0),),
) -> Lived:
    """Run an agent whose configuration has these keys in "usage"; `each` is called at the end of
    every minute. Sources take turns where the agent is compiled in."""
    port = support.free_port()
    keys = {f"usage.{name}": value for name, value in usage.items()}
    site = Site(folder / "site", "127.0.0.1", port, {"cadence.report_samples": 2} | keys)
    province = site.province()
    with life(site, province, port, modules=list(modules), **runs(interpreter)) as (_, device):
        while device.next_minute() < minutes:
            site.village.minute(device.minute)
            province.minute(device.now)
            each(device.minute)
        log = device.finish()
    return Lived(province, log, site.state)


@every_way
def test_all_at_once_and_nothing_of_a_user_is_kept_or_sent(interpreter: str, tmp_path: Path):
    village = Village(tmp_path)
    with village.running():
        usage = village.usage | {"arp": str(village.arp)}
        lived = live(tmp_path, interpreter, usage, 4, lambda _: village.transfer(1_000_000))
    assert lived.refused == []
    last = lived.samples[-1]
    assert last.keys() >= {name for given in GIVEN.values() for name in given}
    assert last["clients_day"] == 1  # all have seen the same one
    assert last["associated"] == 1  # the later sources' word, not SNMP's 4
    assert_silent(lived)


def assert_silent(lived: Lived) -> None:
    told = lived.told.lower()
    for secret in SECRETS:
        assert secret.lower().encode() not in told, f"{secret} was told"
    assert RAW not in lived.told


@every_way
def test_equipment_that_lies_costs_its_own_columns_only(interpreter: str, tmp_path: Path):
    village = Village(tmp_path)

    def talk(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(b"02:5e:c7:e7:ab:cd siti-zubaidah 10.77.66.55" * 9)

    with village.running(), udp(snmp_router()) as snmp, tcp(talk) as nonsense:
        with http(openwrt) as ubus, http(routeros) as mikrotik:
            usage = {
                "snmp": village.usage["snmp"] | {"port": snmp},
                "ubus": village.usage["ubus"] | {"url": f"http://127.0.0.1:{ubus}"},
                "mikrotik": village.usage["mikrotik"]
                | {"url": f"http://127.0.0.1:{mikrotik}", "user": "x"},
                "starlink": {"host": "127.0.0.1", "port": nonsense},
                "wifi": village.usage["wifi"] | {"command": "/nowhere/iw"},
                "opennds": {"socket": str(tmp_path / "no.sock")},
                "unique": {"most": 9},
                "arp": str(village.arp),
            }
            lived = live(tmp_path, interpreter, usage, 4)
    assert len(lived.samples) >= 3
    for sample in lived.samples[1:]:
        assert sample.keys() >= COUNTED | {"state"}
        assert not [name for name in sample if name.startswith("dish")]
    assert "clients_day" in lived.samples[-1]  # once the time of day is known
    for word in ("usage.snmp", "usage.starlink", "usage.wifi", "usage.opennds"):
        assert word in lived.log
    assert_silent(lived)


@every_way
def test_equipment_that_hangs_costs_its_own_columns_only(interpreter: str, tmp_path: Path):
    def silence(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass

    village = Village(tmp_path)
    with tcp(silence) as ubus, tcp(silence) as dish:
        usage = {
            "ubus": {"url": f"http://127.0.0.1:{ubus}"},
            "starlink": {"host": "127.0.0.1", "port": dish},
            "unique": {"most": 9},
            "arp": str(village.arp),
        }
        # Nothing waits for what never comes: the clock jumps to the deadlines.
        lived = live(tmp_path, interpreter, usage, 4, modules=())
    assert len(lived.samples) >= 3
    for sample in lived.samples[1:]:
        assert sample.keys() >= COUNTED | {"state"}
        assert "router_uptime" not in sample and "dish_rtt" not in sample
    assert "clients_day" in lived.samples[-1]
    assert "usage.ubus: no answer in time" in lived.log


@every_way
def test_equipment_that_disappears_is_null_from_then_on(interpreter: str, tmp_path: Path):
    village = Village(tmp_path)
    running = village.running()
    usage = running.__enter__().usage | {"arp": str(village.arp)}

    def each(minute: int) -> None:
        if minute == 3:
            running.__exit__(None, None, None)

    lived = live(tmp_path, interpreter, usage, 7, each)
    given = {name for section in ROUTERS | {"starlink"} for name in GIVEN[section]}
    given -= COUNTED | GIVEN["wifi"].keys()  # a program on the device itself stays
    assert lived.samples[1].keys() >= given
    assert not lived.samples[-1].keys() & given
    assert lived.samples[-1].keys() >= COUNTED | {"state", "clients_day"}


@every_way
def test_a_bad_value_ends_the_agent_with_file_and_key(interpreter: str, tmp_path: Path):
    keys = {"usage.snmp": {"host": "h", "profile": "none"}, "usage.unique": {"most": 9}}
    site = Site(tmp_path, "127.0.0.1", 1, keys)
    site.enrol()
    with Device(site.config, **runs(interpreter)) as device:
        assert device.process.wait(support.PATIENCE_S) == 2
        said = device.log
    assert f"agent: {site.config}: usage.snmp.profile: expected one of generic, " in said


def endure(folder: Path, names: Iterable[str], minutes: int) -> tuple[list[int], Lived]:
    """Run an agent with these sources in a small heap, through an outage and without its broker
    for a while; fails if it misses anything for want of memory. Bytes allocated after a
    collection, every half hour, and what was left."""
    port = support.free_port()
    village = Village(folder)
    upstream = Upstream()
    with village.running():
        keys = {f"usage.{name}": village.usage[name] for name in names}
        keys |= {"usage.arp": str(village.arp), "link.gateway": "127.0.0.1"}
        keys |= {"link.targets": [f"127.0.0.1:{upstream.port}"]}
        site = Site(folder / "site", "127.0.0.1", port, keys)
        province = site.province()
        modules = [("tests.sim.streams", 0)]
        with life(site, province, port, modules=modules, **runs("in turn")) as (broker, device):
            while device.next_minute() < minutes:
                site.village.minute(device.minute)
                village.transfer(1_000_000)
                province.minute(device.now)
                if device.minute == 12:
                    upstream.refuse()
                if device.minute == 16:
                    upstream.answer()
                if device.minute == 20:
                    province.close()
                    broker.restart()
                    province.connect("127.0.0.1", port)
                if device.minute % 30 == 29:
                    device.heap()
            log = device.finish()
        upstream.refuse()
    assert province.refused == []
    assert "rror" not in log, log
    return device.heaps, Lived(province, log, site.state)


@pytest.mark.parametrize("name", ALL)
def test_a_section_of_the_file_brings_its_columns_in_a_small_heap(name: str, tmp_path: Path):
    _, lived = endure(tmp_path, [name], 26)
    assert len(lived.samples) >= 24
    for sample in lived.samples[3:]:  # when the time of day is known
        assert sample.items() >= GIVEN[name].items()
    if name in ROUTERS:
        # A minute's end may lie on either side of a poll.
        assert 23_000_000 <= sum(s["bytes_down"] for s in lived.samples) <= 26_000_000
        uptimes = [sample["router_uptime"] for sample in lived.samples]
        assert uptimes == sorted(set(uptimes))
    assert "source" not in lived.log and "usage" not in lived.log


@pytest.mark.slow
def test_all_sources_together_live_a_short_day_in_a_small_heap(tmp_path: Path):
    _, lived = endure(tmp_path, ALL, 62)
    assert len(lived.samples) >= 60
    given = {name for section in GIVEN.values() for name in section}
    for sample in lived.samples[3:]:  # when the time of day is known
        assert sample.keys() >= given | {"bytes_down", "router_uptime"}
    assert sum(sample.get("bytes_down", 0) for sample in lived.samples) >= 59_000_000


@pytest.mark.slow
def test_all_sources_leak_nothing(tmp_path: Path):
    heaps, _ = endure(tmp_path, ALL, 180)
    # One reading holds what the moment keeps, up to some KiB; a leak is in every later one.
    assert min(heaps[3:]) - min(heaps[:3]) <= 2048, heaps
