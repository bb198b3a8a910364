"""Serial ports: which there are, and which is meant.

A port's path is never an identity: boards on a hub change their paths with every plug. What a
board is, its chip's MAC tells.
"""

from __future__ import annotations

import glob
import os

from serial.tools.list_ports import comports  # type: ignore[import-untyped]

from host_tools.common.i18n import _
from host_tools.field.doctor.machine import SERIAL_VENDORS
from host_tools.field.provision.errors import ProvisionError

_WILD = "*?["
_VENDORS = {*SERIAL_VENDORS, "067b"}  # Prolific too, on old adapters


def list_ports(pattern: str | None = None) -> list[str]:
    """Paths of the ports that boards can be on now: with a USB chip of theirs, or as given."""
    if pattern is None:
        # Without a USB vendor it is a port of the mainboard; of other vendors a modem, perhaps.
        ours = [port for port in comports() if f"{port.vid or 0:04x}" in _VENDORS]
        return sorted(port.device for port in ours)
    if any(letter in pattern for letter in _WILD):
        return sorted(glob.glob(pattern))
    # Windows names its ports without files.
    return [pattern] if os.name == "nt" or os.path.exists(pattern) else []


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
