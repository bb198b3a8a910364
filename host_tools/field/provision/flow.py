"""The way of one board from bare to labelled: ten steps, each done once, however often it is run.

Every step looks at the device first and does only what is missing. So the whole may end at any
moment, by a pulled cable or a killed laptop, and be run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from host_tools.common.i18n import _
from host_tools.devices.boards import Board
from host_tools.devices.proof import verify_proof
from host_tools.field.enrolments import EnrolmentLog, Record
from host_tools.field.labels import Label, write_label
from host_tools.field.provision import device
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.provision.flash import Bootloader, Chip
from host_tools.field.provision.journal import DeviceJournal
from host_tools.field.provision.network import ELSEWHERE, network_error
from host_tools.field.provision.payload import (
    Firmware,
    agent_files,
    choose_board,
    firmware_of,
    own_files,
)
from host_tools.field.provision.repl import Repl
from host_tools.people.kits.model import Kit, KitSlot, same_id
from host_tools.wire import Key, Refused, Verifier, hash8, parse_report, topic_name
from host_tools.wire.payload import Enrolment

STEPS = (
    "find",
    "identify",
    "flash",
    "install",
    "configure",
    "key",
    "network",
    "report",
    "enrol",
    "label",
)


def step_title(step: str) -> str:
    """A step in the technician's language."""
    return {
        "find": _("find"),
        "identify": _("identify"),
        "flash": _("firmware"),
        "install": _("agent"),
        "configure": _("settings"),
        "key": _("key"),
        "network": _("network"),
        "report": _("report"),
        "enrol": _("enrolment"),
        "label": _("label"),
    }[step]


class Watcher(Protocol):
    """Is told what happens; from the thread that works on the board."""

    def step(self, name: str, state: str) -> None:
        """A step of STEPS is `running`, `done`, `already` done, `elsewhere` or `failed`."""

    def progress(self, share: float) -> None:
        """How much of the running step is done, 0 to 1."""

    def known(self, mac: str, slot: KitSlot) -> None:
        """Which board this is, and for which slot."""


class Silent:
    """A watcher that nobody looks at."""

    def step(self, name: str, state: str) -> None: ...

    def progress(self, share: float) -> None: ...

    def known(self, mac: str, slot: KitSlot) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What holds for every board of one run.

    work: the laptop's directory for devices; board: name of the kind of board, None to be found
    out; offline: the network test may fail because the network is elsewhere; replace: the boards
    take the place of those that fill the slots.
    """

    kit: Kit
    work: Path
    log: EnrolmentLog
    board: str | None = None
    offline: bool = False
    replace: bool = False


@dataclass
class Outcome:
    """What became of a board. `states`: of each step that was begun."""

    port: str
    mac: str = ""
    slot: str = ""
    village: str = ""
    board: str = ""
    kid: str = ""
    check: str = ""
    label: Path | None = None
    seconds: float = 0.0
    states: dict[str, str] = field(default_factory=dict)


class Provisioning:
    """One board on one port.

    Args:
        choose: the slot for a chip; called once it is known which board this is.
    """

    def __init__(
        self, plan: Plan, port: str, choose: Callable[[Chip], str], watcher: Watcher | None = None
    ) -> None:
        self._plan = plan
        self._port = port
        self._choose = choose
        self._watch = watcher or Silent()
        self._journal: DeviceJournal | None = None
        self._used_up = False
        self.outcome = Outcome(port)

    def run(self) -> Outcome:
        """Do all that is missing.

        Raises:
            ProvisionError, KitError, EnrolmentError, BoardError, LogError: a sentence for the
                technician; what was done stays done.
            OSError: something can't be written on the laptop.
        """
        began = time.monotonic()
        try:
            with self._step("find"), Bootloader(self._port) as loader:
                chip = loader.identify()
                self._work(loader, chip)
        finally:
            self.outcome.seconds = time.monotonic() - began
        return self.outcome

    @contextmanager
    def _step(self, name: str) -> Iterator[dict[str, Any]]:
        """A step: told, timed and written down. What is put into the dict is its journal's entry.

        `find` stays open as long as the port is in use, and is written down with `identify`.
        """
        began = time.monotonic()
        entry: dict[str, Any] = {"state": "done"}
        self._tell(name, "running")
        try:
            yield entry
        except Exception as error:
            if "failed" not in self.outcome.states.values():
                self._tell(name, "failed")
                kind = error.kind if isinstance(error, ProvisionError) else type(error).__name__
                self._note(name, state="failed", kind=kind, reason=str(error)[:400])
            raise
        if name != "find":
            seconds = round(time.monotonic() - began, 1)
            self._note(name, **entry, seconds=seconds)
            self._tell(name, entry["state"])

    def _tell(self, name: str, state: str) -> None:
        self.outcome.states[name] = state
        self._watch.step(name, state)

    def _note(self, name: str, state: str, **detail: Any) -> None:
        if self._journal is not None:
            self._journal.add(name, state, **detail)

    # ---- the steps -------------------------------------------------------------------------

    def _work(self, loader: Bootloader, chip: Chip) -> None:
        self._tell("find", "done")
        self.outcome.mac = chip.mac
        journal = DeviceJournal(self._plan.work, chip.mac)
        with journal.opened():
            self._journal = journal
            with self._step("identify") as entry:
                slot, board, firmware = self._identify(chip)
                entry.update(port=self._port, slot=slot.slot, board=board.name, chip=chip.chip)
            with self._step("flash") as entry:
                fresh = loader.flash(firmware.image, board.baud, self._watch.progress)
                loader.run()
                entry.update(state="done" if fresh else "already", firmware=firmware.name)
            with Repl(self._port) as repl:
                self._fill(repl, chip, slot, board, firmware)

    def _fill(
        self, repl: Repl, chip: Chip, slot: KitSlot, board: Board, firmware: Firmware
    ) -> None:
        kit = self._plan.kit
        with self._step("install") as entry:
            repl.interrupt()
            repl.soft_reset()
            self._refuse_swapped(chip, device.unique_id(repl))
            device.hold(repl)
            files = device.DeviceFiles(repl)
            have = files.hashes()
            wanted = agent_files(kit, board)
            count = files.bring(wanted, ("/agent/", "/boards/"), have, self._watch.progress)
            entry.update(state="done" if count else "already", files=count)
        with self._step("configure") as entry:
            if device.forget_other(repl, None if self._used_up else slot.slot):
                entry.update(forgot=True)
                have = files.hashes()
            own = own_files(kit, slot, board, firmware)
            count = files.bring(own, (), have, self._watch.progress)
            entry.update(state="done" if count else "already", files=count)
            # With all the heap, and with what the board's boot.py prepares.
            repl.soft_reset()
        with self._step("key") as entry:
            proof, enrolment = self._key(repl, chip, slot, board, firmware)
            kid = hash8(enrolment.public_key)
            self.outcome.kid = kid.hex()
            known = self._record(chip, slot)
            same = known is not None and known.device == kid
            entry.update(state="already" if same else "done", kid=kid.hex())
        with self._step("network") as entry:
            entry.update(self._network(repl))
        with self._step("report") as entry:
            repl.soft_reset()
            entry.update(self._report(repl, slot, enrolment, known=same))
        with self._step("enrol") as entry:
            filled = self._plan.log.filled_by(kit, slot.slot)
            replaces = filled if self._plan.replace and filled != kid else None
            record = self._plan.log.append(
                kit,
                slot.slot,
                proof,
                chip.mac,
                board.name,
                enrolment.firmware or firmware.app_sha256,
                slot.serial,
                replaces,
            )
            entry.update(state="already" if same else "done", record=record.number)
        with self._step("label") as entry:
            self._label(chip, slot, board)
            assert self.outcome.label is not None
            entry.update(file=self.outcome.label.name, check=self.outcome.check)
            device.release(repl)
            repl.start()

    def _test_network(self, repl: Any) -> tuple[str, str]:
        return device.test_network(repl, int(time.time()))

    def _first_report(self, repl: Any) -> tuple[str, bytes]:
        return device.first_report(repl)

    def _identify(self, chip: Chip) -> tuple[KitSlot, Board, Firmware]:
        slot = self._slot_for(chip)
        board = choose_board(self._plan.kit, slot, chip, self._plan.board)
        self.outcome.board = board.name
        return slot, board, firmware_of(self._plan.kit, board, self._plan.work)

    def _slot_for(self, chip: Any) -> KitSlot:
        """The slot that was chosen for a board, if the board may fill it; `chip` has its MAC."""
        kit = self._plan.kit
        name = self._choose(chip)
        slot = self._plan.log.slot_for(kit, name, chip.mac)
        self.outcome.slot, self.outcome.village = name, slot.village.name
        self._watch.known(chip.mac, slot)
        elsewhere = enrolled_slot(self._plan, chip.mac)
        if elsewhere is not None and elsewhere != name:
            raise ProvisionError(
                "other_village",
                _(
                    "The board {mac} is enrolled for {slot}; take another board for {wanted}, or "
                    "have the province revoke it there ('desalink devices revoke') and give you a "
                    "new kit."
                ).format(mac=chip.mac, slot=elsewhere, wanted=name),
            )
        filled = self._plan.log.filled_by(kit, name)
        allowed = self._plan.replace or kit.replacements.get(name) == filled
        own = own_kid(self._plan, chip.mac)
        # A board whose place was taken can't take it back with the key that was given up.
        self._used_up = own is not None and filled is not None and filled != own
        if filled is not None and filled != own and not allowed:
            raise ProvisionError(
                "slot_filled",
                _(
                    "{slot} ({village}) has a device already, {kid}; if this board takes its "
                    "place, say so with --replace, else choose another village or --slot-number."
                ).format(slot=name, village=slot.village.name, kid=filled.hex()),
            )
        return slot

    def _record(self, chip: Any, slot: KitSlot) -> Record | None:
        """This laptop's own record of the board for the slot."""
        record = self._plan.log.find(chip.mac)
        return record if record is not None and record.slot == slot.slot else None

    def _refuse_swapped(self, chip: Chip, unique_id: str | None) -> None:
        if unique_id is not None and same_id(unique_id) != same_id(chip.mac):
            raise ProvisionError(
                "swapped",
                _(
                    "The chip said that it is {mac} and the running board says {other}; leave the "
                    "board plugged in and run the same command."
                ).format(mac=chip.mac, other=unique_id),
            )

    def _key(
        self, repl: Repl, chip: Chip, slot: KitSlot, board: Board, firmware: Firmware
    ) -> tuple[bytes, Enrolment]:
        proof = device.make_key(repl)
        enrolment = verify_proof(proof, slot.slot)
        self._refuse_swapped(chip, enrolment.unique_id or "-")
        if enrolment.firmware not in (None, firmware.app_sha256):
            raise ProvisionError(
                "firmware",
                _(
                    "The board {mac} runs another firmware than was written to it; run the same "
                    "command, and if it stays, take another board."
                ).format(mac=chip.mac),
            )
        return proof, enrolment

    def _network(self, repl: Any) -> dict[str, Any]:
        kit = self._plan.kit
        result, detail = self._test_network(repl)
        if result == "ok":
            return {}
        if self._plan.offline and result in ELSEWHERE:
            return {"state": "elsewhere", "result": result, "detail": detail}
        raise network_error(result, detail, kit.broker_host, kit.broker_port)

    def _report(
        self, repl: Any, slot: KitSlot, enrolment: Enrolment, known: bool
    ) -> dict[str, Any]:
        """The device's first report, verified as the ingest will verify it."""
        topic, message = self._first_report(repl)
        kid = hash8(enrolment.public_key)
        verifier = Verifier({kid: Key(enrolment.public_key, slot.slot, True)})
        try:
            if topic != topic_name(slot.slot, "report"):
                raise ProvisionError("report", f"its topic is {topic}")
            report = parse_report(verifier.verify(topic, message).payload)
            if report.seq != 1 and not known:
                raise ProvisionError("report", f"it begins with report {report.seq}")
        except (Refused, ProvisionError) as error:
            raise ProvisionError(
                "report",
                _(
                    "The report of the device {kid} is not as it should be ({reason}); run the "
                    "same command, and if it stays, take another board."
                ).format(kid=kid.hex(), reason=error),
            ) from None
        return {"stream": report.stream.hex(), "seq": report.seq}

    def _label(self, chip: Any, slot: KitSlot, board: Board) -> None:
        assert self._journal is not None
        village = slot.village
        label = Label(
            slot.slot,
            village.name,
            village.district,
            village.regency,
            self.outcome.kid,
            chip.mac,
            board.name,
        )
        self.outcome.check = label.check
        self.outcome.label = write_label(label, self._journal.directory)[0]


def _known(plan: Plan, mac: str) -> tuple[str, bytes] | None:
    record = plan.log.find(mac)
    # What the province had imported when it packed the kit, the kit knows better.
    if record is not None and record.number >= plan.kit.imported.get(record.log, 0):
        return record.slot, record.device
    known = plan.kit.device_of_unique_id(mac)
    return (known.slot, known.kid) if known else None


def enrolled_slot(plan: Plan, mac: str) -> str | None:
    """The slot that a board was last enrolled for, as far as laptop and kit know, or None."""
    known = _known(plan, mac)
    return known[0] if known else None


def own_kid(plan: Plan, mac: str) -> bytes | None:
    """The id of the key with which a board was last enrolled, or None."""
    known = _known(plan, mac)
    return known[1] if known else None
