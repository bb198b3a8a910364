"""Boards that answer, but not as a board should: by malice, or by a fault."""

from __future__ import annotations

import os
import pty
import select
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from host_tools.field.provision import serial_device
from host_tools.field.provision.batch import BatchProvisioning
from host_tools.field.provision.dealer import slot_in_kit
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.provision.flow import DeviceResult
from host_tools.field.provision.repl import Repl
from host_tools.field.provision.screen import ProvisionScreen
from host_tools.field.provision.serial_device import SerialDevice


@contextmanager
def _board(behave: Callable[[int, bytes], None]) -> Iterator[Repl]:
    """A REPL to a board whose `behave` gets each piece of what the host writes."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    repl = Repl(os.ttyname(slave))
    os.write(master, b">")  # as if the raw REPL had been entered

    def live() -> None:
        try:
            while data := os.read(master, 4096):
                behave(master, data)
        except OSError:
            pass  # the host has hung up

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with repl:
            yield repl
    finally:
        os.close(slave)
        thread.join(60)
        os.close(master)


def _answering(error: bytes) -> Callable[[int, bytes], None]:
    """Takes any script, and answers with an exception."""

    def behave(line: int, data: bytes) -> None:
        if data.startswith(b"\x05"):
            os.write(line, b"R\x00")  # no raw paste
        elif data.endswith(b"\x04"):
            os.write(line, b"OK\x04" + error + b"\x04>")

    return behave


def test_a_board_can_not_write_on_the_technician_s_terminal() -> None:
    with _board(_answering(b"OSError: \x1b]0;x\x07\x1b[2J\x9b\r\n")) as repl:
        with pytest.raises(ProvisionError, match="OSError: ") as refused:
            repl.run("1")
    assert str(refused.value).isprintable()


class _Saying(Repl):
    """A REPL to a board that answers each script with the same text."""

    said = ""

    def __init__(self) -> None:
        pass

    def run(self, script: str, timeout: float = 0) -> str:
        return self.said

    def interrupt(self, timeout: float = 0) -> None:
        pass

    def soft_reset(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (SerialDevice.make_key, "ANSWER {x"),
        (SerialDevice.make_key, "ANSWER null"),
        (SerialDevice.make_key, 'ANSWER "a"'),
        (lambda device: device.test_network(1), "ANSWER 5"),
        (lambda device: device.first_report(1), "ANSWER [1]"),
        (lambda device: device.forget_other(None), "ets"),
    ],
)
def test_an_answer_in_a_wrong_form_is_the_board_s_error(
    ask: Callable[[Any], object], said: str, monkeypatch: pytest.MonkeyPatch
):
    repl = _Saying()
    monkeypatch.setattr(serial_device, "Repl", lambda port: repl)
    slot = Mock(config={})
    device = SerialDevice("p", Mock(), ExitStack(), "m", Mock(), slot, Mock(), Mock())
    device.install({}, Mock())
    repl.said = said
    with pytest.raises(ProvisionError, match="can't be understood. Run the same") as refused:
        ask(device)
    assert refused.value.kind == "device"


def _babbling(line: int, data: bytes) -> None:
    """Never ends, and never pauses for long."""
    hung_up = select.poll()
    hung_up.register(line, 0)
    while not hung_up.poll(10):
        os.write(line, b"ets Jul 29 2019 12:21:46\r\n")


def test_a_board_that_does_not_stop_talking_is_given_up() -> None:
    with _board(_babbling) as repl, pytest.raises(ProvisionError, match="does not answer"):
        repl.interrupt(timeout=1)


def test_an_answer_without_end_is_given_up() -> None:
    def flood(line: int, data: bytes) -> None:
        if data.startswith(b"\x05"):
            os.write(line, b"R\x00")
        elif data.endswith(b"\x04"):
            os.write(line, b"OK")
            _babbling(line, data)

    with _board(flood) as repl, pytest.raises(ProvisionError, match="stopped answering"):
        repl.run("1", timeout=1)


def test_a_board_with_two_sockets_keeps_its_village(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While it is at work on one, the other is refused: its journal is in use."""

    class Work:
        def __init__(
            self,
            plan: object,
            where: str,
            connect: object,
            choose: Callable[[str], str],
            watcher: object,
        ) -> None:
            self.result = DeviceResult(where)
            self._choose = choose

        def run(self) -> None:
            self.result.mac = "b" if self.result.port == "other" else "a"
            if self.result.port == "socket 2":
                raise ProvisionError("busy", "Another works on it.")
            self.result.slot = self._choose(self.result.mac)
            if self.result.port == "socket 1":
                batch.provision("socket 2")
                batch.provision("other")

    monkeypatch.setattr("host_tools.field.provision.batch.Provisioning", Work)
    plan: Any = Mock(work=tmp_path, replace=False)
    plan.log.find.return_value = plan.log.filled_by.return_value = None
    plan.kit.device_of_unique_id.return_value = None
    batch = BatchProvisioning(
        plan, ["6403112001-1", "6403112002-1"], None, None, ProvisionScreen()
    )
    batch.provision("socket 1")
    slots = {result.port: result.slot for result, _error in batch.results}
    assert slots == {"socket 1": "6403112001-1", "socket 2": "", "other": "6403112002-1"}


def test_a_village_may_be_given_by_its_name() -> None:
    def slot(name: str, village: str) -> Any:
        found = Mock(slot=name)
        found.village.name = village
        found.village.district, found.village.regency = f"District {name[9]}", "Berau"
        return found

    names = {"6403112001-1": "Bohe Silian", "6403112002-1": "Sumber Sari", "6403112003-1": ""}
    kit: Any = Mock(slots={name: slot(name, village) for name, village in names.items()})
    assert slot_in_kit(kit, " sumber sari ") == "6403112002-1"
    assert slot_in_kit(kit, "64.03.11.2001") == "6403112001-1"
    kit.slots["6403112003-1"].village.name = "Sumber Sari"
    with pytest.raises(
        ProvisionError, match=r"6403112002 \(District 2, Berau\); 6403112003 \(Dis"
    ):
        slot_in_kit(kit, "Sumber Sari")
    with pytest.raises(ProvisionError, match="not in the kit"):
        slot_in_kit(kit, "Nowhere")
