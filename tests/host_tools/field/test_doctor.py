"""The doctor, on laptops built of files as Linux shows them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from host_tools.common.i18n import set_language
from host_tools.field.doctor import Diagnosis, Machine, access, drivers, grabbers, laptop, usb
from host_tools.field.doctor.laptop import check_programs
from host_tools.keys.ca import Authority
from host_tools.people.kits import KitDirectory
from host_tools.people.kits.seal import new_header
from host_tools.province.settings import Province
from tests.host_tools.conftest import Run
from tests.world.evidencing import signing_registry
from tests.world.kits import KIT_PASSPHRASE, make_kit, sealed

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

    def usb_device(self, name: str, ids: str, title: str, kind: str, supply: str) -> None:
        vendor, product = ids.split(":")
        self.usb(name, idVendor=vendor, idProduct=product, product=title)
        self.usb(name, bDeviceClass=kind, bMaxPower="98mA", bmAttributes=supply)

    def driver(self, name: str, driver: str) -> None:
        self.link(
            f"/sys/bus/usb/devices/{name}:1.0/driver", f"../../../../bus/usb/drivers/{driver}"
        )

    def hub(self, name: str, *, own_supply: bool) -> None:
        self.usb_device(name, "1a40:0101", "USB 2.0 Hub", "09", "e0" if own_supply else "80")
        self.driver(name, "hub")

    def board(self, name: str, driver: str | None = "ch341", *, ids: str = "1a86:7523") -> None:
        self.usb_device(name, ids, "USB Serial", "ff", "80")
        self.write(f"/sys/bus/usb/devices/{name}:1.0/bInterfaceClass", "ff\n")
        if driver:
            self.driver(name, driver)

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


def only(findings: Diagnosis | list[Diagnosis]) -> Diagnosis:
    found = [findings] if isinstance(findings, Diagnosis) else findings
    assert len(found) == 1, found
    return found[0]


def texts_of(findings: list[Diagnosis], level: str) -> list[str]:
    assert all((finding.fix is None) == (finding.level == "ok") for finding in findings)
    return [finding.text for finding in findings if finding.level == level]


def _expect(findings: Diagnosis | list[Diagnosis], level: str, *texts: str) -> None:
    """One finding, whose text and advice hold the texts."""
    found = only(findings)
    assert found.level == level
    for text in texts:
        assert text in f"{found.text} {found.fix}"


# --- drivers

KERNEL = f"/lib/modules/{RELEASE}"
NAMES = ("ch341", "cp210x", "ftdi_sio")


def _other_driver(pc: Laptop) -> None:
    modules = pc.path(f"{KERNEL}/modules.dep")
    modules.write_text(modules.read_text().replace("ch341", "other"))


def _without_modules(pc: Laptop) -> None:
    pc.write(f"{KERNEL}/modules.dep", "kernel/drivers/usb/class/cdc-acm.ko.xz:\n")


def _built_in(pc: Laptop) -> None:
    _without_modules(pc)
    lines = [f"kernel/drivers/usb/serial/{name}.ko\n" for name in NAMES]
    pc.write(f"{KERNEL}/modules.builtin", "".join(lines))


def _loaded(pc: Laptop) -> None:
    _without_modules(pc)
    pc.write("/proc/modules", "".join(f"{name} 24576 0 - Live 0x0\n" for name in NAMES))


def _registered(pc: Laptop) -> None:
    _without_modules(pc)
    for name in ("ch341-uart", "cp210x", "ftdi_sio"):
        pc.path(f"/sys/bus/usb-serial/drivers/{name}").mkdir(parents=True)


def _forbidden(line: str) -> Callable[[Laptop], object]:
    return lambda pc: pc.write("/etc/modprobe.d/usb.conf", f"# blacklist cp210x\n{line}\n")


@pytest.mark.parametrize(
    ("spoil", "level", "texts"),
    [
        (lambda pc: None, "ok", []),
        (_built_in, "ok", []),
        (_loaded, "ok", []),
        (_registered, "ok", []),
        (_other_driver, "warning", ["no driver ch341", f"linux-modules-extra-{RELEASE}"]),
        (
            lambda pc: (_other_driver(pc), pc.board("1-4", driver=None)),
            "problem",
            ["no driver ch341", f"linux-modules-extra-{RELEASE}"],
        ),
        (_forbidden("blacklist ch341"), "warning", ["ch341", "/etc/modprobe.d/usb.conf"]),
        (_forbidden("install ch341 /bin/false"), "warning", ["/etc/modprobe.d/usb.conf"]),
        (lambda pc: pc.write("/proc/sys/kernel/osrelease", "6.9.0\n"), "warning", ["Restart"]),
    ],
)
def test_drivers(pc: Laptop, spoil: Callable[[Laptop], object], level: str, texts: list[str]):
    spoil(pc)
    _expect(drivers.check(pc.machine()), level, *texts)


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


@pytest.mark.parametrize(
    ("plug", "level", "texts"),
    [
        (
            lambda pc: pc.usb_device("1-3", "046d:c077", "Mouse", "00", "80"),
            "warning",
            ["its cable carries power only"],
        ),
        (
            lambda pc: pc.board("1-2", driver=None, ids="10c4:ea60"),
            "problem",
            ["USB Serial at USB 1-2 has no driver", "modprobe cp210x"],
        ),
        (
            lambda pc: pc.board("1-2", driver="usbfs"),
            "problem",
            ["program (usbfs) uses USB"],
        ),
    ],
    ids=["no board", "no driver", "taken from its driver"],
)
def test_a_board_without_a_port(
    pc: Laptop, plug: Callable[[Laptop], object], level: str, texts: list[str]
):
    plug(pc)
    _expect(usb.check(pc.machine()), level, *texts)


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
    assert texts_of(usb.check(pc.machine({"dmesg": quiet})), "warning") == []
    [text] = texts_of(usb.check(pc.machine({"dmesg": quiet + line + "\n"})), "warning")
    assert "did not answer" in text


def test_many_boards_on_a_hub_without_a_supply(pc: Laptop):
    pc.hub("1-4", own_supply=False)
    pc.board("1-4.1")
    assert texts_of(usb.check(pc.machine()), "warning") == []
    pc.board("1-4.2")
    # On another hub behind it, and one elsewhere.
    pc.hub("1-4.4", own_supply=False)
    pc.board("1-4.4.1")
    pc.board("1-40")
    [text] = texts_of(usb.check(pc.machine()), "warning")
    assert "1-4 has no power supply of its own and feeds 3 boards" in text
    assert "900 mA of 400 mA" in text


def test_a_port_switched_off_for_too_much_current(pc: Laptop):
    pc.board("1-4.1")
    pc.hub("1-4", own_supply=True)
    for port, count in (("1-4-port1", 0), ("1-4-port3", 2)):
        pc.write(f"/sys/bus/usb/devices/1-4:1.0/{port}/over_current_count", f"{count}\n")
    [text] = texts_of(usb.check(pc.machine()), "warning")
    assert text == "USB port 1-4-port3 was switched off 2 times for too much current."


# --- permissions


def test_who_may_open_ports(pc: Laptop):
    gid = pc.port("ttyUSB0")
    _expect(access.check(pc.machine(groups=frozenset([gid]))), "ok")
    stranger = pc.machine(groups=frozenset([BUDI]))
    _expect(access.check(stranger), "problem", "session does not know it yet", "Log out and in")
    pc.write("/etc/group", f"dialout:x:{gid or 20}:sari\n")
    texts = ("budi may not open /dev/ttyUSB0", "sudo usermod -aG dialout budi")
    _expect(access.check(stranger), "problem", *texts)
    pc.path("/dev/ttyUSB0").chmod(0o600)
    _expect(access.check(pc.machine()), "problem", "chmod 660 /dev/ttyUSB0")
    pc.path("/dev/ttyUSB0").chmod(0o666)
    _expect(access.check(pc.machine(groups=frozenset())), "ok")


def test_before_a_board_is_plugged_in_the_group_counts_as_well(pc: Laptop):
    stranger = pc.machine(groups=frozenset([BUDI]))
    _expect(access.check(stranger), "problem", "session does not know it yet", "Log out and in")
    pc.write("/etc/group", "uucp:x:14:\n")
    _expect(access.check(stranger), "problem", "usermod -aG uucp budi")
    _expect(access.check(pc.machine(groups=frozenset([14]))), "ok")


# --- programs that grab

BRLTTY = "/usr/lib/udev/rules.d/85-brltty.rules"
BRLTTY_RULES = """\
# Device: 1A86:7523
# Baum [NLS eReader Zoomax (20 cells)]
ENV{PRODUCT}=="1a86/7523/*", ENV{BRLTTY_BRAILLE_DRIVER}="bm", GOTO="brltty_usb_run"
"""


def _grabber(findings: list[Diagnosis], check: str) -> Diagnosis:
    return only([finding for finding in findings if finding.check == check])


def test_a_quiet_laptop(pc: Laptop):
    assert [finding.level for finding in grabbers.check(pc.machine())] == ["ok", "ok"]


def test_brltty(pc: Laptop):
    pc.write(BRLTTY, BRLTTY_RULES)
    found = _grabber(grabbers.check(pc.machine()), "brltty")
    assert found.level == "problem" and "85-brltty.rules" in found.text
    pc.process(812, "brltty")
    found = _grabber(grabbers.check(pc.machine()), "brltty")
    assert found.level == "problem" and "apt remove brltty" in str(found.fix)


@pytest.mark.parametrize(
    "switch_off",
    [
        lambda pc: pc.link("/etc/udev/rules.d/85-brltty.rules", "/dev/null"),
        lambda pc: pc.link("/etc/systemd/system/brltty-udev.service", "/dev/null"),
        lambda pc: pc.write(BRLTTY, BRLTTY_RULES.replace("\nENV", "\n# ENV")),
    ],
    ids=["rule masked", "unit masked", "rule commented out"],
)
def test_brltty_switched_off_is_no_matter(pc: Laptop, switch_off: Callable[[Laptop], None]):
    pc.write(BRLTTY, BRLTTY_RULES)
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
    _expect(laptop.check_disk(machine, tmp_path / "not" / "yet"), level)


def _kit(directory: Path, *, created: float = NOW - 86400, days: float = 30) -> Path:
    directory.mkdir(mode=0o700)
    header = new_header(bytes(8), "64", int(created), int(NOW + days * 86400))
    (directory / "kit.desakit").write_bytes(header.raw)
    return directory


YES = "yes\n"


@pytest.mark.parametrize(
    ("now", "made", "says", "level"),
    [
        *((datetime(y, 6, 1, tzinfo=UTC).timestamp(), 0, YES, "problem") for y in (1970, 2000)),
        *((datetime(y, 6, 1, tzinfo=UTC).timestamp(), 0, YES, "problem") for y in (2025, 2150)),
        # Before the kit was made, or by a minute only.
        (4e9 - 86400, 4e9, YES, "problem"),
        (4e9 - 60, 4e9, YES, "ok"),
        # Nothing keeps it right.
        (4e9, 0, "no\n", "warning"),
        (4e9, 0, None, "warning"),
    ],
)
def test_the_clock(
    pc: Laptop, tmp_path: Path, now: float, made: float, says: str | None, level: str
):
    kit = _kit(tmp_path / "kit", created=made) if made else tmp_path / "none"
    machine = pc.machine(now=now, run=lambda arguments: says)
    fix = ["timedatectl set-time"] if level != "ok" else []
    _expect(laptop.check_clock(machine, kit), level, *fix)


@pytest.mark.parametrize(
    ("days", "level", "said"),
    [(30, "ok", "in 30 days"), (2, "warning", "in 2 days"), (-1, "problem", "expired on")],
)
def test_the_kits_last_day(pc: Laptop, tmp_path: Path, days: int, level: str, said: str):
    _expect(laptop.check_kit(pc.machine(), _kit(tmp_path / "kit", days=days), None), level, said)


def test_a_kit_that_is_missing_open_to_others_or_none(pc: Laptop, tmp_path: Path):
    missing = laptop.check_kit(pc.machine(), tmp_path / "none", None)
    _expect(missing, "problem", "desalink kit open FILE")
    kit = _kit(tmp_path / "kit")
    kit.chmod(0o755)
    _expect(laptop.check_kit(pc.machine(), kit, None), "warning", f"chmod 700 {kit}")
    # A kit that is only carried along lies anywhere; it is encrypted.
    _expect(laptop.check_kit(pc.machine(), kit / "kit.desakit", None), "ok")
    (kit / "kit.desakit").write_bytes(b"something else")
    _expect(laptop.check_kit(pc.machine(), kit, None), "problem", "is not a kit")


def test_a_kit_of_the_province_opens_with_its_passphrase(
    pc: Laptop, kaltim: Province, authority: Authority, tmp_path: Path
):
    with signing_registry(kaltim) as registry:
        file = sealed(*make_kit(kaltim, registry, authority), tmp_path / "trip.desakit")
    directory = tmp_path / "kit"
    KitDirectory(directory).put(file, KIT_PASSPHRASE)
    machine = pc.machine(now=time.time())
    for kit in (file, directory):
        [text] = texts_of(laptop.check_kit(machine, kit, KIT_PASSPHRASE), "ok")
        assert "in 29 days" in text or "in 30 days" in text
        [text] = texts_of(laptop.check_kit(machine, kit, "not the passphrase"), "problem")
        assert "That is not the passphrase" in text
    half = directory / "kit.desakit"
    half.write_bytes(half.read_bytes()[:-9])
    [text] = texts_of(laptop.check_kit(machine, directory, KIT_PASSPHRASE), "problem")
    assert "the file is damaged" in text


# --- the command


def test_the_command_on_this_machine(desalink: Run, tmp_path: Path):
    ended = desalink("doctor", "--kit", tmp_path / "none", "--json")
    shown = json.loads(ended.out)
    assert (ended.code, shown["ok"]) == (1, False)
    checks = {finding["check"]: finding for finding in shown["findings"]}
    assert {"drivers", "boards", "permissions", "brltty", "disk", "clock", "kit"} <= set(checks)
    assert (checks["kit"]["level"], checks["programs"]["level"]) == ("problem", "ok")
    for finding in shown["findings"]:
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
    # The kernel refuses writing, for root too.
    monkeypatch.setattr(laptop.os, "access", lambda path, mode: False)
    flags = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(laptop.os, "statvfs", lambda path: flags)
    text = f"The file system of {tmp_path} is read-only."
    _expect(laptop.check_disk(pc.machine(), tmp_path), "problem", text, "--to DIR")


def test_missing_programs_are_had_from_the_office(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("host_tools.field.doctor.laptop.version", missing)
    finding = check_programs()
    assert finding.level == "problem" and "esptool" in finding.text
    assert (
        finding.fix is not None and "from the office" in finding.fix and "pip" not in finding.fix
    )
