"""Ten years of a province, with a moved clock: real commands, real Mosquitto, real TLS.

The clock is moved by libfaketime (the package `faketime`), in each process for itself.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM

import cbor2
import pytest

from host_tools.broker.process import find_mosquitto
from host_tools.demo.small_province import SmallProvince
from host_tools.keys.ca import load_certificate
from tests.support import ROOT, free_port

PASSPHRASE = "correct horse battery"
SLOT = "6403112001-1"
YEAR = 365.25

_FAKETIME = shutil.which("faketime")

pytestmark = pytest.mark.skipif(_FAKETIME is None, reason="the program faketime is not installed")

_CONNECT = """
import sys
from pathlib import Path
from host_tools.broker.client import AccessRefused, CheckClient
from host_tools.province.settings import TlsFiles
port, *files = sys.argv[1:]
try:
    client = CheckClient("localhost", int(port), TlsFiles(*map(Path, files)))
except AccessRefused as refused:
    sys.exit(f"refused: {refused}")
client.subscribe(f"desa/1/6403/6403112001-1/certificate")
try:
    print(client.messages.get(timeout=1).payload.hex())
except Exception:
    pass
client.close()
"""


class Walk:
    """A province whose commands run at a time that is chosen."""

    def __init__(self, folder: Path) -> None:
        code = SLOT.partition("-")[0]
        small = SmallProvince(folder, [code], port=free_port(), passphrase=PASSPHRASE)
        small.enrol(code, "cpython", {})
        self.province = small.province
        self._device = small.device_folder(code)
        self.days = 0.0

    def _faked(self, *command: object) -> list[str]:
        # By "@", a fixed start from which the clock runs on.
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + self.days * 86400))
        assert _FAKETIME is not None
        return [_FAKETIME, "--exclude-monotonic", "-f", f"@{at}", *map(str, command)]

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run `desalink` on this day."""
        start = "from host_tools.cli import main; main()"
        command = (sys.executable, "-c", start, "-C", self.province.directory, *arguments)
        return subprocess.run(
            self._faked(*command),
            cwd=ROOT,
            env={**os.environ, "DESALINK_PASSPHRASE": PASSPHRASE},
            capture_output=True,
            text=True,
            check=False,
        )

    def with_broker(self, action: Callable[[], None]) -> None:
        """Do something while the broker of this day runs."""
        done = self.run("broker", "config")
        assert done.returncode == 0, done.stderr
        config = self.province.broker_directory / "mosquitto.conf"
        log = self._device / "broker.log"
        with log.open("ab") as file:
            broker = subprocess.Popen(self._faked(find_mosquitto(), "-c", config), stderr=file)
        try:
            action()
        except BaseException:
            print(log.read_text())
            raise
        finally:
            # Of the broker itself: faketime is its parent, and would not end it.
            os.kill(int((self.province.broker_directory / "mosquitto.pid").read_text()), SIGTERM)
            broker.wait(20)

    def connects(self, who: str = "device") -> subprocess.CompletedProcess[str]:
        """Whether the device or a service can connect on this day."""
        files: tuple[Path, ...] = (
            self._device / "ca.pem",
            self._device / "client.pem",
            self._device / "client.key",
        )
        if who != "device":
            service = self.province.service(who)
            files = (service.ca, service.certificate, service.key)
        command = (sys.executable, "-c", _CONNECT, self.province.broker.port, *files)
        end = time.monotonic() + 20
        while True:
            done = subprocess.run(
                self._faked(*command), cwd=ROOT, capture_output=True, text=True, check=False
            )
            # The broker may only just be starting.
            if "Connection refused" not in done.stderr or time.monotonic() > end:
                return done

    def renewed(self) -> None:
        """Take the certificate that waits at the broker, as a device does."""
        done = self.connects()
        assert done.returncode == 0, done.stderr
        payload = cbor2.loads(bytes.fromhex(done.stdout.strip()))
        (self._device / "client.pem").write_text(ssl.DER_cert_to_PEM_cert(payload[1]))


def _ends(path: Path) -> float:
    """Days from now until a certificate ends."""
    end: float = load_certificate(path).not_valid_after_utc.timestamp()
    return (end - time.time()) / 86400


def test_a_province_lives_until_its_authority_ends(tmp_path: Path):
    walk = Walk(tmp_path)
    ingest = walk.province.service("ingest").certificate

    # Year 4.5: the alarm comes half a year before services and devices end.
    walk.days = 4.6 * YEAR
    done = walk.run("crl", "check", "--days", "180")
    assert done.returncode == 1
    assert "The certificate of the service ingest" in done.stdout
    assert f"the device of {SLOT}" in done.stdout

    def renew() -> None:
        assert walk.connects().returncode == 0
        done = walk.run("renew", "devices")
        assert done.returncode == 0, done.stderr
        walk.renewed()

    walk.with_broker(renew)  # `broker config` renews the services
    assert walk.run("renew", "services").returncode == 0
    assert _ends(ingest) > 9 * YEAR

    # Year 5.5: beyond the first certificates, everybody still connects.
    walk.days = 5.5 * YEAR

    def everybody() -> None:
        for who in ("device", "ingest", "operator"):
            done = walk.connects(who)
            assert done.returncode == 0, (who, done.stderr)

    walk.with_broker(everybody)
    assert walk.run("backup", tmp_path / "year5.tar").returncode == 0

    # Year 9: what is renewed now would end with the CA; each command says so.
    walk.days = 9.2 * YEAR

    def last() -> None:
        everybody()
        done = walk.run("renew", "services")
        assert done.returncode == 1 and "the CA itself ends on" in done.stderr

    walk.with_broker(last)
    done = walk.run("crl", "check", "--days", "365")
    assert done.returncode == 1 and "The CA's certificate" in done.stdout

    # Year 10.1: the end of the CA is an alarm, and nobody can connect.
    walk.days = 10.1 * YEAR
    done = walk.run("crl", "check")
    assert done.returncode == 1 and "has ended" in done.stderr
    done = walk.run("broker", "run")
    assert done.returncode == 1 and "No device could connect" in done.stderr
