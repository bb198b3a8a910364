"""The laboratory's world, built of cables, routers and servers like the real one.

    device --- router ---+
                         +--- provider --- internet --- province
    device --- router ---+

Each village: a device with the agent, and a router with DHCP, DNS and NAT. The provider only
routes. The internet has two name servers, ping targets, a page that answers 204 and a time
server; the province a real Mosquitto and the real ingest. The addresses exist in these namespaces
only.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from host_tools.broker.config import broker_files, write_config
from host_tools.demo.small_province import SmallProvince
from host_tools.keys.ca import Authority
from host_tools.province.registry import slot_name
from tests.lab.isolation import program
from tests.lab.net import Namespace, Process, cable, call
from tests.support import mosquitto, rows

CODES = ("6403112001", "6403112002")

TARGETS = ("1.1.1.1", "8.8.8.8", "9.9.9.9")
RESOLVER, ALTERNATIVE = "8.8.8.8", "1.1.1.1"
PAGE, TIME_SERVER, SINK = "198.51.100.80", "198.51.100.123", "198.51.100.9"
BROKER = "203.0.113.10"
BROKER_PORT = 8883
GATEWAY = "192.168.1.1"
# dnsmasq answers no device that asks for a name of its own domain; none of these is.
NAMES = {"broker.lab": BROKER, "page.lab": PAGE, "example.com": "192.0.2.80"}
FAKE_DNS_PORT = 5300

# The agent's own rhythm, ten times as fast: 10 s, 60 s and 400 s become 1 s, 6 s and 40 s.
SPEED = 10
SETTINGS: Mapping[str, Any] = {
    "broker.host": "broker.lab",
    "broker.port": BROKER_PORT,
    "broker.keepalive_s": 40,
    "broker.backoff_max_s": 30,
    "cadence.round_s": 1,
    "cadence.sample_s": 6,
    "cadence.report_samples": 2,  # the rest of a fault is told the sooner
    "port": "tests.lab.board",
    "clock.source": "auto",
    "clock.ntp": [TIME_SERVER],
    "link.interface": "eth0",
    "link.gateway": "auto",
    "link.targets": list(TARGETS),
    "link.timeout_ms": 250,
    "link.delay_limit_ms": 60,
    "link.dns": "auto",
    "link.dns_other": ALTERNATIVE,
    "link.portal": "page.lab/generate_204",
    "link.portal_s": 28,
    "usage.interface": "eth0",
}
ROUND_S = 1.0


class Village:
    """A device and its router."""

    def __init__(self, world: World, number: int, interpreter: str) -> None:
        self.world = world
        self.number = number
        self.interpreter = interpreter
        self.code = CODES[number]
        self.slot = slot_name(self.code, 1)
        folder = world.folder
        self.device = Namespace(f"device-{interpreter}", folder)
        self.router = Namespace(f"router-{interpreter}", folder)
        self.connect_device()
        cable(self.router, "wan0", world.provider, f"village{number}")
        self.wan, self.wan_gateway = f"100.64.{number}.2", f"100.64.{number}.1"
        self.port = f"village{number}"
        world.provider.ip("addr", "add", f"{self.wan_gateway}/30", "dev", self.port)
        self.router.ip("addr", "add", f"{GATEWAY}/24", "dev", "lan0")
        self.address_wan()
        self.router.sysctl("net.ipv4.ip_forward", 1)
        self.masquerade()
        self.leases = self.router.folder / "leases"
        self.dnsmasq = Process(self.router, "dnsmasq", self._dnsmasq())
        self.dhcp = Process(
            self.device,
            "dhcp",
            [sys.executable, "-m", "tests.lab.dhcp", "eth0", str(self.device.resolv_conf)],
            device=True,
        )
        self.fake: Process  # of whatever server a fault puts here
        self.agent: Process

    def connect_device(self) -> None:
        """Connect the device to the router's LAN port."""
        cable(self.device, "eth0", self.router, "lan0")

    def agent_process(self, command: Sequence[str]) -> Process:
        """The agent on the device; `command` starts it on this machine."""
        return Process(self.device, f"agent-{self.interpreter}", command, device=True)

    def _dnsmasq(self) -> list[str]:
        return [
            program("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--user=root",
            "--pid-file=", "--interface=lan0", "--bind-interfaces", "--no-hosts", "--no-resolv",
            f"--server={RESOLVER}", "--dhcp-range=192.168.1.100,192.168.1.100,2m",
            f"--dhcp-leasefile={self.leases}", "--dhcp-authoritative", "--no-ping",
            "--log-facility=-", "--dhcp-rapid-commit", "--group=root",
        ]  # fmt: skip

    def address_wan(self) -> None:
        """Give the router's way out its address and route."""
        self.router.ip("addr", "replace", f"{self.wan}/30", "dev", "wan0")
        self.router.ip("link", "set", "wan0", "up")
        self.router.ip("route", "replace", "default", "via", self.wan_gateway)

    def masquerade(self) -> None:
        """Network address translation, as every village's router does it."""
        self.router.nft(
            "add table ip nat\n"
            "add chain ip nat post { type nat hook postrouting priority 100; }\n"
            'add rule ip nat post oifname "wan0" masquerade\n'
        )

    def start(self) -> None:
        """Switch the village's things on."""
        self.dnsmasq.start()
        self.dhcp.start()

    @property
    def online(self) -> bool:
        """Whether the device has an address."""
        return "default" in self.device.ip("route")

    def power_on(self) -> None:
        """Switch the device on: its kernel is another one than before the cut."""
        (self.folder / "state" / "boot_id").write_text(f"before-{time.monotonic_ns()}")
        self.agent.start()

    def clock_is_off(self, seconds: int) -> None:
        """Set the device's own clock wrong, or right."""
        (self.folder / "state" / "clock_off").write_text(str(seconds))

    @property
    def folder(self) -> Path:
        """The device's directory: configuration, certificates, state."""
        return self.world.folder / self.slot

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change keys of the agent's configuration, for its next start."""
        path = self.folder / "config.json"
        config = json.loads(path.read_text())
        for key, value in settings.items():
            section, _, name = key.rpartition(".")
            (config.setdefault(section, {}) if section else config)[name] = value
        path.write_text(json.dumps(config))


class World:
    """Everything, as a context manager."""

    village = Village

    def __init__(
        self, folder: Path, interpreters: Sequence[str], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = folder.resolve()
        self.interpreters = interpreters
        self.settings = {**SETTINGS, **(settings or {})}
        self._processes: list[Process] = []

    def __enter__(self) -> World:
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        call(program("ip"), "link", "set", "lo", "up")
        self.provider = Namespace("provider", self.folder)
        self.internet = Namespace("internet", self.folder)
        self.province_host = Namespace("province-host", self.folder)
        cable(self.provider, "uplink", self.internet, "provider0")
        cable(self.internet, "province0", self.province_host, "eth0")
        self.provider.ip("addr", "add", "198.18.0.2/30", "dev", "uplink")
        self.provider.ip("route", "add", "default", "via", "198.18.0.1")
        self.provider.sysctl("net.ipv4.ip_forward", 1)
        self.internet.ip("addr", "add", "198.18.0.1/30", "dev", "provider0")
        self.internet.ip("addr", "add", "203.0.113.1/24", "dev", "province0")
        self.internet.ip("route", "add", "100.64.0.0/16", "via", "198.18.0.2")
        self.internet.sysctl("net.ipv4.ip_forward", 1)
        for address in (*TARGETS, PAGE, TIME_SERVER, SINK):
            self.internet.ip("addr", "add", f"{address}/32", "dev", "lo")
        self.province_host.ip("addr", "add", f"{BROKER}/24", "dev", "eth0")
        self.province_host.ip("route", "add", "default", "via", "203.0.113.1")
        self.villages = [self.village(self, n, i) for n, i in enumerate(self.interpreters)]
        self._found()
        self._serve()
        for village in self.villages:
            village.start()
        for village in self.villages:
            self.wait_until(lambda v=village: v.online, f"{village.slot} has a lease")
        for village in self.villages:
            village.agent.start()
        return self

    def __exit__(self, *_: object) -> None:
        for village in self.villages:
            village.agent.kill()
        for process in self._processes:
            process.kill()

    def server(self, host: Namespace, name: str, *arguments: str) -> Process:
        """Start one of `tests.lab.servers` and wait until it serves."""
        process = Process(host, name, [sys.executable, "-m", "tests.lab.servers", *arguments])
        said = process.log.read_text().count("serving") if process.log.exists() else 0
        process.start()
        self._processes.append(process)
        self.wait_until(
            lambda: process.log.exists() and process.log.read_text().count("serving") > said, name
        )
        return process

    def _serve(self) -> None:
        names = [f"{name}={address}" for name, address in NAMES.items()]
        net = self.internet
        for address in (RESOLVER, ALTERNATIVE):
            self.server(net, f"dns-{address}", "dns", address, "53", "right", *names)
        self.server(net, "page", "http", PAGE, "80", "no-content")
        self.server(net, "ntp", "ntp", TIME_SERVER, "123")
        self.server(net, "sink", "sink", SINK, "9000")
        self.broker = Process(
            self.province_host,
            "mosquitto",
            [mosquitto(), "-c", str(broker_files(self.province).config)],
        )
        self.broker.start()
        self.ingest = Process(
            self.province_host,
            "ingest",
            [*self.small.ingest_command(), "--ack-reports", "2"],
        )
        self.ingest.start()
        self._processes += [self.broker, self.ingest]

    def _found(self) -> None:
        self.small = SmallProvince(
            self.folder, CODES, port=BROKER_PORT, bind=BROKER, hosts=("broker.lab", BROKER)
        )
        self.province = self.small.province
        write_config(self.province)
        for village in self.villages:
            _, command = self.small.enrol(village.code, village.interpreter, self.settings)
            village.agent = village.agent_process(command)

    # ---- what the province knows ---------------------------------------------------------

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query; none while there is no database."""
        return rows(self.small.province.database, sql, *values)

    def wait_until(
        self, condition: Callable[[], Any], what: str = "", deadline_s: float = 120.0
    ) -> None:
        """Wait until something is so."""
        if not self.happens(condition, deadline_s):
            raise RuntimeError(f"after {deadline_s:.0f} s still not: {what}")

    def happens(self, condition: Callable[[], Any], deadline_s: float) -> bool:
        """Whether something becomes so in time."""
        end = time.monotonic() + deadline_s
        while not condition():
            self._notice_deaths()
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def _notice_deaths(self) -> None:
        for village in self.villages:
            if village.agent.died:
                words = village.agent.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{village.agent.name} ended by itself: {words}")

    def foreign_certificate(self) -> tuple[Path, Path]:
        """Certificate for the broker's name from an authority that nobody knows, and its key."""

        paths = self.folder / "foreign.pem", self.folder / "foreign.key"
        if not paths[0].exists():
            issued = Authority.generate("Somebody Else").issue_server(["broker.lab", BROKER])
            paths[0].write_bytes(issued.certificate_pem)
            paths[1].write_bytes(issued.key_pem)
        return paths
