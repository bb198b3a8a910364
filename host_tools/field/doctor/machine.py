"""The laptop as the doctor reads it: files below a root, and the output of a few programs."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from host_tools.field.usb_chips import SERIAL_DRIVERS, SERIAL_VENDORS, STANDARD_1A86

_HUB_CLASS = "09"


def _run(arguments: list[str]) -> str | None:
    """The output of a program, or None if it is missing, fails, or takes over 5 s."""
    try:
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=5,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name
        return str(_uid())


def _uid() -> int:
    """1 on Windows, where users have no numbers: the user is not root."""
    return os.getuid() if hasattr(os, "getuid") else 1


def _groups() -> frozenset[int]:
    if sys.platform != "win32" and hasattr(os, "getgroups"):
        return frozenset([os.getgid(), *os.getgroups()])
    return frozenset()


def _free(path: Path) -> int:
    return shutil.disk_usage(path).free


@dataclass(frozen=True)
class UsbDevice:
    """A device on USB. name: its place, e.g. `1-4.2`; milliamperes: what it requests."""

    name: str
    vendor: str
    product: str
    title: str
    is_hub: bool
    milliamperes: int
    own_supply: bool
    drivers: tuple[str, ...]

    @property
    def serial_driver(self) -> str | None:
        """The driver that this device needs if it is a board's serial port, else None."""
        if self.is_hub:
            return None
        if self.vendor == "1a86" and self.product in STANDARD_1A86:
            return "cdc_acm"
        return SERIAL_VENDORS.get(self.vendor)

    @property
    def is_served(self) -> bool:
        """Whether the kernel has made a serial port of it."""
        return any(driver.removesuffix("-uart") in SERIAL_DRIVERS for driver in self.drivers)

    def feeds(self, other: UsbDevice) -> bool:
        """Whether another device is behind this hub, directly or behind further hubs."""
        return other.name.startswith(f"{self.name}.")


@dataclass(frozen=True)
class Machine:
    """A laptop: its file systems below `root`, its user, clock and programs."""

    root: Path = Path("/")
    uid: int = field(default_factory=_uid)
    user: str = field(default_factory=_user)
    groups: frozenset[int] = field(default_factory=_groups)
    now: float = field(default_factory=time.time)
    run: Callable[[list[str]], str | None] = _run
    free: Callable[[Path], int] = _free
    system: str = sys.platform

    def path(self, name: str) -> Path:
        """A file of the laptop, named as on the laptop: `/sys/...`."""
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str:
        """The text of a file without its last line break; empty if it can't be read."""
        try:
            return self.path(name).read_text(encoding="utf-8", errors="replace").rstrip("\n")
        except OSError:
            return ""

    def names(self, name: str) -> list[str]:
        """The names in a directory, sorted; none if there is no such directory."""
        try:
            return sorted(os.listdir(self.path(name)))
        except OSError:
            return []

    def target(self, name: str) -> str:
        """Where a symbolic link points to; empty if it is no link or can't be read."""
        try:
            return os.readlink(self.path(name))
        except OSError:
            return ""

    def processes(self) -> Iterator[tuple[int, str]]:
        for entry in self.names("/proc"):
            if entry.isdigit() and (name := self.read(f"/proc/{entry}/comm")):
                yield int(entry), name

    def serial_ports(self) -> list[str]:
        """The serial ports of USB, `/dev/ttyUSB0` and the like."""
        return [
            f"/dev/{name}" for name in self.names("/dev") if name.startswith(("ttyUSB", "ttyACM"))
        ]

    def usb_devices(self) -> list[UsbDevice]:
        """Every device on USB but the laptop's own root hubs, by their places."""
        names = self.names("/sys/bus/usb/devices")
        return [
            self._usb_device(name, names)
            for name in names
            if ":" not in name and not name.startswith("usb")
        ]

    def _usb_device(self, name: str, names: list[str]) -> UsbDevice:
        place = f"/sys/bus/usb/devices/{name}"
        interfaces = [other for other in names if other.startswith(f"{name}:")]
        title = " ".join(
            part
            for part in (self.read(f"{place}/manufacturer"), self.read(f"{place}/product"))
            if part
        )
        vendor, product = self.read(f"{place}/idVendor"), self.read(f"{place}/idProduct")
        power = self.read(f"{place}/bMaxPower").removesuffix("mA")
        attributes = self.read(f"{place}/bmAttributes")
        return UsbDevice(
            name=name,
            vendor=vendor,
            product=product,
            title=title or f"{vendor}:{product}",
            is_hub=self.read(f"{place}/bDeviceClass") == _HUB_CLASS,
            milliamperes=int(power) if power.isdigit() else 0,
            # Bit 6 of a configuration: it has its own power supply. Unknown counts as yes.
            own_supply=not attributes or bool(int(attributes, 16) & 0x40),
            drivers=tuple(
                os.path.basename(driver)
                for other in interfaces
                if (driver := self.target(f"/sys/bus/usb/devices/{other}/driver"))
            ),
        )
