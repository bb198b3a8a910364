"""Boards, cables and hubs on USB."""

from __future__ import annotations

import re
from collections.abc import Iterator

from host_tools.common.i18n import _, ngettext, number
from host_tools.field.doctor.finding import Diagnosis, ok, problem, warning
from host_tools.field.doctor.machine import Machine, UsbDevice

# What a hub without its own supply can deliver, and what an ESP32 draws when its radio sends.
_HUB_MILLIAMPERES = 400
_BOARD_MILLIAMPERES = 300

# Kernel messages on a device that answers wrongly or not at all: a bad cable, plug or hub.
_FAILED = re.compile(
    r"usb (\d+-[\d.]+|usb\d+-port\d+)\S*: .*(?:device descriptor read/\w+, error"
    r"|device not accepting address|unable to enumerate USB device|Cannot enable\. Maybe"
    r" the USB cable is bad)"
)


def _check_boards(machine: Machine, boards: list[UsbDevice]) -> Iterator[Diagnosis]:
    if not boards:
        yield warning(
            "boards",
            _("No board is visible on USB."),
            _(
                "If one is plugged in, its cable carries power only: take a cable that can copy "
                "files from a telephone, plug it in firmly, and try another port."
            ),
        )
        return
    without = [device for device in boards if not device.is_served]
    for device in without:
        names = {"title": device.title, "place": device.name}
        if device.drivers:
            yield problem(
                "boards",
                _(
                    "A program ({driver}) uses {title} at USB {place}, so it has no serial port."
                ).format(**names, driver=", ".join(device.drivers)),
                _(
                    "End brltty, virtual machines and other programs that use USB, then pull "
                    "the cable out and plug it in again."
                ),
            )
        else:
            yield problem(
                "boards",
                _("{title} at USB {place} has no driver, so it has no serial port.").format(
                    **names
                ),
                _("Load it: sudo modprobe {driver}; then plug the board in again.").format(
                    driver=device.serial_driver
                ),
            )
    if not without:
        text = ngettext(
            "{count} board is on USB ({ports}).",
            "{count} boards are on USB ({ports}).",
            len(boards),
        )
        ports = ", ".join(machine.serial_ports()) or "-"
        yield ok("boards", text.format(count=number(len(boards)), ports=ports))


def _check_cables(machine: Machine) -> Iterator[Diagnosis]:
    log = machine.run(["dmesg"]) or ""
    places = sorted({match[1] for match in _FAILED.finditer(log)})
    if not places:
        return
    yield warning(
        "cables",
        _("A device at USB {places} did not answer since the laptop was started.").format(
            places=", ".join(places)
        ),
        _(
            "The cable or the hub's port is probably bad: try another cable, then another "
            "port, then without the hub."
        ),
    )


def _check_hub(hub: UsbDevice, boards: list[UsbDevice]) -> Diagnosis | None:
    fed = [board for board in boards if hub.feeds(board)]
    drawn = sum(max(board.milliamperes, _BOARD_MILLIAMPERES) for board in fed)
    if hub.own_supply or drawn <= _HUB_MILLIAMPERES:
        return None
    return warning(
        "hubs",
        ngettext(
            "The hub {title} at USB {place} has no power supply of its own and feeds {count} "
            "board, which may draw {drawn} mA of {most} mA.",
            "The hub {title} at USB {place} has no power supply of its own and feeds {count} "
            "boards, which may draw {drawn} mA of {most} mA.",
            len(fed),
        ).format(
            title=hub.title,
            place=hub.name,
            count=number(len(fed)),
            drawn=number(drawn),
            most=number(_HUB_MILLIAMPERES),
        ),
        _(
            "Connect the hub's power supply, or use a hub that has one; else set up one board at "
            "a time."
        ),
    )


def _check_overcurrent(machine: Machine) -> Iterator[Diagnosis]:
    for interface in machine.names("/sys/bus/usb/devices"):
        for port in machine.names(f"/sys/bus/usb/devices/{interface}"):
            if "-port" not in port:
                continue
            text = machine.read(f"/sys/bus/usb/devices/{interface}/{port}/over_current_count")
            count = int(text) if text.isdigit() else 0
            if not count:
                continue
            yield warning(
                "hubs",
                ngettext(
                    "USB port {port} was switched off {count} time for too much current.",
                    "USB port {port} was switched off {count} times for too much current.",
                    count,
                ).format(port=port, count=number(count)),
                _(
                    "Check the board that was there for a short circuit; connect fewer "
                    "boards, or a hub with a power supply of its own."
                ),
            )


def check(machine: Machine) -> list[Diagnosis]:
    """Boards without a port, bad cables, hubs with too little power."""
    if not machine.path("/sys/bus/usb/devices").is_dir():
        return [
            warning(
                "boards",
                _("This machine has no USB, or hides it (a container, a virtual machine)."),
                _("Use a laptop with USB, or pass its USB through to the virtual machine."),
            )
        ]
    devices = machine.usb_devices()
    boards = [device for device in devices if device.serial_driver or device.is_served]
    hubs = [found for hub in devices if hub.is_hub and (found := _check_hub(hub, boards))]
    hubs += _check_overcurrent(machine)
    if not hubs and any(device.is_hub for device in devices):
        hubs = [ok("hubs", _("The hubs have enough power, as far as they report."))]
    return [*_check_boards(machine, boards), *_check_cables(machine), *hubs]
