"""One device from bare to labelled, step by step.

Each step first checks the device and does only what is missing. So the flow can be interrupted at
any point, by a pulled cable or a power cut, and run again. `Found` and `TargetDevice` have one
implementation for a cable and one for SSH.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from host_tools.common.i18n import _, marked
from host_tools.devices.boards import Board
from host_tools.devices.proof import verify_proof
from host_tools.field.acceptance import write_acceptance
from host_tools.field.enrolments import EnrolmentLog, MeasuredSite, Record
from host_tools.field.labels import Label, write_label
from host_tools.field.provision.corrections import corrected, for_the_record
from host_tools.field.provision.errors import ProvisionError, refuse_swapped
from host_tools.field.provision.flash import Progress
from host_tools.field.provision.journal import DeviceJournal
from host_tools.field.provision.network import ELSEWHERE, network_error
from host_tools.field.provision.payload import KitFirmware, release_of
from host_tools.field.talk.rounds import measure
from host_tools.field.talk.visitor import Visitor
from host_tools.people.kits.model import Kit, KitSlot
from host_tools.wire import Key, Refused, Verifier, hash8, parse_report, topic_name
from host_tools.wire.payload import Enrolment

# Each step in its order, and what people call it.
_TITLES = {
    "find": marked("find"),
    "identify": marked("identify"),
    "flash": marked("firmware"),
    "install": marked("agent"),
    "configure": marked("settings"),
    "key": marked("key"),
    "network": marked("network"),
    "report": marked("report"),
    "site": marked("site"),
    "enrol": marked("enrolment"),
    "label": marked("label"),
    "start": marked("start"),
}
STEPS = tuple(_TITLES)


def step_title(step: str) -> str:
    """A step in the technician's language."""
    return _(_TITLES[step])


class TargetDevice(Protocol):
    """A device with its board and slot. Each call does only what is missing."""

    board: Board

    @property
    def firmware(self) -> KitFirmware | None:
        """None if the device has its own system."""

    def enter(self) -> None:
        """Reach a device whose firmware and agent stay as they are, instead of `flash` and
        `install`."""

    def flash(self, progress: Progress) -> bool:
        """Write the firmware; False if it was there."""

    def install(self, files: Mapping[str, bytes], progress: Progress) -> int:
        """Make the agent on the device equal to these files; the number of changed files."""

    def forget_other(self, slot: str | None) -> bool:
        """Delete key and journal of another slot (None: of any slot); True if there were some."""

    def configure(self, progress: Progress) -> int:
        """Write certificates and configuration; the number of written files."""

    def make_key(self) -> bytes:
        """The proof of possession of the device's key, which is made if missing."""

    def test_network(self, unix: int) -> tuple[str, str]:
        """Result and detail of the agent's network test. unix: the laptop's clock."""

    def first_report(self, unix: int) -> tuple[str, bytes]:
        """Topic and bytes of the first report, which is made if missing. unix: the laptop's
        clock."""

    def visit(self) -> AbstractContextManager[Visitor]:
        """A visit, by which the site is measured; the agent does not run."""

    def start(self) -> None:
        """Start the agent, now and after each power-on."""


class Found(Protocol):
    """A device that answers; its slot is not chosen yet."""

    unique_id: str
    """MAC address or serial number."""

    @property
    def facts(self) -> Mapping[str, str]:
        """Facts for the journal."""

    def refuse_stranger(self, folder: Path) -> None:
        """Refuse a device that differs from the one recorded in `folder`."""

    def as_device(self, kit: Kit, slot: KitSlot, board: str | None, work: Path) -> TargetDevice:
        """The device for a slot; board: the name that the technician gave, if any."""


class Watcher(Protocol):
    """Follows the work on one device, in the thread of the work."""

    def step(self, name: str, state: str) -> None:
        """A step of STEPS is `running`, `done`, `already` done, `elsewhere` or `failed`."""

    def progress(self, share: float) -> None:
        """The share of the running step that is done, 0 to 1."""

    def known(self, unique_id: str, slot: KitSlot) -> None:
        """The device and its slot are known now."""


@dataclass(frozen=True)
class Plan:
    """What is the same for every device of one run.

    work: the laptop's directory for devices; board: name of the board, None: found by its chip;
    offline: the network test may fail, as the device's network is elsewhere; replace: the devices
    replace those in the slots; corrections: settings instead of the kit's, by key path;
    settings_only: the device is installed, and keeps its firmware and agent; measure_s: how long
    its site is measured, 0: not at all; photos: for the acceptance sheet.
    """

    kit: Kit
    work: Path
    log: EnrolmentLog
    board: str | None = None
    offline: bool = False
    replace: bool = False
    corrections: Mapping[str, Any] = field(default_factory=dict)
    settings_only: bool = False
    measure_s: int = 0
    photos: Sequence[Path] = ()


@dataclass
class DeviceResult:
    """The result for a device. `states`: of each step that was started; site, sheet: what was
    measured there and the acceptance sheet, None if nothing was."""

    port: str
    mac: str = ""
    slot: str = ""
    village: str = ""
    board: str = ""
    kid: str = ""
    check: str = ""
    label: Path | None = None
    site: MeasuredSite | None = None
    sheet: Path | None = None
    seconds: float = 0.0
    states: dict[str, str] = field(default_factory=dict)


class Provisioning:
    """One device.

    Args:
        where: its port or address, for messages.
        connect: opens the connection and identifies the device.
        choose: the slot for a unique id.
    """

    def __init__(
        self,
        plan: Plan,
        where: str,
        connect: Callable[[], AbstractContextManager[Found]],
        choose: Callable[[str], str],
        watcher: Watcher,
    ) -> None:
        self._plan = plan
        self._connect = connect
        self._choose = choose
        self._watch = watcher
        self._journal: DeviceJournal | None = None
        self.result = DeviceResult(where)

    def run(self) -> DeviceResult:
        """Run all steps.

        Raises:
            ProvisionError, KitError, EnrolmentError, BoardError, LogError: a sentence for the
                technician; finished steps stay finished.
            OSError: something can't be written on the laptop.
        """
        began = time.monotonic()
        try:
            with self._step("find"), self._connect() as found:
                self._show("find", "done")
                self.result.mac = found.unique_id
                journal = DeviceJournal(self._plan.work, found.unique_id)
                with journal.opened():
                    self._journal = journal
                    self._fill(found, journal)
        finally:
            self.result.seconds = time.monotonic() - began
        return self.result

    @contextmanager
    def _step(self, name: str) -> Iterator[dict[str, Any]]:
        """Show a step, time it and record it. The dict becomes its entry in the journal.

        `find` lasts as long as the connection and is not recorded.
        """
        began = time.monotonic()
        entry: dict[str, Any] = {"state": "done"}
        self._show(name, "running")
        try:
            yield entry
        except Exception as error:
            if "failed" not in self.result.states.values():
                self._show(name, "failed")
                kind = error.kind if isinstance(error, ProvisionError) else type(error).__name__
                self._note(name, state="failed", kind=kind, reason=str(error)[:400])
            raise
        if name != "find":
            seconds = round(time.monotonic() - began, 1)
            self._note(name, **entry, seconds=seconds)
            self._show(name, entry["state"])

    def _show(self, name: str, state: str) -> None:
        self.result.states[name] = state
        self._watch.step(name, state)

    def _note(self, name: str, state: str, **detail: Any) -> None:
        if self._journal is not None:
            self._journal.add(name, state, **detail)

    def _fill(self, found: Found, journal: DeviceJournal) -> None:
        plan, result = self._plan, self.result
        kit, mac = plan.kit, found.unique_id
        with self._step("identify") as entry:
            found.refuse_stranger(journal.directory)
            slot, used_up = self._slot_for(mac)
            slot = corrected(slot, plan.corrections)
            device = found.as_device(kit, slot, plan.board, plan.work)
            result.board = board = device.board.name
            entry.update(port=result.port, slot=slot.slot, board=board, **found.facts)
        firmware = device.firmware
        if plan.settings_only:
            device.enter()
        else:
            self._install(device)
        with self._step("configure") as entry:
            if device.forget_other(None if used_up else slot.slot):
                entry.update(forgot=True)
            count = device.configure(self._watch.progress)
            entry.update(state="done" if count else "already", files=count)
        with self._step("key") as entry:
            proof = device.make_key()
            enrolment = self._verified(proof, mac, slot, firmware)
            kid = hash8(enrolment.public_key)
            result.kid = kid.hex()
            known = self._record(mac, slot)
            same = known is not None and known.device == kid
            entry.update(state="already" if same else "done", kid=kid.hex())
        with self._step("network") as entry:
            entry.update(self._network(device))
        with self._step("report") as entry:
            entry.update(self._report(device, slot, enrolment, known=same))
        if plan.measure_s:
            with self._step("site") as entry, device.visit() as visitor:
                result.site = site = measure(visitor, plan.measure_s, self._watch.progress)
                entry.update(site=site.as_json())
        with self._step("enrol") as entry:
            filled = plan.log.filled_by(kit, slot.slot)
            replaces = filled if plan.replace and filled != kid else None
            digest = firmware.app_sha256 if firmware else None
            record = plan.log.append(
                *(kit, slot.slot, proof, mac, board, digest, slot.serial, replaces),
                corrections=for_the_record(plan.corrections) or None,
                site=result.site,
            )
            entry.update(state="already" if same else "done", record=record.number)
        with self._step("label") as entry:
            its = slot.village
            label = Label(
                *(slot.slot, its.name, its.district, its.regency, result.kid, mac, board)
            )
            result.check, result.label = label.check, write_label(label, journal.directory)[0]
            entry.update(file=result.label.name, check=label.check)
            if result.site is not None:
                result.sheet = journal.directory / f"acceptance-{slot.slot}.pdf"
                write_acceptance(
                    result.sheet, label, result.site, kit.technician, record.time, plan.photos
                )
                entry.update(sheet=result.sheet.name)
        with self._step("start"):
            device.start()

    def _install(self, device: TargetDevice) -> None:
        firmware = device.firmware
        if firmware is not None:
            with self._step("flash") as entry:
                fresh = device.flash(self._watch.progress)
                entry.update(state="done" if fresh else "already", firmware=firmware.name)
        with self._step("install") as entry:
            files = release_of(self._plan.kit, device.board).files
            if firmware is not None and firmware.romfs:
                files = {}
            count = device.install(files, self._watch.progress)
            entry.update(state="done" if count else "already", files=count)

    def _slot_for(self, mac: str) -> tuple[KitSlot, bool]:
        """The chosen slot, if the device may fill it; and whether its key is used up: a device
        that was replaced needs a new key."""
        kit = self._plan.kit
        name = self._choose(mac)
        slot = self._plan.log.slot_for(kit, name, mac)
        self.result.slot, self.result.village = name, slot.village.name
        self._watch.known(mac, slot)
        elsewhere, own = last_enrolled(self._plan, mac)
        if elsewhere is not None and elsewhere != name:
            raise ProvisionError(
                "other_village",
                _(
                    "The board {mac} is enrolled for {slot}; take another board for {wanted}, or "
                    "have the province revoke it there ('desalink devices revoke') and give you a "
                    "new kit."
                ).format(mac=mac, slot=elsewhere, wanted=name),
            )
        filled = self._plan.log.filled_by(kit, name)
        allowed = self._plan.replace or kit.replacements.get(name) == filled
        if filled is not None and filled != own and not allowed:
            raise ProvisionError(
                "slot_filled",
                _(
                    "{slot} ({village}) has a device already, {kid}; if this board replaces it, "
                    "give --replace, else choose another village or --slot-number."
                ).format(slot=name, village=slot.village.name, kid=filled.hex()),
            )
        return slot, own is not None and filled is not None and filled != own

    def _record(self, mac: str, slot: KitSlot) -> Record | None:
        """This laptop's record of the device in the slot."""
        record = self._plan.log.find(mac)
        return record if record is not None and record.slot == slot.slot else None

    @staticmethod
    def _verified(
        proof: bytes, mac: str, slot: KitSlot, firmware: KitFirmware | None
    ) -> Enrolment:
        """The device's signed statement, if it matches what is known of the device."""
        enrolment = verify_proof(proof, slot.slot)
        refuse_swapped(mac, enrolment.unique_id or "-")
        if firmware is not None and enrolment.firmware not in (None, firmware.app_sha256):
            raise ProvisionError(
                "firmware",
                _(
                    "The board {mac} runs another firmware than the written one; run the same "
                    "command, and if that does not help, take another board."
                ).format(mac=mac),
            )
        return enrolment

    def _network(self, device: TargetDevice) -> dict[str, Any]:
        kit = self._plan.kit
        result, detail = device.test_network(int(time.time()))
        if result == "ok":
            return {}
        # Where the site is measured, the figures say what is wrong with it.
        if (self._plan.offline or self._plan.measure_s) and result in ELSEWHERE:
            return {"state": "elsewhere", "result": result, "detail": detail}
        raise network_error(result, detail, kit.broker_host, kit.broker_port)

    def _report(
        self, device: TargetDevice, slot: KitSlot, enrolment: Enrolment, known: bool
    ) -> dict[str, Any]:
        """The device's first report, verified as the ingest verifies it."""
        topic, message = device.first_report(int(time.time()))
        kid = hash8(enrolment.public_key)
        verifier = Verifier({kid: Key(enrolment.public_key, slot.slot, True)})
        try:
            if topic != topic_name(slot.slot, "report"):
                raise ProvisionError("report", _("its topic is {topic}").format(topic=topic))
            report = parse_report(verifier.verify(topic, message).payload)
            if report.seq != 1 and not known:
                raise ProvisionError(
                    "report", _("it begins with report {seq}").format(seq=report.seq)
                )
        except (Refused, ProvisionError) as error:
            raise ProvisionError(
                "report",
                _(
                    "The report of the device {kid} is wrong ({reason}); run the same command, "
                    "and if that does not help, take another board."
                ).format(kid=kid.hex(), reason=error),
            ) from None
        return {"stream": report.stream.hex(), "seq": report.seq, "start": report.start}


def last_enrolled(plan: Plan, mac: str) -> tuple[str | None, bytes | None]:
    """The slot and the key's id of a device's last enrolment, as far as laptop and kit know."""
    record = plan.log.find(mac)
    # The kit is newer than those records that the province had imported when it made the kit.
    if record is not None and record.number >= plan.kit.imported.get(record.log, 0):
        return record.slot, record.device
    known = plan.kit.device_of_unique_id(mac)
    return (known.slot, known.kid) if known else (None, None)
