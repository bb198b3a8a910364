"""What keeps a laptop from setting up devices, found before it costs a trip.

machine.py reads the laptop. Each other module checks one thing and returns findings; `examine`
runs them all. Nothing is changed, and no device is touched.
"""

from __future__ import annotations

from pathlib import Path

from host_tools.field.doctor.finding import Diagnosis, Level
from host_tools.field.doctor.machine import Machine

__all__ = ["Diagnosis", "Level", "Machine", "examine"]


def examine(
    machine: Machine, kit: Path | None = None, passphrase: str | None = None
) -> list[Diagnosis]:
    """Everything that can be found out about a laptop, the most likely cause first.

    Args:
        kit: an opened kit's directory or a kit's file; None: where `desalink provision` looks.
        passphrase: the kit's, to open it for real; None: only its header is read.
    """
    from host_tools.field.doctor import access, drivers, grabbers, laptop, other_systems, usb

    of_linux = (drivers, usb, access, grabbers)
    modules = of_linux if machine.system == "linux" else (other_systems,)
    return [
        *(finding for module in modules for finding in module.check(machine)),
        laptop.check_disk(machine, kit),
        laptop.check_clock(machine, kit),
        *laptop.check_kit(machine, kit, passphrase),
        laptop.check_programs(),
    ]
