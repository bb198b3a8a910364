"""Serial ports: which there are, and which is meant.

A port is never an identity: a board on a hub gets another one with every plug. The chip's MAC is.
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
    """The ports that boards can be on now: those with a USB chip of theirs, or as given.

    Args:
        pattern: a port such as `/dev/ttyUSB0`, `/dev/cu.usbserial-110`, `COM5`, or a pattern.
    """
    if pattern is None:
        # Without a USB vendor it is a port of the mainboard; of other vendors a modem, perhaps.
        ours = [port for port in comports() if f"{port.vid or 0:04x}" in _VENDORS]
        return sorted(port.device for port in ours)
    if any(letter in pattern for letter in _WILD):
        ports = {port.device for port in comports()}
        return sorted({*glob.glob(pattern), *fnmatch.filter(ports, pattern)})
    return [pattern] if is_present(pattern) else []


def is_present(port: str) -> bool:
    """Whether there is a port of that name. Windows has no files for its ports."""
    if os.path.exists(port):
        return True
    return any(found.device.lower() == port.lower() for found in comports())


def one_port(pattern: str | None = None) -> str:
    """The port to work with.

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
                "There are {count} boards ({ports}); say which with --port, or provision all of "
                "them with --batch."
            ).format(count=len(found), ports=", ".join(found)),
        )
    if pattern is not None:
        raise ProvisionError(
            "no_port",
            _(
                "There is no port {port}; look whether the board is plugged in, or leave --port "
                "out to have it found."
            ).format(port=pattern),
        )
    raise ProvisionError(
        "no_port",
        _(
            "No board was found on any USB port; plug it in with a cable that carries data, or "
            "run 'desalink doctor'."
        ),
    )
