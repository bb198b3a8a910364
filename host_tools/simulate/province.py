"""A simulated province: founded like a real one, with the simulated devices in its registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import _
from host_tools.office.founding import found_province
from host_tools.people.office_pen import open_office
from host_tools.province.registry import Registry
from host_tools.province.settings import Province, load
from host_tools.province.villages import province_name, villages_of_province
from host_tools.simulate.signing import MessageSigner
from host_tools.simulate.world import ChosenVillage, SimulatedVillage, SimulationSettings

CODE = "64"
PASSPHRASE = "simulated and no secret"
"""Of the root key and the CA: whoever reads this knows it, so nothing real can come of them."""
_BY = "desalink simulate"


def places(count: int) -> list[ChosenVillage]:
    """Villages of the real list, spread evenly over it.

    Raises:
        ProvinceError: there are not so many.
    """
    known = villages_of_province(CODE)
    if not 1 <= count <= len(known):
        raise ProvinceError(
            _(
                "{province_name} has {count} villages; give --villages a number from 1 to {count}."
            ).format(province_name=province_name(CODE), count=len(known))
        )
    chosen = [known[number * len(known) // count] for number in range(count)]
    return [ChosenVillage(village.code, village.district_code) for village in chosen]


def found(
    directory: Path,
    settings: SimulationSettings,
    villages: Iterable[SimulatedVillage],
    *,
    port: int = 8883,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Province:
    """Make the province and enrol every device of the simulation.

    Raises:
        ProvinceError, OSError: as `found_province`.
    """
    villages = list(villages)
    province, _count = found_province(
        directory,
        CODE,
        PASSPHRASE,
        name=f"SIMULATED {province_name(CODE)}",
        port=port,
        bind="127.0.0.1",
        only_villages=[village.code for village in villages],
        tell=tell,
    )
    with Registry.open(directory) as registry, registry.transaction():
        open_office(province, registry, PASSPHRASE)
        for village in villages:
            _enrol(registry, village)
    settings.save(directory)
    return province


def _enrol(registry: Registry, village: SimulatedVillage) -> None:
    for device in village.devices:
        signer = MessageSigner(device, village.slot)
        registry.enrol(
            village.slot,
            signer.public_key,
            board="simulated",
            firmware="0.1.0",
            by=_BY,
            proof=signer.enrolment(device.enrolled_at),
            replace=True,
            at=device.enrolled_at,
        )
        if device.revoked_at is not None and device is village.devices[-1]:
            registry.revoke(signer.kid, by=_BY, at=device.revoked_at)


def load_simulated(directory: Path) -> tuple[Province, SimulationSettings]:
    """Open a simulated province.

    Raises:
        ProvinceError: it is none.
    """
    return load(directory), SimulationSettings.load(directory)
