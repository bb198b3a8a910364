"""The acceptance of an installed device's site: measured, printed, countersigned."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from host_tools.common.i18n import _
from host_tools.field.acceptance.sheet import AcceptanceError, write_acceptance
from host_tools.field.enrolments import EnrolmentLog, MeasuredSite
from host_tools.field.labels import Label
from host_tools.field.provision.journal import DeviceJournal
from host_tools.field.talk.about import ask_about, key_of
from host_tools.field.talk.rounds import measure
from host_tools.field.talk.visitor import Visitor
from host_tools.people.kits import Kit, KitDirectory


class Accepted(NamedTuple):
    """An accepted site. recorded: whether the figures are in the laptop's log."""

    site: MeasuredSite
    sheet: Path
    recorded: bool


def accept_site(
    visitor: Visitor,
    directory: KitDirectory,
    kit: Kit,
    seconds: int,
    photos: Sequence[Path],
    progress: Callable[[float], None],
) -> Accepted:
    """Measure the site of a visited device, write its sheet, and record the figures.

    Raises:
        ProvisionError: the device does not answer.
        AcceptanceError: it has made no report yet, so its key is not known.
        KitError, EnrolmentError, LogError: its slot or certificate is not this kit's.
        OSError: something can't be written.
    """
    about = ask_about(visitor)
    kid = key_of(about["report"])
    if kid is None:
        raise AcceptanceError(
            _("The device has no report yet; provision it, then run the same command.")
        )
    slot = kit.slot(about["slot"])
    log = EnrolmentLog(directory.enrolments)
    known = next((r for r in reversed(log.records()) if r.device == kid), None)
    if known is not None and known.slot != slot.slot:
        known = None
    site = measure(visitor, seconds, progress)
    village = slot.village
    # Of an unknown device the name on the sheet is its own word, and never a path.
    unique_id = known.unique_id if known else about["unique_id"]
    label = Label(
        *(slot.slot, village.name, village.district, village.regency),
        *(kid.hex(), unique_id, about["board"]),
    )
    now = int(time.time())
    name = (known and known.unique_id) or kid.hex()
    folder = DeviceJournal(directory.path, name).directory
    sheet = folder / f"acceptance-{slot.slot}.pdf"
    write_acceptance(sheet, label, site, kit.technician, now, photos)
    if known is None:
        return Accepted(site, sheet, False)
    log.append(
        *(kit, slot.slot, known.proof, known.unique_id, known.board, known.firmware_hash),
        known.certificate_serial,
        corrections=known.corrections,
        site=site,
        now=now,
    )
    return Accepted(site, sheet, True)
