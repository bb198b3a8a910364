"""The agent on a Raspberry Pi: the service and its sandbox, the watchdog, the supply."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.wire import ids
from boards.raspberry_pi import board
from host_tools.devices.boards import load_board
from host_tools.field.provision.linux import LinuxDevice
from host_tools.field.provision.linux_agent import Identity
from tests.support import ROOT

UNIT = ROOT / "boards/raspberry_pi/desalink.service"


def unit() -> dict[str, list[str]]:
    """The service's section, strictly: NAME=VALUE lines, comments, nothing else."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in UNIT.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(match[1], {})
            continue
        name, equals, value = line.partition("=")
        assert equals and re.fullmatch(r"[A-Z]\w+", name) and value == value.strip(), line
        section.setdefault(name, []).append(value)
    assert list(sections) == ["Unit", "Service", "Install"]
    return sections["Service"]


def test_the_service_can_do_nothing_but_its_work() -> None:
    service = unit()
    for name, value in {
        "User": "desalink",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "CAP_NET_RAW",
        "AmbientCapabilities": "CAP_NET_RAW",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateDevices": "yes",
        "ProtectKernelTunables": "yes",
        "MemoryDenyWriteExecute": "yes",
        "RestrictNamespaces": "yes",
        "SystemCallArchitectures": "native",
        "UMask": "0077",
        "Restart": "always",
    }.items():
        assert service[name] == [value], name
    assert set(service["RestrictAddressFamilies"][0].split()) == {
        "AF_INET",
        "AF_INET6",
        "AF_UNIX",
        "AF_NETLINK",
    }
    assert service["SystemCallFilter"][0].startswith("@system-service")
    # The slowest round that a configuration may ask for takes a minute.
    assert int(service["WatchdogSec"][0]) > 2 * 60


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="parsed strictly above")
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    # systemd-analyze searches the started program on this machine.
    copy = tmp_path / "desalink.service"
    copy.write_text(UNIT.read_text().replace("/usr/bin/python3", "/bin/sh"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy)],
        capture_output=True,
        text=True,
    )
    about = [line for line in checked.stderr.splitlines() if "desalink" in line]
    assert checked.returncode == 0 and not about, checked.stderr
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(copy)],
        capture_output=True,
        text=True,
    )
    if "unrecognized option" not in rated.stderr:  # before systemd 250
        assert rated.returncode == 0, rated.stdout


def test_the_service_finds_what_provisioning_has_put(tmp_path: Path) -> None:
    service = unit()
    identity = Identity("10000000abcdef01", "raspberry-pi", "", "python3", "eth0")
    pi = load_board("raspberry-pi")
    nothing: Any = None
    device = LinuxDevice(nothing, identity, pi, nothing, nothing)
    config = device.configuration({"slot": "6403112001-1", "broker": {"host": "broker"}})
    assert service["ExecStart"] == [f"/usr/bin/python3 -m agent {device.config_path}"]
    # ProtectSystem=strict permits writing only there.
    assert config["state_dir"] == f"/var/lib/{service['StateDirectory'][0]}"
    assert (ROOT / "boards/raspberry_pi/board.py").exists()
    assert config["port"] == "boards.raspberry_pi.board"
    assert config["link"]["interface"] == config["usage"]["interface"] == "eth0"
    users = (ROOT / "boards/raspberry_pi/sysusers.conf").read_text()
    assert re.search(rf"(?m)^u {service['User'][0]} ", users)


class Elsewhere(board.Board):
    """The port on a Pi whose files lie in a folder."""

    def __init__(self, root: Path) -> None:
        (root / "state").mkdir(exist_ok=True)
        super().__init__(str(root / "state"))
        self.root = root
        self.rsts = str(root / "rsts")
        self.hwmon = str(root / "hwmon")
        self.cpuinfo = str(root / "cpuinfo")

    def boot(self, powered_on: bool) -> Elsewhere:
        """Another start of the device."""
        (self.root / "state/boot_id").write_text("the boot before")
        (self.root / "rsts").write_bytes((0x1000 if powered_on else 0x20).to_bytes(4, "big"))
        return Elsewhere(self.root)

    def supply(self, low: bool) -> None:
        for name, text in (("name", "rpi_volt\n"), ("in0_lcrit_alarm", f"{int(low)}\n")):
            (self.root / "hwmon/hwmon1").mkdir(parents=True, exist_ok=True)
            (self.root / "hwmon/hwmon1" / name).write_text(text)


def test_a_pi_is_known_by_its_serial_number(tmp_path: Path) -> None:
    pi = Elsewhere(tmp_path)
    (tmp_path / "cpuinfo").write_text("Revision\t: c03115\nSerial\t\t: 10000000abcdef01\n")
    assert pi.unique_id() == "10000000abcdef01"


def test_why_it_started(tmp_path: Path) -> None:
    pi = Elsewhere(tmp_path)
    assert pi.boot(powered_on=True).reset_cause() == ids.RESET_POWER
    assert pi.boot(powered_on=False).reset_cause() == ids.RESET_UNKNOWN
    # The same kernel as a moment ago: only the agent was started again.
    assert Elsewhere(tmp_path).reset_cause() == ids.RESET_AGENT


def test_a_supply_that_was_low_before_the_power_came_back_is_a_brownout(tmp_path: Path) -> None:
    pi = Elsewhere(tmp_path)
    pi.supply(low=True)
    pi.feed_watchdog()
    assert pi.boot(powered_on=True).reset_cause() == ids.RESET_BROWNOUT
    assert pi.boot(powered_on=True).reset_cause() == ids.RESET_POWER, "reported once"
    # One that has been good again for a minute is not to blame.
    pi.feed_watchdog()
    pi.supply(low=False)
    for _ in range(6):
        pi.feed_watchdog()
    assert pi.boot(powered_on=True).reset_cause() == ids.RESET_POWER


def test_a_trembling_supply_does_not_wear_out_the_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pi = Elsewhere(tmp_path)
    for minute in range(60):
        pi.supply(low=minute % 2 == 0)
        pi.feed_watchdog()
    assert capsys.readouterr().err.count("below 4.63 V") == 1


def test_systemd_hears_of_every_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "300000000")
        pi = Elsewhere(tmp_path)
        pi.feed_watchdog()
        assert systemd.recv(100) == b"WATCHDOG=1"
        # Nobody has asked for it: no packet, and no socket.
        monkeypatch.delenv("WATCHDOG_USEC")
        Elsewhere(tmp_path).feed_watchdog()
        systemd.settimeout(0)
        with pytest.raises(BlockingIOError):
            systemd.recv(100)
    pi.feed_watchdog()  # systemd is gone: said, and nothing else
