"""The way of a Linux device from bare to labelled, over SSH: the same steps as over a cable.

What a serial board gets by flashing (its firmware) a Linux device has already: the step `flash`
does not occur. Its identity is what the device says of itself, and its host key is remembered with
it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from host_tools.common.i18n import _
from host_tools.devices.proof import verify_proof
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.provision.flow import Outcome, Plan, Provisioning, Watcher
from host_tools.field.provision.journal import DeviceJournal
from host_tools.field.provision.linux import LinuxDevice, board_of, identify
from host_tools.field.provision.payload import agent_files
from host_tools.field.provision.ssh import Connection, Target, check_host_key
from host_tools.people.kits.model import KitSlot, same_id
from host_tools.wire import hash8
from host_tools.wire.payload import Enrolment

# As flow.STEPS, without what a Linux device does not need.
STEPS = (
    "find",
    "identify",
    "install",
    "configure",
    "key",
    "network",
    "report",
    "enrol",
    "label",
)


@dataclass(frozen=True)
class Found:
    """A device as the flow speaks of it: `mac` is its unique id."""

    mac: str
    model: str


class RemoteProvisioning(Provisioning):
    """One device at one SSH address.

    Args:
        choose: the slot for the device; called once it is known which one this is.
        tell: is given sentences for the technician, such as the fingerprint of a new host key.
        options: further words for ssh's command line.
        prefix: stands before every path on the device; "" but in tests.
    """

    def __init__(
        self,
        plan: Plan,
        target: Target,
        choose: Callable[[Found], str],
        watcher: Watcher | None = None,
        *,
        tell: Callable[[str], None] = lambda sentence: None,
        options: Sequence[str] = (),
        prefix: str = "",
    ) -> None:
        super().__init__(plan, str(target), choose, watcher)  # type: ignore[arg-type]
        self._target = target
        self._say = tell
        self._options = tuple(options)
        self._prefix = prefix

    def run(self) -> Outcome:
        """Do all that is missing; see `Provisioning.run`."""
        began = time.monotonic()
        try:
            with self._step("find"), Connection(self._target, self._options) as connection:
                self._meet(connection)
        finally:
            self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _meet(self, connection: Connection) -> None:
        identity = identify(connection, self._prefix)
        self._tell("find", "done")
        found = Found(identity.unique_id, identity.model)
        self.outcome.mac = found.mac
        journal = DeviceJournal(self._plan.work, found.mac)
        with journal.opened():
            self._journal = journal
            with self._step("identify") as entry:
                check_host_key(journal.directory, connection, self._say)
                slot = self._slot_for(found)
                board = board_of(identity, self._plan.board)
                self.outcome.board = board.name
                entry.update(port=self._port, slot=slot.slot, board=board.name, model=found.model)
            device = LinuxDevice(connection, identity, board, self._prefix)
            self._fill_linux(device, found, slot)

    def _fill_linux(self, device: LinuxDevice, found: Found, slot: KitSlot) -> None:
        kit, board = self._plan.kit, device.board
        with self._step("install") as entry:
            count = device.install(agent_files(kit, board), self._watch.progress)
            entry.update(state="done" if count else "already", files=count)
        with self._step("configure") as entry:
            if device.forget_other(slot.slot):
                entry.update(forgot=True)
            config = device.configuration(slot.config)
            count = device.configure(config, kit.ca_pem, slot.certificate_pem, slot.key_pem)
            entry.update(state="done" if count else "already", files=count)
        with self._step("key") as entry:
            proof, enrolment = self._key_of(device, found, slot)
            kid = hash8(enrolment.public_key)
            self.outcome.kid = kid.hex()
            known = self._record(found, slot)
            same = known is not None and known.device == kid
            entry.update(state="already" if same else "done", kid=kid.hex())
        with self._step("network") as entry:
            entry.update(self._network(device))
        with self._step("report") as entry:
            entry.update(self._report(device, slot, enrolment, known=same))
        with self._step("enrol") as entry:
            filled = self._plan.log.filled_by(kit, slot.slot)
            replaces = filled if self._plan.replace and filled != kid else None
            record = self._plan.log.append(
                kit, slot.slot, proof, found.mac, board.name, None, slot.serial, replaces
            )
            entry.update(state="already" if same else "done", record=record.number)
        with self._step("label") as entry:
            self._label(found, slot, board)
            assert self.outcome.label is not None
            entry.update(file=self.outcome.label.name, check=self.outcome.check)
            device.start()

    def _key_of(self, device: LinuxDevice, found: Found, slot: KitSlot) -> tuple[bytes, Enrolment]:
        device.stop()
        proof = device.make_key()
        enrolment = verify_proof(proof, slot.slot)
        if enrolment.unique_id is None or same_id(enrolment.unique_id) != same_id(found.mac):
            raise ProvisionError(
                "swapped",
                _(
                    "The device said that it is {mac} and its agent says {other}; leave it "
                    "plugged in and run the same command."
                ).format(mac=found.mac, other=enrolment.unique_id or "-"),
            )
        return proof, enrolment

    def _test_network(self, repl: Any) -> tuple[str, str]:
        result: tuple[str, str] = repl.test_network(int(time.time()))
        return result

    def _first_report(self, repl: Any) -> tuple[str, bytes]:
        result: tuple[str, bytes] = repl.first_report()
        return result
