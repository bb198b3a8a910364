"""Runs a real agent on a simulated clock against a real broker: the host's side of day.py."""

import base64
import contextlib
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from host_tools import wire
from tests import support
from tests.agent.net.mqtt_lab import Authority, broker_lines
from tests.sim import world
from tests.sim.province import Province
from tests.sim.world import UPLINK, Village

SLOT = "6403112001-1"


class Failed(AssertionError):
    """The agent ended where it should not have, or did not come to its end."""


class Site:
    """A folder with all that one device needs: configuration, certificates, device key, world.

    Args:
        port: the broker's port.
        more: keys of the configuration, `{"link.gateway": "off", ...}`.
    """

    def __init__(self, folder: Path, host: str, port: int, more: dict[str, Any] | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.authority = Authority(folder)
        self.server = self.authority.issue("broker", ["broker"])
        self.village = Village(folder)
        self.state = folder / "state"
        self.state.mkdir()
        cert, key = self.authority.issue(SLOT)
        settings = {
            "slot": SLOT,
            "port": "tests.sim.board",
            "state_dir": str(self.state),
            "broker.host": host,
            "broker.port": port,
            "broker.ca": str(self.authority.path),
            "broker.cert": cert,
            "broker.key": key,
            "broker.server_name": "broker",
            "clock.source": "auto",
            "clock.ntp": [],
            "link.gateway": "off",
            "link.dns": "off",
            "link.targets": [],
            "usage.interface": UPLINK,
            "usage.proc_net_dev": str(self.village.proc_net_dev),
            "usage.leases": str(self.village.leases),
            **(more or {}),
        }
        self.config = folder / "config.json"
        nested: dict[str, Any] = {}
        for name, value in settings.items():
            section, dot, last = name.partition(".")
            if dot:
                nested.setdefault(section, {})[last] = value
            else:
                nested[section] = value
        self.config.write_text(json.dumps(nested))

    def broker_lines(self) -> list[str]:
        return broker_lines(self.authority, self.server) + ["persistence true"]

    def enrol(self) -> bytes:
        """Have the agent make its key; its proof of possession, a COSE_Sign1."""
        result = subprocess.run(
            [support.micropython(), "-m", "agent", "--enrol", str(self.config)],
            cwd=support.ROOT,
            capture_output=True,
            text=True,
            timeout=2 * support.PATIENCE_S,
        )
        if result.returncode:
            raise Failed(f"enrolling failed: {result.stderr}")
        return base64.b64decode(result.stdout)

    def province(self) -> Province:
        """Enrol the device and make a province that knows it; not connected yet."""
        self.proof = self.enrol()
        # The proof names the key to verify it with: key 2 of the payload, 32 bytes.
        at = self.proof.index(b"\x02\x58\x20") + 3
        key = self.proof[at : at + 32]
        payload, _ = wire.verify_sign1(self.proof, key, wire.enrol_topic(SLOT).encode())
        assert wire.parse_enrolment(payload).public_key == key
        cert, own_key = self.authority.issue("province")

        def prepare(client: mqtt.Client) -> None:
            context = ssl.create_default_context(cafile=str(self.authority.path))
            context.load_cert_chain(cert, own_key)
            context.check_hostname = False  # paho would ask for the name "127.0.0.1"
            client.tls_set_context(context)

        return Province(SLOT, key, wire.hash8(key), prepare)


@contextlib.contextmanager
def life(
    site: Site, province: Province, broker_port: int, **options: Any
) -> Iterator[tuple[support.Broker, "Device"]]:
    """A broker, the province connected to it, and then a Device with these options: no report is
    sent that nobody waits for. At the end all has arrived that was sent."""
    lines = site.broker_lines()
    with support.start_mosquitto(site.folder / "broker", lines, broker_port) as broker:
        province.connect("127.0.0.1", broker_port)
        try:
            with Device(site.config, **options) as device:
                yield broker, device
            province.catch_up()
        finally:
            province.close()


class Device:
    """An agent on a simulated clock in a process of its own; see tests/sim/day.py.

    Args:
        modules: names of modules for day.py to install, each with its argument.
        prefix: a command to start it with, such as one that enters a network namespace.
        agent: a folder that holds `agent/`, if not this repository's.
        rom: a ROMFS image that holds `agent/`; its size is added to the heap's.

    Attributes:
        minute: how many simulated minutes have passed; the device stands still at its end.
        heaps: bytes allocated after a collection, wherever `heap` asked for it.
    """

    def __init__(
        self,
        config: Path,
        interpreter: str = "micropython",
        heapsize: str | None = None,
        modules: Sequence[tuple[str, object]] = (),
        prefix: Sequence[str] = (),
        agent: Path | None = None,
        rom: Path | None = None,
    ) -> None:
        folder = support.ROOT / "tests" / "sim"
        script = [folder / "rom.py", rom] if rom else [folder / "day.py"]
        if rom and heapsize:
            heapsize = str(support.bytes_of(heapsize) + rom.stat().st_size)
        command = [*prefix]
        if interpreter == "micropython":
            command += [support.micropython()]
            command += ["-X", f"heapsize={heapsize}"] if heapsize else []
        else:
            command += [sys.executable]
        command += [*map(str, script), str(config)]
        earlier_s = world.earlier_s()
        if earlier_s:
            modules = [*modules, ("tests.sim.shift", earlier_s)]
        for module, argument in modules:
            command += [module, str(argument)]
        environment = {**support.micropython_env(), "PYTHONPATH": str(support.ROOT)}
        if agent is not None:
            environment["MICROPYPATH"] = f"{agent}{os.pathsep}{environment['MICROPYPATH']}"
        self._log = (config.parent / "device.log").open("w+")
        self.process = subprocess.Popen(
            command,
            cwd=support.ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
        )
        self.started = world.begin()
        self.minute = 0
        self.heaps: list[int] = []

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()
        self._log.close()

    @property
    def now(self) -> float:
        """The simulated Unix time, to a few seconds."""
        return self.started + 60 * self.minute

    @property
    def log(self) -> str:
        """What the agent has said on stderr."""
        return (Path(self._log.name)).read_text()

    def next_minute(self) -> int:
        """Let the device run until the end of the next simulated minute; returns its number."""
        if self.minute:
            self._tell("")
        self.minute = int(self._hear("minute"))
        return self.minute

    def ask(self, command: str) -> int:
        """The answer to a command, while the device stands still."""
        self._tell(command)
        return int(self._hear(command))

    def heap(self) -> int:
        """Bytes that are allocated after a collection, while the device stands still."""
        self.heaps.append(self.ask("heap"))
        return self.heaps[-1]

    def names(self) -> int:
        """How many names (qstr) the interpreter has learned; needs the module tests.sim.names."""
        assert self.process.stdout
        self._tell("names")
        account = self.process.stdout.readline()
        found = re.search(r"n_qstr=(\d+)", account)
        if not found:
            raise Failed(f"no account of names: {account!r}")
        return int(found[1])

    def finish(self, minutes: int = 30) -> str:
        """Ask the agent to end, wait until it has; returns what it said on stderr.

        Raises Failed if it is still there after so many simulated minutes."""
        assert self.process.stdout
        self._tell("stop")
        while minutes:
            self._tell("")
            if not self.process.stdout.readline():
                break
            minutes -= 1
        else:
            raise Failed(f"the agent does not end:\n{self.log[-2000:]}")
        if self.process.wait(support.PATIENCE_S):
            raise Failed(f"the agent ended with {self.process.returncode}:\n{self.log[-2000:]}")
        return self.log

    def _tell(self, line: str) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")

    def _hear(self, word: str) -> str:
        assert self.process.stdout
        said = self.process.stdout.readline()
        line = said.split()
        if len(line) != 2 or line[0] != word:
            # MicroPython's tracebacks go to the same place; then it ends.
            self._tell("")
            said += self.process.stdout.read() if not said or said.startswith("Tra") else ""
            raise Failed(f"minute {self.minute}: the agent said {said!r}:\n{self.log[-2000:]}")
        return line[1]
