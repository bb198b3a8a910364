"""The serial ports of boards.

A port does not identify a board, because a board gets another port when it is plugged in again.
The chip's MAC does.
"""

from __future__ import annotations

import fnmatch
import glob
import os

from serial.tools.list_ports import comports  # type: ignore[import-untyped]

from host_tools.common.i18n import _
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.usb_chips import PROLIFIC, SERIAL_VENDORS

_WILD = "*?["
_VENDORS = {*SERIAL_VENDORS, PROLIFIC}


def list_ports(pattern: str | None = None) -> list[str]:
    """The present ports of boards: those with a known USB chip, or those of a pattern.

    Args:
        pattern: a port such as `/dev/ttyUSB0`, `/dev/cu.usbserial-110`, `COM5`, or a pattern.
    """
    if pattern is None:
        # Ports without a USB vendor are of the mainboard; those of other vendors may be modems.
        ours = [port for port in comports() if f"{port.vid or 0:04x}" in _VENDORS]
        return sorted(port.device for port in ours)
    if any(letter in pattern for letter in _WILD):
        ports = {port.device for port in comports()}
        return sorted({*glob.glob(pattern), *fnmatch.filter(ports, pattern)})
    return [pattern] if is_present(pattern) else []


def is_present(port: str) -> bool:
    """Whether a port exists. Ports on Windows are no files."""
    if os.path.exists(port):
        return True
    return any(found.device.lower() == port.lower() for found in comports())


def one_port(pattern: str | None = None) -> str:
    """The one port of a board.

    Raises:
        ProvisionError: there is none, or more than one.
    """
    found = list_ports(pattern)
    if len(found) == 1:
        return found[0]
    if found:
        raise ProvisionError(
            "many_ports",
            _(
                "There are {count} boards ({ports}); choose one with --port, or provision all of "
                "them with --batch."
            ).format(count=len(found), ports=", ".join(found)),
        )
    if pattern is not None:
        raise ProvisionError(
            "no_port",
            _(
                "There is no port {port}; check that the board is plugged in, or run the command "
                "without --port to find it."
            ).format(port=pattern),
        )
    raise ProvisionError(
        "no_port",
        _(
            "No board was found on any USB port; plug it in with a cable that carries data, or "
            "run 'desalink doctor'."
        ),
    )
