"""What the menu knows of the trip: the kit, its villages, and which of them have their device."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from host_tools.common.i18n import _, number
from host_tools.common.times import day
from host_tools.field.enrolments import EnrolmentLog
from host_tools.field.provision.journal import begun_slots
from host_tools.people.kits import Kit, KitDirectory, KitError, KitSlot, open_kit


@dataclass(frozen=True)
class Stop:
    """A slot of the kit. filled: it has a device; begun: this laptop has started one for it."""

    slot: KitSlot
    filled: bool
    begun: bool


class Trip:
    """The kit on this laptop.

    Attributes:
        directory: where `desalink kit open` puts it.
        kit: None until its passphrase was given.
        passphrase: for the verbs, which open the kit themselves.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = KitDirectory(directory)
        self.kit: Kit | None = None
        self.passphrase = ""  # nosec B105 # none yet

    def is_open(self) -> bool:
        """Whether there is an opened kit."""
        try:
            return self.directory.file.exists()
        except KitError:
            return False

    def open(self, passphrase: str, file: Path | None = None) -> None:
        """Decrypt the kit.

        Args:
            file: the kit that is about to be opened; None: the opened one.

        Raises:
            KitError, PassphraseError, OSError: see `open_kit`.
        """
        self.kit = open_kit(file or self.directory.file, passphrase)
        self.passphrase = passphrase

    def forget(self) -> None:
        """Ask for the passphrase again."""
        self.kit, self.passphrase = None, ""

    def forget_other(self) -> None:
        """Forget a kit that is not the opened one: it was refused, or another was opened."""
        if self.kit is not None and self.kit.id != self._opened_id():
            self.forget()

    def _opened_id(self) -> bytes | None:
        return self.directory.header().id if self.is_open() else None

    def stops(self) -> list[Stop]:
        """The slots of the kit, in its order.

        Raises:
            LogError: the log of enrolments is damaged.
        """
        if self.kit is None:
            return []
        filled = EnrolmentLog(self.directory.enrolments).filled(self.kit)
        begun = begun_slots(self.directory.path)
        return [Stop(slot, name in filled, name in begun) for name, slot in self.kit.slots.items()]

    def status(self) -> str:
        """The kit in one line."""
        if not self.is_open():
            return _("No kit is open on this laptop yet.")
        if self.kit is None:
            return _("A kit is open, until {date}.").format(
                date=day(self.directory.header().expires)
            )
        stops = self.stops()
        return _("Kit of {name}, until {date}: {done} of {count} devices are set up.").format(
            name=self.kit.technician,
            date=day(self.kit.expires),
            done=number(sum(stop.filled for stop in stops)),
            count=number(len(stops)),
        )


def map_order(stops: Iterable[Stop]) -> list[Stop]:
    """From the northernmost slot always to the nearest that is left; those without a position come
    last."""
    stops = list(stops)
    placed = [stop for stop in stops if _place(stop) is not None]
    rest = [stop for stop in stops if _place(stop) is None]
    ordered: list[Stop] = []
    while placed:
        nearest = min(placed, key=lambda stop: _distance(ordered[-1:], stop))
        placed.remove(nearest)
        ordered.append(nearest)
    return ordered + rest


def _place(stop: Stop) -> tuple[float, float] | None:
    village = stop.slot.village
    if village.lat is None or village.lon is None:
        return None
    return village.lat, village.lon


def _distance(last: list[Stop], stop: Stop) -> float:
    """In degrees from the last one; to the north where there is none yet."""
    place = _place(stop)
    assert place is not None
    before = _place(last[0]) if last else None
    if before is None:
        return -place[0]
    return math.hypot(
        place[0] - before[0], (place[1] - before[1]) * math.cos(math.radians(place[0]))
    )
