"""The doctor, on laptops built of files as Linux shows them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from host_tools.common.i18n import set_language
from host_tools.field.doctor import Diagnosis, Machine, access, drivers, grabbers, laptop, usb
from host_tools.keys.ca import Authority
from host_tools.people.kits import KitDirectory
from host_tools.people.kits.seal import new_header
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from tests.host_tools.conftest import Run
from tests.host_tools.kits import KIT_PASSPHRASE, make_kit, sealed

RELEASE = "6.8.0-49-generic"
NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC).timestamp()
BUDI = 4711


class Laptop:
    """A tree of files with a healthy Ubuntu on it, to be spoilt by the tests."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("/proc/sys/kernel/osrelease", RELEASE + "\n")
        self.write("/proc/modules", "usbcore 425984 8 xhci_hcd,usbhid, Live 0x0000000000000000\n")
        kernel = f"/lib/modules/{RELEASE}"
        self.write(f"{kernel}/modules.builtin", "kernel/drivers/usb/core/usbcore.ko\n")
        self.write(
            f"{kernel}/modules.dep",
            "".join(
                f"kernel/drivers/usb/{place}.ko.zst: kernel/drivers/usb/serial/usbserial.ko.zst\n"
                for place in ("serial/ch341", "serial/cp210x", "serial/ftdi_sio", "class/cdc-acm")
            ),
        )
        self.write("/etc/group", "root:x:0:\ntty:x:5:\ndialout:x:20:sari,budi\n")
        self.write("/proc/1/comm", "systemd\n")
        self.usb("usb1", bDeviceClass="09", bMaxPower="0mA", bmAttributes="e0")

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def write(self, name: str, text: str) -> Path:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def link(self, name: str, target: str) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def usb(self, name: str, **attributes: str) -> None:
        for key, value in attributes.items():
            self.write(f"/sys/bus/usb/devices/{name}/{key}", value + "\n")

    def hub(self, name: str, *, own_supply: bool) -> None:
        self.usb(
            name,
            idVendor="1a40",
            idProduct="0101",
            product="USB 2.0 Hub",
            bDeviceClass="09",
            bMaxPower="100mA",
            bmAttributes="e0" if own_supply else "80",
        )
        self.link(f"/sys/bus/usb/devices/{name}:1.0/driver", "../../../../bus/usb/drivers/hub")

    def board(self, name: str, driver: str | None = "ch341", *, ids: str = "1a86:7523") -> None:
        vendor, product = ids.split(":")
        self.usb(
            name,
            idVendor=vendor,
            idProduct=product,
            product="USB Serial",
            bDeviceClass="ff",
            bMaxPower="98mA",
            bmAttributes="80",
        )
        interface = f"/sys/bus/usb/devices/{name}:1.0"
        self.write(f"{interface}/bInterfaceClass", "ff\n")
        if driver:
            self.link(f"{interface}/driver", f"../../../../bus/usb/drivers/{driver}")

    def port(self, name: str, mode: int = 0o660) -> int:
        """A serial port of the group that it returns."""
        path = self.write(f"/dev/{name}", "")
        if os.geteuid() == 0:
            os.chown(path, 0, 20)
        path.chmod(mode)
        return path.stat().st_gid

    def process(self, pid: int, name: str, *files: str) -> None:
        self.write(f"/proc/{pid}/comm", name + "\n")
        for handle, target in enumerate(files):
            self.link(f"/proc/{pid}/fd/{handle}", target)

    def machine(self, says: dict[str, str] | None = None, **changes: object) -> Machine:
        said = {"timedatectl": "yes\n", **(says or {})}
        machine = Machine(
            root=self.root,
            uid=BUDI,
            user="budi",
            groups=frozenset([BUDI, 20]),
            now=NOW,
            run=lambda arguments: said.get(arguments[0]),
            free=lambda path: 10**11,
        )
        return replace(machine, **changes)  # type: ignore[arg-type]


@pytest.fixture
def pc(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path / "root")


@pytest.fixture(autouse=True)
def _english():
    set_language("en")
    yield
    set_language(None)


def only(findings: list[Diagnosis]) -> Diagnosis:
    assert len(findings) == 1, findings
    return findings[0]


def told(findings: list[Diagnosis], level: str) -> list[str]:
    assert all((finding.fix is None) == (finding.level == "ok") for finding in findings)
    return [finding.text for finding in findings if finding.level == level]


# --- drivers


def test_drivers_that_can_be_loaded_are_enough(pc: Laptop):
    assert only(drivers.check(pc.machine())).level == "ok"


@pytest.mark.parametrize("plugged", [False, True])
def test_a_kernel_without_a_driver(pc: Laptop, plugged: bool):
    modules = pc.path(f"/lib/modules/{RELEASE}/modules.dep")
    modules.write_text(modules.read_text().replace("ch341", "other"))
    if plugged:
        pc.board("1-4", driver=None)
    found = only(drivers.check(pc.machine()))
    assert found.level == ("problem" if plugged else "warning")
    assert "no driver ch341" in found.text
    assert f"linux-modules-extra-{RELEASE}" in str(found.fix)


@pytest.mark.parametrize("where", ["builtin", "loaded", "registered"])
def test_a_driver_may_be_built_in_or_loaded(pc: Laptop, where: str):
    directory = f"/lib/modules/{RELEASE}"
    pc.write(f"{directory}/modules.dep", "kernel/drivers/usb/class/cdc-acm.ko.xz:\n")
    names = ("ch341", "cp210x", "ftdi_sio")
    if where == "builtin":
        lines = [f"kernel/drivers/usb/serial/{name}.ko\n" for name in names]
        pc.write(f"{directory}/modules.builtin", "".join(lines))
    elif where == "loaded":
        pc.write("/proc/modules", "".join(f"{name} 24576 0 - Live 0x0\n" for name in names))
    else:
        for name in ("ch341-uart", "cp210x", "ftdi_sio"):
            pc.path(f"/sys/bus/usb-serial/drivers/{name}").mkdir(parents=True)
    assert only(drivers.check(pc.machine())).level == "ok"


@pytest.mark.parametrize("line", ["blacklist ch341", "install ch341 /bin/false"])
def test_a_forbidden_driver_is_named_with_the_file(pc: Laptop, line: str):
    pc.write("/etc/modprobe.d/usb.conf", f"# blacklist cp210x\n{line}\n")
    found = only(drivers.check(pc.machine()))
    assert "ch341" in found.text and "/etc/modprobe.d/usb.conf" in found.text


def test_an_updated_kernel_wants_a_restart(pc: Laptop):
    pc.write("/proc/sys/kernel/osrelease", "6.9.0\n")
    assert "Restart" in str(only(drivers.check(pc.machine())).fix)


# --- USB


def test_boards_with_ports_are_well(pc: Laptop):
    pc.hub("1-4", own_supply=True)
    pc.board("1-4.1")
    pc.board("1-4.2", "cdc_acm", ids="303a:1001")
    pc.port("ttyUSB0")
    pc.port("ttyACM0")
    findings = usb.check(pc.machine())
    assert [finding.level for finding in findings] == ["ok", "ok"]
    assert "2 boards are on USB (/dev/ttyACM0, /dev/ttyUSB0)" in findings[0].text


def test_no_board_means_perhaps_a_cable_without_data(pc: Laptop):
    pc.usb("1-3", idVendor="046d", idProduct="c077", product="Mouse", bDeviceClass="00")
    found = only(usb.check(pc.machine()))
    assert found.level == "warning"
    assert "its cable carries power only" in str(found.fix)


def test_a_board_without_a_driver(pc: Laptop):
    pc.board("1-2", driver=None, ids="10c4:ea60")
    found = only(usb.check(pc.machine()))
    assert found.level == "problem"
    assert "USB Serial at USB 1-2 has no driver" in found.text
    assert "modprobe cp210x" in str(found.fix)


def test_a_board_that_a_program_took_from_the_driver(pc: Laptop):
    pc.board("1-2", driver="usbfs")
    found = only(usb.check(pc.machine()))
    assert found.level == "problem" and "held by a program (usbfs)" in found.text


@pytest.mark.parametrize(
    "line",
    [
        "[ 812.3] usb 1-4.2: device descriptor read/64, error -71",
        "[ 815.1] usb 1-4.2: device not accepting address 9, error -71",
        "[ 815.2] usb 1-4-port2: unable to enumerate USB device",
        "[ 815.2] usb usb1-port4: Cannot enable. Maybe the USB cable is bad?",
    ],
)
def test_a_device_that_does_not_answer_points_to_the_cable(pc: Laptop, line: str):
    quiet = "[ 800.0] usb 1-1: new full-speed USB device number 8 using xhci_hcd\n"
    pc.board("1-1")
    assert told(usb.check(pc.machine({"dmesg": quiet})), "warning") == []
    [text] = told(usb.check(pc.machine({"dmesg": quiet + line + "\n"})), "warning")
    assert "did not answer" in text


def test_many_boards_on_a_hub_without_a_supply(pc: Laptop):
    pc.hub("1-4", own_supply=False)
    pc.board("1-4.1")
    assert told(usb.check(pc.machine()), "warning") == []
    pc.board("1-4.2")
    # On another hub behind it, and one elsewhere.
    pc.hub("1-4.4", own_supply=False)
    pc.board("1-4.4.1")
    pc.board("1-40")
    [text] = told(usb.check(pc.machine()), "warning")
    assert "1-4 has no power supply of its own and feeds 3 boards" in text
    assert "900 mA of 400 mA" in text


def test_a_port_switched_off_for_too_much_current(pc: Laptop):
    pc.board("1-4.1")
    pc.hub("1-4", own_supply=True)
    for port, count in (("1-4-port1", 0), ("1-4-port3", 2)):
        pc.write(f"/sys/bus/usb/devices/1-4:1.0/{port}/over_current_count", f"{count}\n")
    [text] = told(usb.check(pc.machine()), "warning")
    assert text == "USB port 1-4-port3 was switched off 2 times for too much current."


# --- permissions


def test_a_member_of_the_group_may_open_ports(pc: Laptop):
    gid = pc.port("ttyUSB0")
    found = only(access.check(pc.machine(groups=frozenset([gid]))))
    assert found.level == "ok"


def test_whoever_is_not_in_the_group_is_told_the_command(pc: Laptop):
    gid = pc.port("ttyUSB0")
    pc.write("/etc/group", f"dialout:x:{gid or 20}:sari\n")
    found = only(access.check(pc.machine(groups=frozenset([BUDI]))))
    assert found.level == "problem"
    assert "budi may not open /dev/ttyUSB0" in found.text
    assert "sudo usermod -aG dialout budi" in str(found.fix)


def test_before_a_board_is_plugged_in_the_group_is_told_as_well(pc: Laptop):
    pc.write("/etc/group", "uucp:x:14:\n")
    found = only(access.check(pc.machine(groups=frozenset([BUDI]))))
    assert found.level == "problem"
    assert "usermod -aG uucp budi" in str(found.fix)
    assert only(access.check(pc.machine(groups=frozenset([14])))).level == "ok"


def test_a_new_member_has_to_log_in_again(pc: Laptop):
    found = only(access.check(pc.machine(groups=frozenset([BUDI]))))
    assert found.level == "problem"
    assert "session does not know it yet" in found.text
    assert "Log out and in again" in str(found.fix)


def test_a_port_with_odd_permissions(pc: Laptop):
    pc.port("ttyUSB0", 0o600)
    found = only(access.check(pc.machine()))
    assert found.level == "problem" and "chmod 660 /dev/ttyUSB0" in str(found.fix)
    pc.path("/dev/ttyUSB0").chmod(0o666)
    assert only(access.check(pc.machine(groups=frozenset()))).level == "ok"


# --- programs that grab

BRLTTY_RULES = """\
# Device: 1A86:7523
# Baum [NLS eReader Zoomax (20 cells)]
ENV{PRODUCT}=="1a86/7523/*", ENV{BRLTTY_BRAILLE_DRIVER}="bm", GOTO="brltty_usb_run"
"""


def _grabber(findings: list[Diagnosis], check: str) -> Diagnosis:
    return only([finding for finding in findings if finding.check == check])


def test_a_quiet_laptop(pc: Laptop):
    assert [finding.level for finding in grabbers.check(pc.machine())] == ["ok", "ok"]


def test_brltty_running(pc: Laptop):
    pc.process(812, "brltty")
    found = _grabber(grabbers.check(pc.machine()), "brltty")
    assert found.level == "problem" and "apt remove brltty" in str(found.fix)


def test_brltty_waiting_for_an_adapter(pc: Laptop):
    pc.write("/usr/lib/udev/rules.d/85-brltty.rules", BRLTTY_RULES)
    found = _grabber(grabbers.check(pc.machine()), "brltty")
    assert found.level == "problem" and "85-brltty.rules" in found.text


def _comment_out(pc: Laptop) -> None:
    pc.write("/usr/lib/udev/rules.d/85-brltty.rules", BRLTTY_RULES.replace("\nENV", "\n# ENV"))


@pytest.mark.parametrize(
    "switch_off",
    [
        lambda pc: pc.link("/etc/udev/rules.d/85-brltty.rules", "/dev/null"),
        lambda pc: pc.link("/etc/systemd/system/brltty-udev.service", "/dev/null"),
        _comment_out,
    ],
    ids=["rule masked", "unit masked", "rule commented out"],
)
def test_brltty_switched_off_is_no_matter(pc: Laptop, switch_off: Callable[[Laptop], None]):
    pc.write("/usr/lib/udev/rules.d/85-brltty.rules", BRLTTY_RULES)
    switch_off(pc)
    assert _grabber(grabbers.check(pc.machine()), "brltty").level == "ok"


def test_modemmanager(pc: Laptop):
    pc.process(900, "ModemManager")
    found = _grabber(grabbers.check(pc.machine()), "modemmanager")
    assert found.level == "warning" and "systemctl stop ModemManager" in str(found.fix)
    rule = 'ATTRS{{idVendor}}=="{}", ENV{{ID_MM_DEVICE_IGNORE}}="1"\n'
    vendors = ["1a86", "10c4", "0403"]
    pc.write("/etc/udev/rules.d/99-boards.rules", "".join(rule.format(v) for v in vendors))
    assert _grabber(grabbers.check(pc.machine()), "modemmanager").level == "warning"
    pc.write("/etc/udev/rules.d/99-more.rules", rule.format("303a"))
    assert _grabber(grabbers.check(pc.machine()), "modemmanager").level == "ok"


def test_a_program_that_holds_a_port(pc: Laptop):
    pc.port("ttyUSB0")
    pc.port("ttyUSB1")
    pc.process(4242, "minicom", "/dev/pts/1", "/dev/ttyUSB1", "/dev/ttyUSB1")
    found = _grabber(grabbers.check(pc.machine()), "in-use")
    assert found.text == "minicom (process 4242) has /dev/ttyUSB1 open."
    assert found.level == "problem" and "kill 4242" in str(found.fix)


# --- the laptop


@pytest.mark.parametrize(
    ("free", "level"), [(10**10, "ok"), (200_000_000, "warning"), (1_000_000, "problem")]
)
def test_room_on_the_disk(pc: Laptop, tmp_path: Path, free: int, level: str):
    machine = pc.machine(free=lambda path: free if path == tmp_path else 0)
    assert only(laptop.check_disk(machine, tmp_path / "not" / "yet")).level == level


def _kit(directory: Path, *, created: float = NOW - 86400, days: float = 30) -> Path:
    directory.mkdir(mode=0o700)
    header = new_header(bytes(8), "64", int(created), int(NOW + days * 86400))
    (directory / "kit.desakit").write_bytes(header.raw)
    return directory


@pytest.mark.parametrize("year", [1970, 2000, 2025, 2150])
def test_a_clock_that_forgot_the_date(pc: Laptop, tmp_path: Path, year: int):
    now = datetime(year, 6, 1, tzinfo=UTC).timestamp()
    found = only(laptop.check_clock(pc.machine(now=now), tmp_path / "none"))
    assert found.level == "problem" and "timedatectl set-time" in str(found.fix)


def test_a_clock_before_the_kit_was_made(pc: Laptop, tmp_path: Path):
    kit = _kit(tmp_path / "kit", created=4e9)
    machine = pc.machine(now=4e9 - 86400)
    assert only(laptop.check_clock(machine, kit)).level == "problem"
    assert only(laptop.check_clock(pc.machine(now=4e9 - 60), kit)).level == "ok"


@pytest.mark.parametrize(
    ("says", "level"), [("yes\n", "ok"), ("no\n", "warning"), (None, "warning")]
)
def test_a_clock_that_nothing_keeps_right(
    pc: Laptop, tmp_path: Path, says: str | None, level: str
):
    machine = pc.machine(now=4e9, run=lambda arguments: says)
    assert only(laptop.check_clock(machine, tmp_path / "none")).level == level


def test_a_laptop_without_a_kit(pc: Laptop, tmp_path: Path):
    found = only(laptop.check_kit(pc.machine(), tmp_path / "none", None))
    assert found.level == "problem" and "desalink kit open FILE" in str(found.fix)


@pytest.mark.parametrize(
    ("days", "level", "said"),
    [(30, "ok", "in 30 days"), (2, "warning", "in 2 days"), (-1, "problem", "expired on")],
)
def test_the_kits_last_day(pc: Laptop, tmp_path: Path, days: int, level: str, said: str):
    found = only(laptop.check_kit(pc.machine(), _kit(tmp_path / "kit", days=days), None))
    assert (found.level, said in found.text) == (level, True), found


def test_a_kit_that_others_can_read(pc: Laptop, tmp_path: Path):
    kit = _kit(tmp_path / "kit")
    kit.chmod(0o755)
    found = only(laptop.check_kit(pc.machine(), kit, None))
    assert found.level == "warning" and f"chmod 700 {kit}" in str(found.fix)
    # A kit that is only carried along lies anywhere; it is encrypted.
    assert only(laptop.check_kit(pc.machine(), kit / "kit.desakit", None)).level == "ok"


def test_a_kit_that_does_not_open(pc: Laptop, tmp_path: Path):
    kit = _kit(tmp_path / "kit")
    [text] = told(laptop.check_kit(pc.machine(), kit, "wrong passphrase"), "problem")
    assert text
    (kit / "kit.desakit").write_bytes(b"something else")
    [text] = told(laptop.check_kit(pc.machine(), kit, None), "problem")
    assert "is not a kit" in text


def test_a_kit_of_the_province_opens_with_its_passphrase(
    pc: Laptop, kaltim: Province, authority: Authority, tmp_path: Path
):
    with Registry.open(kaltim.directory) as registry:
        file = sealed(*make_kit(kaltim, registry, authority), tmp_path / "trip.desakit")
    directory = tmp_path / "kit"
    KitDirectory(directory).put(file, KIT_PASSPHRASE)
    machine = pc.machine(now=time.time())
    for kit in (file, directory):
        [text] = told(laptop.check_kit(machine, kit, KIT_PASSPHRASE), "ok")
        assert "in 29 days" in text or "in 30 days" in text
        [text] = told(laptop.check_kit(machine, kit, "not the passphrase"), "problem")
        assert "That is not the passphrase" in text
    half = directory / "kit.desakit"
    half.write_bytes(half.read_bytes()[:-9])
    [text] = told(laptop.check_kit(machine, directory, KIT_PASSPHRASE), "problem")
    assert "the file is damaged" in text


def test_the_programs_are_installed():
    assert only(laptop.check_programs()).level == "ok"


# --- the command


def test_the_command_on_this_machine(desalink: Run, tmp_path: Path):
    ended = desalink("doctor", "--kit", tmp_path / "none", "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["ok"]) == (1, False)
    checks = {finding["check"]: finding for finding in told["findings"]}
    assert {"drivers", "boards", "permissions", "brltty", "disk", "clock", "kit"} <= set(checks)
    assert checks["kit"]["level"] == "problem"
    for finding in told["findings"]:
        assert finding["text"].endswith(".")
        assert (finding["fix"] is None) == (finding["level"] == "ok")


def test_the_command_speaks_indonesian(desalink: Run, tmp_path: Path):
    english = desalink("doctor", "--kit", tmp_path / "none")
    indonesian = desalink("doctor", "--kit", tmp_path / "none", "--lang", "id")
    assert english.code == indonesian.code == 1
    assert f"✗ There is no kit in {tmp_path / 'none'}." in english.out
    assert f"✗ Tidak ada kit di {tmp_path / 'none'}." in indonesian.out
    mutual = set(english.out.splitlines()) & set(indonesian.out.splitlines())
    # Commands to be typed are the same in every language.
    assert all(line.startswith("    → sudo") for line in mutual), mutual


def test_a_disk_that_is_only_for_reading(
    pc: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # As the kernel answers for one: nobody may write, root neither.
    monkeypatch.setattr(laptop.os, "access", lambda path, mode: False)
    flags = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(laptop.os, "statvfs", lambda path: flags)
    found = only(laptop.check_disk(pc.machine(), tmp_path))
    assert (
        found.level == "problem" and found.text == f"The file system of {tmp_path} is read-only."
    )
    assert "--to DIR" in str(found.fix) and "chown" not in str(found.fix)
