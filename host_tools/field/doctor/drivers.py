"""Drivers for the boards' USB-to-serial chips."""

from __future__ import annotations

import re

from host_tools.common.i18n import _
from host_tools.field.doctor.finding import Diagnosis, ok, problem, warning
from host_tools.field.doctor.machine import Machine

_CHECK = "drivers"
_WANTED = ("ch341", "cp210x", "ftdi_sio", "cdc_acm")


def _release(machine: Machine) -> str:
    return machine.read("/proc/sys/kernel/osrelease")


def _modules_directory(machine: Machine) -> str | None:
    for place in ("/lib/modules", "/usr/lib/modules"):
        directory = f"{place}/{_release(machine)}"
        if _release(machine) and machine.path(directory).is_dir():
            return directory
    return None


def _in_use(machine: Machine) -> set[str]:
    """The drivers that are loaded now."""
    loaded = {line.split()[0] for line in machine.read("/proc/modules").splitlines() if line}
    serial = {name.removesuffix("-uart") for name in machine.names("/sys/bus/usb-serial/drivers")}
    return loaded | serial | set(machine.names("/sys/bus/usb/drivers"))


def _available(machine: Machine, directory: str) -> set[str]:
    """The drivers that the kernel has built in, or can load when a board is plugged in."""
    lists = (
        machine.read(f"{directory}/modules.builtin")
        + "\n"
        + machine.read(f"{directory}/modules.dep")
    )
    names = re.findall(r"^[^:\s]*/([^/:\s]+?)\.ko(?:\.\w+)?(?::|$)", lists, re.MULTILINE)
    return {name.replace("-", "_") for name in names}


def _blocked(machine: Machine) -> dict[str, str]:
    """Driver -> the file that blocks it."""
    found = {}
    for place in ("/usr/lib/modprobe.d", "/lib/modprobe.d", "/etc/modprobe.d"):
        for name in machine.names(place):
            if not name.endswith(".conf"):
                continue
            text = machine.read(f"{place}/{name}")
            pattern = r"^\s*(?:blacklist\s+(\w+)\s*$|install\s+(\w+)\s+\S*/(?:true|false)\b)"
            for match in re.finditer(pattern, text, re.MULTILINE):
                found[match[1] or match[2]] = f"{place}/{name}"
    return found


def check(machine: Machine) -> list[Diagnosis]:
    """The drivers that are missing, with the reason."""
    in_use = _in_use(machine)
    needed = {device.serial_driver for device in machine.usb_devices() if not device.is_served}
    directory = _modules_directory(machine)
    missing = [name for name in _WANTED if name not in in_use]
    if directory is None:
        if not missing:
            return [ok(_CHECK, _("The drivers for USB serial ports are loaded."))]
        return [
            warning(
                _CHECK,
                _(
                    "The modules of the running kernel {release} are not on this laptop, so it "
                    "can't load a driver for USB serial ports."
                ).format(release=_release(machine) or "?"),
                _("Was the system updated? Restart the laptop."),
            )
        ]
    available = _available(machine, directory)
    blocked = _blocked(machine)
    findings = []
    for name in missing:
        make = problem if name in needed else warning
        if name in blocked:
            findings.append(
                make(
                    _CHECK,
                    _("{file} blocks the driver {name}.").format(name=name, file=blocked[name]),
                    _(
                        "Remove the line with {name} from {file}, then: sudo modprobe {name}"
                    ).format(name=name, file=blocked[name]),
                )
            )
        elif name not in available:
            findings.append(
                make(
                    _CHECK,
                    _(
                        "The kernel has no driver {name}; boards with such a chip get no port."
                    ).format(name=name),
                    _(
                        "Install the kernel's further modules, on Ubuntu: sudo apt install "
                        "linux-modules-extra-{release}"
                    ).format(release=_release(machine)),
                )
            )
    return findings or [ok(_CHECK, _("The drivers for USB serial ports are installed."))]
