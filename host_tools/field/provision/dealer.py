"""The village for a board: its earlier one, else the next without a device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from host_tools.common.i18n import _
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.provision.flow import Plan, last_enrolled
from host_tools.field.provision.journal import DeviceJournal, begun_slots
from host_tools.people.kits.model import Kit, same_id
from host_tools.province.records import slot_name


def slot_in_kit(kit: Kit, code: str, number: int = 1) -> str:
    """The slot of a village in the kit.

    Args:
        code: of a village, with dots or without, a slot `6403112001-2`, or a village's name.

    Raises:
        ProvisionError: it is not in the kit, or several villages have the name.
    """
    wanted = code.strip().casefold()
    named = {
        slot.slot[:10]: f"{slot.slot[:10]} ({slot.village.district}, {slot.village.regency})"
        for _name, slot in sorted(kit.slots.items())
        if slot.village.name.casefold() == wanted
    }
    if len(named) > 1:
        raise ProvisionError(
            "no_village",
            _("Several villages of the kit are called {name}: {villages}. Give the code.").format(
                name=code.strip(), villages="; ".join(named.values())
            ),
        )
    village, dash, own = next(iter(named), code.strip()).partition("-")
    slot = slot_name(village.replace(".", ""), number)
    if dash:
        slot = f"{village.replace('.', '')}-{own}"  # a village's name may hold a dash, too
    if slot not in kit.slots:
        raise ProvisionError(
            "no_village",
            _(
                "{slot} is not in the kit of {technician}; 'desalink kit show' lists what is, or "
                "ask the province for a kit with it."
            ).format(slot=slot, technician=kit.technician),
        )
    return slot


class Dealer:
    """Deals slots to boards; several threads may ask at once.

    Args:
        slots: to deal, in this order.
        ask: gets a question and a default, returns the village of a board that has none yet;
            None: slots are dealt.
    """

    def __init__(
        self, plan: Plan, slots: Sequence[str], ask: Callable[[str, str], str] | None = None
    ) -> None:
        self._plan = plan
        self._slots = list(slots)
        self._ask = ask
        self._lock = threading.Lock()
        self._dealt: dict[str, str] = {}

    def deal(self, mac: str) -> str:
        """The slot for a board.

        Raises:
            ProvisionError: every slot has its device.
        """
        with self._lock:
            own = same_id(mac)
            slot = self._dealt.get(own) or self._before(mac) or self._next(mac)
            if slot is None:
                raise ProvisionError(
                    "no_village",
                    _(
                        "All {count} villages of this run have a device; unplug the board, or "
                        "ask the province for a kit with more villages."
                    ).format(count=len(self._slots)),
                )
            self._dealt[own] = slot
            return slot

    def give_back(self, mac: str) -> None:
        """Free the slot of a board that failed; another board may get it."""
        with self._lock:
            self._dealt.pop(same_id(mac), None)

    def _before(self, mac: str) -> str | None:
        """The slot of the board's enrolment, or of an earlier attempt on this laptop."""
        enrolled, _kid = last_enrolled(self._plan, mac)
        if enrolled is not None:
            return enrolled
        slot = DeviceJournal(self._plan.work, mac).slot()
        free = slot in self._slots and slot not in self._dealt.values() and not self._filled(slot)
        return slot if free else None

    def _next(self, mac: str) -> str | None:
        free = [
            slot
            for slot in self._slots
            if slot not in self._dealt.values() and not self._filled(slot)
        ]
        # A board that was started for a village may come back, so this village is dealt last.
        waiting, own = begun_slots(self._plan.work), same_id(mac)
        slot = next((s for s in free if waiting.get(s, own) == own), free[0] if free else None)
        return slot if slot is None or self._ask is None else self._chosen(mac, free, slot)

    def _chosen(self, mac: str, free: list[str], default: str) -> str:
        """The slot that the technician chooses."""
        assert self._ask is not None
        question = _("Village for the board {mac}").format(mac=mac)
        while True:
            try:
                slot = slot_in_kit(self._plan.kit, self._ask(question, default))
            except ProvisionError as error:
                question = f"{error}\n{_('Village for the board {mac}').format(mac=mac)}"
                continue
            if slot in free:
                return slot
            question = _(
                "{slot} has a device already, or is not in this run.\nVillage for the board {mac}"
            ).format(slot=slot, mac=mac)

    def _filled(self, slot: str | None) -> bool:
        if slot is None or self._plan.replace:
            return False
        return self._plan.log.filled_by(self._plan.kit, slot) is not None
