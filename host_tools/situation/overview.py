"""The whole province as of now: what `desalink status` and the pages show and check."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from host_tools.common.i18n import _, number
from host_tools.states.table import EMPTY, REVOKED

if TYPE_CHECKING:
    from host_tools.province.records import Device
    from host_tools.province.registry import Registry, Village
    from host_tools.store import Database
    from host_tools.store.queries import SlotStatus
    from host_tools.store.sessions import Liveness
    from host_tools.store.size import Size

_GOOD = ("up", REVOKED, EMPTY)
_DISK_DAYS = 14  # left on the disk: time to do something
_RECEIPT_S = 30 * 3600  # A receipt is made each midnight; this leaves it a quarter of a day.


@dataclass(frozen=True)
class Registered:
    """What the registry holds: villages, their labels for eyes, devices."""

    villages: list[Village]
    labels: dict[str, str]
    devices: list[Device]

    @classmethod
    def read(cls, registry: Registry) -> Self:
        """Read it."""
        from host_tools.province.villages import village_labels

        villages = registry.villages()
        return cls(villages, village_labels(villages), registry.devices())


@dataclass(frozen=True)
class Overview:
    """Every slot with a device or reports, in the order of their names.

    lost: since when the broker has no session of a slot whose last known state is not older.
    empty: the villages that never had a device. liveness, size: None while there is no database.
    uncounted_since: from when on no receipt counts what arrived; None: nothing arrived, or the
    province keeps no office log.
    alerted: when the alerts were last at work, 0: never; None: the province wants none.
    old_since: when the province last heard its villages, if it does not now: the slots are as
    they were then; None: it hears them.
    """

    now: float
    slots: list[SlotStatus]
    lost: dict[str, int]
    empty: list[Village]
    villages: int
    installed: int
    names: dict[str, str]
    labels: dict[str, str]
    liveness: Liveness | None
    size: Size | None
    uncounted_since: int | None = None
    alerted: int | None = None
    old_since: int | None = None

    def counts(self) -> Counter[str]:
        """How many slots there are of each state."""
        return Counter(slot.state for slot in self.slots)

    def is_problem(self, slot: SlotStatus) -> bool:
        """Whether somebody should see to it."""
        return slot.state not in _GOOD or slot.slot in self.lost

    def problems(self) -> list[SlotStatus]:
        """The slots with a problem, the longest first; those never heard of before all."""
        found = [slot for slot in self.slots if self.is_problem(slot)]
        return sorted(
            found, key=lambda slot: (self.lost.get(slot.slot, slot.since or 0), slot.slot)
        )

    def heard(self) -> bool:
        """Whether any report has ever come."""
        return any(slot.last_report for slot in self.slots)

    def ours(self) -> list[str]:
        """What is wrong on the province's own side: then silence is no fault of villages."""
        # An ingest that is not at work makes no receipts either; it makes them when it starts.
        not_at_work = self._not_at_work()
        return [
            *(not_at_work or self._receipts_missing()),
            *self._disk_full(),
            *self._not_alerted(),
        ]

    def _receipts_missing(self) -> list[str]:
        from host_tools.common.times import wita

        since = self.uncounted_since
        if (
            since is None
            or self.now - since < _RECEIPT_S
            or not (self.liveness and self.liveness.ingest)
        ):
            return []
        return [
            _(
                "The ingest has made no receipt since {time}: figures of what arrived later can't "
                "be proved yet. Its log says why ('receipt_failed', 'receipts_off'). Then run "
                "'desalink evidence receipts --now'."
            ).format(time=wita(since))
        ]

    def _disk_full(self) -> list[str]:
        days = self.size.days_left if self.size else None
        if days is None or days > _DISK_DAYS:
            return []
        return [
            _(
                "The disk of province.db is full in about {days} days. Make room on it; 'desalink "
                "archive' makes older months smaller."
            ).format(days=number(days))
        ]

    def _not_alerted(self) -> list[str]:
        from host_tools.common.times import wita
        from host_tools.store.sessions import DEAF_S

        if self.alerted is None or self.now - self.alerted <= DEAF_S:
            return []
        if not self.alerted:
            text = _(
                "The alerts have never run, and alerts.toml is there. Start them with 'desalink "
                "alerts run'."
            )
            return [text]
        text = _(
            "The alerts have not been running since {time}, and nobody is sent a message. Start "
            "them with 'desalink alerts run'."
        )
        return [text.format(time=wita(self.alerted))]

    def _not_at_work(self) -> list[str]:
        from host_tools.common.times import wita
        from host_tools.store.sessions import DEAF_S

        alive = self.liveness
        if alive is None or not alive.ingest:
            if not self.installed:
                return []
            text = _(
                "The ingest has never run here: nothing of the villages is received. Start it "
                "with 'desalink ingest'."
            )
            return [text]
        last = ""
        if alive.message:
            last = " " + _("The last message came {time}.").format(time=wita(alive.message))
        if self.now - alive.ingest > DEAF_S:
            text = _(
                "The ingest has not been running since {time}: the villages are shown as they "
                "were then. Start it with 'desalink ingest'."
            )
            return [text.format(time=wita(alive.ingest)) + last]
        if self.now - alive.broker > DEAF_S:
            text = _(
                "The ingest has no connection to the broker since {time}: the villages are shown "
                "as they were then. Start the broker with 'desalink broker run'."
            )
            return [text.format(time=wita(alive.broker) or _("its start")) + last]
        return []


def overview(
    registry: Registry,
    database: Database | None,
    now: float,
    *,
    code: str = "",
    chosen: frozenset[str] | None = None,
    known: Registered | None = None,
) -> Overview:
    """The province, or a part of it, as of now.

    Args:
        code: the first digits of the slots.
        chosen: codes of villages; None: all.
        known: what the registry holds, from a caller who has read it.
    """
    from host_tools.store.queries import SlotStatus, status, uncounted_since
    from host_tools.store.sessions import hearing, liveness, sessions
    from host_tools.store.size import size

    def meant(slot: str) -> bool:
        return slot.startswith(code) and (chosen is None or slot[:10] in chosen)

    known = known or Registered.read(registry)
    heard = status(database, now) if database else []
    found = {slot.slot: slot for slot in heard if meant(slot.slot)}
    active, filled = set(), set()
    for device in known.devices:
        if not meant(device.slot):
            continue
        filled.add(device.slot)
        if device.active:
            active.add(device.slot)
    for slot in filled:
        if slot not in found:
            found[slot] = SlotStatus(slot, slot[:10], "no_data", None, False)
        if slot not in active:
            found[slot] = replace(found[slot], state=REVOKED)
    villages = [v for v in known.villages if meant(v.code)]
    having = {slot[:10] for slot in found}
    alive = liveness(database) if database else None
    lost = {}
    heard_until = hearing(database, now).until if database else now
    if database and alive and alive.broker and heard_until == now:
        for slot, session in sessions(database).items():
            current = found.get(slot)
            if current and not session.online and current.fresh and slot in active:
                lost[slot] = session.since
    keeps_log = registry.newest_office_entry() is not None
    return Overview(
        now=now,
        slots=[found[slot] for slot in sorted(found)],
        lost=lost,
        empty=[v for v in villages if v.code not in having],
        villages=len(villages),
        installed=len({slot[:10] for slot in active}),
        names={village.code: village.name for village in known.villages},
        labels=known.labels,
        liveness=alive,
        size=size(database, now) if database else None,
        uncounted_since=uncounted_since(database) if database and keeps_log else None,
        old_since=None if heard_until == now else int(heard_until),
        alerted=_alerted(database.path.parent) if database else None,
    )


def _alerted(directory: Path) -> int | None:
    if not (directory / "alerts.toml").exists():
        return None
    from host_tools.alerts.records import last_run

    return last_run(directory) or 0


def providers(registry: Registry, now: float) -> dict[str, list[str]]:
    """By village the providers of its links: of the contracts in force, or else as the village's
    own record has it."""
    found: dict[str, list[str]] = {}
    for entry in registry.contracts():
        contract = entry.contract
        its = found.setdefault(contract.slot[:10], [])
        if contract.begin <= now < contract.end and contract.provider not in its:
            its.append(contract.provider)
    for village in registry.villages():
        if village.provider and not found.get(village.code):
            found[village.code] = [village.provider]
    return {code: its for code, its in found.items() if its}
