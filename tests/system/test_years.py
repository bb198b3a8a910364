"""Ten years of a province, with a moved clock: real commands, real Mosquitto, real TLS.

The clock is moved by libfaketime (the package `faketime`), in each process for itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from host_tools.broker.process import find_mosquitto
from host_tools.demo.small_province import SmallProvince
from host_tools.keys.ca import load_certificate
from tests.support import PATIENCE_S, ROOT, free_port, rows
from tests.world.plant import SETTINGS, VILLAGES

PASSPHRASE = "correct horse battery"
YEAR = 365.25

_FAKETIME = shutil.which("faketime")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(_FAKETIME is None, reason="the program faketime is not installed"),
]


class Walk:
    """A province whose commands, services and devices run at a time that is chosen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        small = SmallProvince(folder, VILLAGES[:2], port=free_port(), passphrase=PASSPHRASE)
        self.province = small.province
        self.agents: dict[str, list[str]] = {}
        for code, interpreter in zip(VILLAGES, ("cpython", "micropython"), strict=False):
            _, command = small.enrol(code, interpreter, SETTINGS)
            self.agents[interpreter] = list(command)
        self.days = 0.0
        # The program itself leaves semaphores behind when it is killed.
        assert _FAKETIME is not None
        command = [_FAKETIME, "-f", "+0d", "printenv", "LD_PRELOAD"]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        self._library = found.stdout.strip()

    def _faked(self, *command: object) -> list[str]:
        # By "@", a fixed start from which the clock runs on.
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + self.days * 86400))
        return [
            *("env", f"LD_PRELOAD={self._library}", f"FAKETIME=@{at}"),
            *("DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", *map(str, command)),
        ]

    def _desalink(self, *arguments: object) -> list[str]:
        start = "from host_tools.cli import main; main()"
        return self._faked(
            *(sys.executable, "-c", start, "-C", self.province.directory, *arguments)
        )

    def run(self, *arguments: object, code: int = 0) -> str:
        """Run `desalink` on this day; what it says."""
        done = subprocess.run(
            self._desalink(*arguments),
            cwd=ROOT,
            env={**os.environ, "DESALINK_PASSPHRASE": PASSPHRASE},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout + done.stderr

    @contextmanager
    def lives(self, *interpreters: str) -> Iterator[None]:
        """Broker, ingest and devices run at this time; at the end each has a new report stored."""
        self.run("broker", "config")
        config = self.province.broker_directory / "mosquitto.conf"
        commands = {
            "broker": self._faked(find_mosquitto(), "-c", config),
            "ingest": self._desalink("ingest"),
            **{name: self._faked(*self.agents[name]) for name in interpreters or self.agents},
        }
        with ExitStack() as stack:
            for name, command in commands.items():
                stack.enter_context(self._running(name, command))
            before = self._stored()
            yield
            self.wait(
                lambda: all(
                    count > before.get(slot, 0)
                    for slot, count in self._stored().items()
                    if slot in self.slots(interpreters)
                )
            )

    def slots(self, interpreters: tuple[str, ...] = ()) -> list[str]:
        """The slots of devices, of all if none is named."""
        names = list(self.agents)
        return [f"{VILLAGES[names.index(name)]}-1" for name in interpreters or names]

    def _stored(self) -> dict[str, int]:
        return dict.fromkeys(self.slots(), 0) | dict(
            rows(
                self.province.database,
                "SELECT slot, count(*) FROM reports JOIN streams ON streams.id = stream_id "
                "JOIN slots ON slots.id = slot_id GROUP BY slot",
            )
        )

    @contextmanager
    def _running(self, name: str, command: list[str]) -> Iterator[None]:
        with self.log(name).open("wb") as file:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True
            )
        try:
            yield
        except BaseException:
            print(f"---- {name}\n{self.log(name).read_text()[-3000:]}")
            raise
        finally:
            os.killpg(process.pid, SIGKILL if name in self.agents else SIGTERM)
            process.wait(PATIENCE_S)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def follow(self, *interpreters: str) -> None:
        """Publish certificates. Devices try theirs at the next connection, and then use it."""
        names = interpreters or tuple(self.agents)
        with self.lives(*names):
            self.run("renew", "devices")
            self._say("tried at the next", names)
        with self.lives(*names):
            self._say("new one is in use", names)

    def _say(self, words: str, names: tuple[str, ...]) -> None:
        self.wait(lambda: all(words in self.log(name).read_text() for name in names))

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 4 * PATIENCE_S
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.1)


def _ends(path: Path) -> float:
    """Days from now until a certificate ends."""
    end: float = load_certificate(path).not_valid_after_utc.timestamp()
    return (end - time.time()) / 86400


def test_a_province_outlives_its_certificates_its_root_key_and_its_authority(tmp_path: Path):
    walk = Walk(tmp_path)
    ingest = walk.province.service("ingest").certificate
    with walk.lives():
        pass

    # Year 4.6: the alarm comes half a year before services and devices end.
    walk.days = 4.6 * YEAR
    said = walk.run("crl", "check", "--days", "180", code=1)
    assert "The certificate of the service ingest" in said and "the device of" in said
    walk.follow()  # `broker config` renews the services
    walk.run("renew", "services")
    assert _ends(ingest) > 9 * YEAR

    # Year 5.5: beyond the first certificates. The CA's end is in sight.
    walk.days = 5.5 * YEAR
    with walk.lives():
        pass
    walk.run("backup", tmp_path / "year5.tar")
    assert "The CA's certificate" in walk.run("crl", "check", "--days", "1800", code=1)

    # Year 6: a new root key. One device is without power, and misses it.
    walk.days = 6 * YEAR
    walk.run("renew", "root")
    walk.follow("cpython")

    # Year 7: a new CA. The device that was away follows both changes at once.
    walk.days = 7 * YEAR
    walk.run("renew", "authority")
    assert "finish that change first" in walk.run("renew", "authority", code=1)
    said = walk.run("renew", "authority", "--finish", code=1)
    assert "2 devices would lose the broker" in said
    with walk.lives():
        pass  # with their old certificates
    walk.follow()
    walk.run("renew", "authority", "--finish")
    assert "nothing to finish" in walk.run("renew", "authority", "--finish", code=1)
    walk.run("backup", tmp_path / "year7.tar")

    # Year 10.1: the first CA has ended, and nobody notices.
    walk.days = 10.1 * YEAR
    walk.follow()
    walk.run("technicians", "add", "Ani")  # a new trust document, by the new root key
    walk.run("crl", "check", "--days", "365")
    # Year 14: what the second CA issued in year 10 still counts.
    walk.days = 14 * YEAR
    with walk.lives():
        pass
