"""Boards and drivers on Windows and macOS, where the system reports less than Linux."""

from __future__ import annotations

from host_tools.common.i18n import _, ngettext, number
from host_tools.field.doctor.finding import Diagnosis, ok, warning
from host_tools.field.doctor.machine import Machine


def _driver_advice(system: str) -> str:
    if system == "win32":
        return _(
            "Plug the board in and open the Device Manager. An entry with a yellow mark has no "
            "driver: install CH341SER for 'USB-SERIAL CH340' (wch.cn), the CP210x VCP driver for "
            "'CP2102' (silabs.com), or FTDI's VCP driver for 'FT232R' (ftdichip.com); get it from "
            "the office before the trip."
        )
    return _(
        "macOS 12 and later have drivers for CH340, CP210x and FTDI. Plug the board in and allow "
        "it where macOS asks ('Allow accessory to connect'). A board that gives no port "
        "/dev/cu.* has a cable that carries power only: take another cable."
    )


def check(machine: Machine) -> list[Diagnosis]:
    """Whether a board has a port."""
    from host_tools.field.provision.ports import list_ports

    ports = list_ports()
    if not ports:
        return [
            warning("boards", _("No board has a serial port."), _driver_advice(machine.system))
        ]
    text = ngettext(
        "{count} board has a serial port ({ports}).",
        "{count} boards have a serial port ({ports}).",
        len(ports),
    )
    return [ok("boards", text.format(count=number(len(ports)), ports=", ".join(ports)))]
