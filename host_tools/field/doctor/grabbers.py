"""Programs that take serial adapters: brltty, ModemManager, and those with a port open."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from host_tools.common.i18n import _
from host_tools.field.doctor.finding import Diagnosis, ok, problem, warning
from host_tools.field.doctor.machine import Machine
from host_tools.field.usb_chips import SERIAL_VENDORS

_RULES = ("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")
_UNITS = "/etc/systemd/system"

# Braille displays use the same chips, so brltty takes boards for displays.
_BRAILLE = re.compile(r'^[^#\n]*PRODUCT\}=="\*?(?:1a86/7523|10c4/ea60|403/6001)', re.MULTILINE)
_BRAILLE_ID = re.compile(r'^[^#\n]*idVendor\}=="(?:1a86|10c4|0403)"', re.MULTILINE)
_IGNORED = re.compile(
    r'^[^#\n]*idVendor\}=="(\w{4})".*ENV\{ID_MM_(?:DEVICE|PORT|TTY)_?(?:IGNORE|BLACKLIST)\}="1"',
    re.MULTILINE,
)


def _rules(machine: Machine) -> dict[str, str]:
    """Name -> text of each udev rule in force; an earlier directory overrides a later one."""
    found: dict[str, str] = {}
    for place in _RULES:
        for name in machine.names(place):
            if name.endswith(".rules"):
                # A link to /dev/null, or an empty file, switches a rule off.
                masked = machine.target(f"{place}/{name}") == "/dev/null"
                found.setdefault(name, "" if masked else machine.read(f"{place}/{name}"))
    return found


def _check_brltty(machine: Machine, running: set[str], rules: dict[str, str]) -> Diagnosis:
    fix = _(
        "If nobody here reads braille: sudo apt remove brltty; else: sudo systemctl mask --now "
        "brltty.service brltty-udev.service. Then plug the board in again."
    )
    if "brltty" in running:
        return problem(
            "brltty", _("brltty is running and takes serial adapters for braille displays."), fix
        )
    units_masked = machine.target(f"{_UNITS}/brltty-udev.service") == "/dev/null"
    for name, text in rules.items():
        if "brltty" not in name or units_masked:
            continue
        if _BRAILLE.search(text) or _BRAILLE_ID.search(text):
            return problem(
                "brltty",
                _(
                    "brltty will take the adapter as soon as a board is plugged in (udev rule "
                    "{name})."
                ).format(name=name),
                fix,
            )
    return ok("brltty", _("brltty takes no adapters."))


def _check_modem_manager(machine: Machine, running: set[str], rules: dict[str, str]) -> Diagnosis:
    if "ModemManager" not in running:
        return ok("modemmanager", _("ModemManager is not running."))
    ignored = {vendor for text in rules.values() for vendor in _IGNORED.findall(text)}
    if ignored >= set(SERIAL_VENDORS):
        return ok("modemmanager", _("ModemManager runs and ignores boards."))
    return warning(
        "modemmanager",
        _(
            "ModemManager is running; it may speak to a board that was just plugged in, and "
            "disturb the flashing."
        ),
        _("Stop it for today: sudo systemctl stop ModemManager"),
    )


def _check_holders(machine: Machine) -> Iterator[Diagnosis]:
    ports = set(machine.serial_ports())
    for pid, name in machine.processes():
        for handle in machine.names(f"/proc/{pid}/fd"):
            target = machine.target(f"/proc/{pid}/fd/{handle}")
            if target in ports and pid != os.getpid():
                ports.discard(target)
                yield problem(
                    "in-use",
                    _("{name} (process {pid}) has {port} open.").format(
                        name=name, pid=pid, port=target
                    ),
                    _("Close {name}, or: kill {pid}").format(name=name, pid=pid),
                )


def check(machine: Machine) -> list[Diagnosis]:
    """Programs that take boards, or may take them."""
    running = {name for _pid, name in machine.processes()}
    rules = _rules(machine)
    return [
        _check_brltty(machine, running, rules),
        _check_modem_manager(machine, running, rules),
        *_check_holders(machine),
    ]
