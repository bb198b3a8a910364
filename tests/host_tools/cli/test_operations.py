"""docs/operations.md followed to the letter: its commands are taken out of the page and run."""

from __future__ import annotations

import grp
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.broker.client import CheckClient
from host_tools.common.errors import BrokerError
from host_tools.field.enrolments import EnrolmentLog
from host_tools.people.kits.opened import read_kit
from host_tools.province.registry import Registry
from host_tools.province.settings import Province, load
from tests.host_tools.conftest import PASSPHRASE
from tests.support import ROOT, free_port
from tests.world.ingesting import wait_for
from tests.world.kits import KIT_PASSPHRASE, FieldDevice

PAGE = ROOT / "docs" / "operations.md"
START = "from host_tools.cli import main; main()"
VERBS = {"desalink-broker": ("broker", "run"), "desalink-ingest": ("ingest",)}
SETTINGS = "[usage.snmp]\nhost = '192.168.1.1'\n"


def commands() -> list[str]:
    """The lines of the page's blocks, without their comments."""
    lines = re.findall(r"^    (\S.*)$", PAGE.read_text(), re.MULTILINE)
    return [re.sub(r"\s+# .*$", "", line) for line in lines]


class Operator:
    """Does what the page says, on a machine without systemd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.here = folder
        self.services: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DESALINK_PASSPHRASE": PASSPHRASE,
            "DESALINK_KIT_PASSPHRASE": KIT_PASSPHRASE,
        }
        self.places = {
            "/mnt/backup": str(folder / "backup"),
            "/srv/": f"{folder}/srv/",
            "broker.example.go.id": "localhost",
            "watch": grp.getgrgid(os.getgid()).gr_name,
        }
        # What the page leaves to the reader: where systemd is, and what is asked for.
        self.more = {
            "init": ("--broker-port", str(free_port()), "--bind", "127.0.0.1"),
            "service install": ("--directory", str(folder / "units")),
            "passphrase change": ("--new-passphrase-file", str(folder / "new")),
            "kit revoke south.desakit": ("--yes",),
            "renew authority --finish": ("--yes",),  # no real device follows here
        }
        for name in ("backup", "units", "srv"):
            (folder / name).mkdir()
        (folder / "new").write_text("another good passphrase\n")
        (folder / "new").chmod(0o600)

    @property
    def province(self) -> Province:
        return load(self.here)

    def do(self, line: str) -> str:
        """Run one line of the page; returns what it wrote."""
        for place, ours in self.places.items():
            line = line.replace(place, ours)
        if "/FILE" in line:
            newest = max((self.folder / "backup").iterdir(), key=lambda path: path.stat().st_mtime)
            line = line.replace("/FILE", f"/{newest.name}")
        if line.startswith("cd "):
            self.here /= line[3:]
            return ""
        if line.startswith("systemctl "):
            return self._service(line.split()[1:])
        if not line.startswith("desalink "):
            subprocess.run(line, shell=True, check=True, cwd=self.here)
            return ""
        arguments = shlex.split(line)[1:]
        for verb, more in self.more.items():
            if " ".join(arguments).startswith(verb):
                arguments += more
        done = subprocess.run(
            [sys.executable, "-c", START, *arguments],
            cwd=self.here,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.code, self.said = done.returncode, done.stderr
        if line.startswith("desalink passphrase"):
            self.environment["DESALINK_PASSPHRASE"] = "another good passphrase"
        return done.stdout

    def _service(self, words: list[str]) -> str:
        action, names = words[0], [name for name in words[1:] if name in VERBS]
        if action in ("stop", "restart"):
            for name in names:
                self._stop(name)
        if action in ("start", "restart", "enable"):
            for name in names:
                self.services[name] = subprocess.Popen(
                    [sys.executable, "-c", START, *VERBS[name]],
                    cwd=self.here,
                    env=self.environment,
                    stdout=subprocess.DEVNULL,
                    stderr=(self.folder / f"{name}.log").open("ab"),
                )
            wait_for(self._answers, 60)
        return ""

    def _answers(self) -> bool:
        province = self.province
        try:
            CheckClient("127.0.0.1", province.broker.port, province.service("operator")).close()
        except BrokerError:
            return False
        return True

    def _stop(self, name: str) -> None:
        process = self.services.pop(name, None)
        if process is not None:
            process.terminate()
            assert process.wait(60) == 0, name

    def end(self) -> None:
        for name in list(self.services):
            self._stop(name)

    # ---- what happens beside the page ----------------------------------------------------

    def before(self, line: str) -> None:
        """What others do before a line: the technician's trip, a table of positions."""
        if line.startswith("desalink villages import"):
            (self.here / "positions.csv").write_text("code,lat,lon\n64.03.11.2001,2.3,118.6\n")
        if line.startswith("desalink enrolments import"):
            self.trip("berau.desakit", "6403112001")
        if line.startswith("desalink kit create"):
            (self.here / "sites.toml").write_text(SETTINGS)

    def trip(self, kit_name: str, village: str) -> None:
        self.do(f"desalink kit create --technician Ani --villages {village} -o {kit_name}")
        kit = read_kit(self.here / kit_name, KIT_PASSPHRASE)
        log = EnrolmentLog(self.folder / "log")
        FieldDevice("a0:b7:65:00:00:01").enrol(log, kit, f"{village}-1")
        (self.here / "ani.enrolments").write_bytes(log.export())


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(tmp_path)
    yield operator
    operator.end()


# What a command of the page must have said or done; the others must end with 0.
SAYS = {
    "desalink broker check": "hold",
    "desalink status --check": '"result": "',
    "desalink enrolments import": "1 device enrolled",
    "desalink quarantine list": "",
    "desalink devices revoke": "of slot 6403112001-1 is revoked",
    "desalink devices replace": "may replace",
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_command_of_the_page_does_what_the_page_says(operator: Operator):
    done = []
    for line in commands():
        operator.before(line)
        said = operator.do(line)
        if line.startswith("desalink "):
            expected = (0, 1) if "--check" in line else (0,)
            assert operator.code in expected, f"{line}: {said}{operator.said}"
            for beginning, words in SAYS.items():
                if line.startswith(beginning):
                    assert words in said + operator.said, f"{line}: {said}{operator.said}"
        done.append(line)
    assert len(done) > 40
    with Registry.open(operator.here) as registry:
        assert [device.slot for device in registry.active_devices()] == ["6403112001-1"]
        assert {kit.state(time.time()) for kit in registry.kits()} == {
            "revoked",
            "key revoked",
        }
    for name in ("desalink-broker", "desalink-ingest"):
        assert operator.services[name].poll() is None, name


def test_every_verb_of_an_operator_is_on_the_page():
    page = PAGE.read_text()
    laptops = {
        "demo",
        "doctor",
        "labels",
        "provision",
        "package",
        "simulate",
        "boards",
        "firmware",
        "stick",
        "menu",
    }
    verbs = {file.stem for file in (ROOT / "host_tools" / "cli").glob("[a-z]*.py")} - laptops
    assert {verb for verb in verbs if f"desalink {verb}" not in page} == set()
