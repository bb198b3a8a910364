"""Checks of a laptop before a trip: can it set up devices?

machine.py reads the laptop. Each other module checks one thing; `examine` runs all checks. They
change nothing and touch no device.
"""

from __future__ import annotations

from pathlib import Path

from host_tools.field.doctor.finding import Diagnosis, Level
from host_tools.field.doctor.machine import Machine

__all__ = ["Diagnosis", "Level", "Machine", "examine"]


def examine(
    machine: Machine, kit: Path | None = None, passphrase: str | None = None
) -> list[Diagnosis]:
    """All findings on a laptop, the most likely cause of trouble first.

    Args:
        kit: an opened kit's directory or a kit's file; None: the one of `desalink provision`.
        passphrase: the kit's; the check opens the kit. None: it reads only the header.
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
