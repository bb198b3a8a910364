"""Boards without hardware, on a hub: each is a pseudo-terminal that comes and goes.

In its bootloader a board is `esp32-mock-bootloader`, which speaks the ROM's and the stub's
protocol; once its flash holds a whole firmware image it is MicroPython's unix port in a directory
of its own. What a real board is told by DTR and RTS is read from the line: a sync frame resets it
into the bootloader, and when the program that spoke to the bootloader closes the port it starts.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from esp32_mock_bootloader import server
from esptool.bin_image import LoadFirmwareImage

from host_tools.devices import romfs
from tests import support
from tests.boards.images import APP
from tests.host_tools.field.provision.bootloader import FLASH_2MB, FLASH_4MB, Flash, here
from tests.host_tools.field.provision.line import Cut, Line, Unplugged

# The first bytes of what esptool sends to find out whether a bootloader listens.
_SYNC = b"\x07\x07\x12\x20" + b"\x55" * 16
_INVALID = b"invalid header: 0xffffffff\r\n"
_DEVICE_BOOT = Path(__file__).with_name("device_boot.py")


class Board(threading.Thread):
    """One board.

    Attributes:
        chip, mac: as burnt in.
        files: the directory that is its filesystem.
        port: the path by which a host reaches it now; another after each `plug()`.
        incoming, outgoing: all bytes that ever crossed the line, by direction.
        paced: whether the line takes the time of the rate that the host sets.
        max_baud: above this the line garbles what it carries.
        flash_id: of the flash chip (`FLASH_4MB`, `FLASH_2MB`).
        cut: when the cable is pulled, if ever.
        network: what its `Port.join` finds missing, "" for nothing.
        running_mac: what the interpreter says, where that is another board's.
        slow: it takes its time over writing its key.
    """

    def __init__(self, hub: Hub, name: str, chip: str, mac: str) -> None:
        super().__init__(name=f"board {name}", daemon=True)
        self.hub = hub
        self.board_name = name
        self.chip = chip
        self.mac = mac
        self.folder = hub.folder / f"board-{name}"
        self.files = self.folder / "files"
        self.files.mkdir(parents=True)
        self.flash = Flash(self.files)
        self.flash_id = FLASH_4MB
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.paced = False
        self.max_baud = 4_000_000
        self.cut: Cut | None = None
        self.network = ""
        self.running_mac: str | None = None
        self.slow = False
        self.resets = 0
        self.error: BaseException | None = None
        self._phase = "off"
        self._plugs = 0
        self._plugged = threading.Event()
        self._ending = threading.Event()
        self._pull = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._child_master = -1
        self._raw = self._at_prompt = self._asked_to_reboot = False
        self._line: Line | None = None
        self._firmware = ""
        self.port = Path()

    # ---- the hands on the cable ------------------------------------------------------------

    def plug(self) -> Path:
        """Connect it; returns its port, a name that was never used before."""
        self._plugs += 1
        self.port = self.hub.ports / f"{self.board_name}.{self._plugs}"
        self._pull.clear()
        self._line = Line(self)
        self.port.symlink_to(self._line.path)
        self._plugged.set()
        if not self.is_alive():
            self.start()
        return self.port

    def pull(self) -> None:
        """Pull the cable, which powers the board too."""
        self._pull.set()

    def wait_unplugged(self, timeout: float = support.PATIENCE_S) -> None:
        """Wait until the cable is out."""
        end = time.monotonic() + timeout
        while self._plugged.is_set():
            assert time.monotonic() < end, "the cable was never pulled"
            time.sleep(0.01)

    def wait_left_alone(self, timeout: float = support.PATIENCE_S) -> None:
        """Wait until its bootloader session has ended. For a real board DTR and RTS end it."""
        end = time.monotonic() + timeout
        while self._phase == "boot":
            assert time.monotonic() < end, "the bootloader session did not end"
            time.sleep(0.01)

    def shut_down(self) -> None:
        """End the emulation."""
        self._ending.set()
        self._pull.set()
        if self.is_alive():
            self.join(support.PATIENCE_S)
        if self.error is not None:
            raise self.error

    # ---- seen from the line ----------------------------------------------------------------

    def note(self, direction: str, data: bytes) -> None:
        (self.incoming if direction == "in" else self.outgoing).extend(data)
        if self.cut is not None and direction == "in":
            self.cut.feed(self._phase, data)

    def check_cable(self) -> None:
        """Raises Unplugged: the cable was pulled."""
        if self.cut is not None and self.cut.phase == self._phase and self.cut.due():
            self.cut = None
            self._pull.set()
        if self._pull.is_set():
            raise Unplugged

    # ---- the board -------------------------------------------------------------------------

    def run(self) -> None:
        here.board = self
        try:
            while True:
                while not self._plugged.wait(0.1):
                    if self._ending.is_set():
                        return
                if self._ending.is_set():
                    return
                try:
                    self._powered()
                except Unplugged:
                    pass
                finally:
                    self._phase = "off"
                    self._kill_child()
                    assert self._line is not None
                    self.port.unlink(missing_ok=True)
                    self._line.close_master()
                    self._plugged.clear()
        except BaseException as error:
            self.error = error

    def _powered(self) -> None:
        assert self._line is not None
        while True:
            self.resets += 1
            self._phase = "app"
            if self.has_firmware():
                self._run_app()
            else:
                self._run_nothing()
            self._phase = "boot"
            server.handle_client(
                self._line, self._ending, self.chip, exit_on_disconnect=True, flash=self.flash
            )

    def has_firmware(self) -> bool:
        """Whether the flash holds a whole application image."""
        image = bytes(self.flash.data[APP:])
        if image[0] != 0xE9:
            return False
        file = io.BytesIO(image)
        file.name = "flash"  # which esptool's reader asks for
        try:
            loaded = LoadFirmwareImage(self.chip, file)
        except Exception:
            return False
        self._firmware = hashlib.sha256(image[: loaded.data_length + 32]).hexdigest()
        return bool(
            loaded.checksum == loaded.calculate_checksum()
            and loaded.stored_digest == loaded.calc_digest
        )

    def _romfs(self) -> str:
        """A file with the partition `romfs` as it is in the flash, "" if there is none."""
        found = romfs.partition(bytes(self.flash.data[:0x9000]), 0)
        if found is None:
            return ""
        path = self.folder / "romfs"
        path.write_bytes(self.flash.data[found.offset : found.offset + found.size])
        return str(path)

    def _run_nothing(self) -> None:
        assert self._line is not None
        self._line.write(_INVALID)
        while True:
            data = self._line.read(0.05)
            if data == b"":
                time.sleep(0.005)
            elif data is not None and _SYNC in data:
                self._line.pending = data[data.rfind(b"\xc0", 0, data.find(_SYNC)) :]
                return

    def _run_app(self) -> None:
        assert self._line is not None
        self._raw = False
        self._spawn()
        try:
            while True:
                idle = self._exchange()
                if self._child is not None and self._child.poll() is not None:
                    self._output()
                    self._line.write(b"\r\nMPY: soft reboot\r\n")
                    # A main.py that ended by itself is not started again and again.
                    self._spawn(main=self._asked_to_reboot)
                elif idle:
                    time.sleep(
                        0.005
                    )  # no program has the port open, and select would return at once
        except EOFError:
            pass
        finally:
            self._kill_child()

    def _exchange(self) -> bool:
        """Pass on data, with a short wait. True if no program has the port open."""
        assert self._line is not None
        if not self._line.pending:
            ready, _, _ = select.select([self._line.master, self._child_master], [], [], 0.02)
            if self._child_master in ready:
                self._output()
            if self._line.master not in ready:
                self.check_cable()
                return False
        data = self._line.read(0)
        if not data:
            return data == b""
        at = data.find(_SYNC)
        if at >= 0:
            self._line.pending = data[data.rfind(b"\xc0", 0, at) :]
            raise EOFError
        self._asked_to_reboot = data.endswith(b"\x04")
        for part in re.findall(rb"\x03|[^\x03]+", data):
            if part == b"\x03" and not self._at_prompt:
                assert self._child is not None
                self._child.send_signal(signal.SIGINT)
                continue
            for byte in part:
                self._raw = byte == 1 or (self._raw and byte != 2)
            with contextlib.suppress(OSError):
                os.write(self._child_master, part)
        return False

    def _output(self) -> None:
        """Pass on what the child says."""
        assert self._line is not None
        try:
            data = os.read(self._child_master, 4096)
        except OSError:
            return
        self._at_prompt = data.endswith((b">>> ", b"\n>", b"\x04>"))
        self._line.write(data)

    def _spawn(self, main: bool = True) -> None:
        """Start the interpreter; in the raw REPL if that is where the host has it."""
        self._kill_child()
        self._at_prompt = self._asked_to_reboot = False
        master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[0] = attributes[1] = attributes[3] = 0
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        environment = {
            **os.environ,
            "RIG_FILES": str(self.files),
            "RIG_MAC": self.running_mac or self.mac,
            "RIG_FIRMWARE": self._firmware,
            "RIG_ROMFS": self._romfs(),
            "RIG_NETWORK": self.network,
            "RIG_SLOW": "1" if self.slow else "",
        }
        if self._raw or not main:
            environment["RIG_RAW"] = "1"
        self._child = subprocess.Popen(
            [support.micropython(), "-X", "heapsize=2m", "-i", str(_DEVICE_BOOT)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=self.folder,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self._child_master = master
        self._await(b"RIG READY\n")
        if not self._raw:
            return
        os.write(master, b"\x01")
        self._await(b"raw REPL; CTRL-B to exit\r\n>")
        self._at_prompt = True
        assert self._line is not None
        self._line.write(b"raw REPL; CTRL-B to exit\r\n>")

    def _await(self, ending: bytes) -> None:
        """Read what the child says, for ourselves, until it has said something."""
        said = b""
        while not said.endswith(ending):
            self.check_cable()
            if select.select([self._child_master], [], [], 0.05)[0]:
                said += os.read(self._child_master, 1)

    def _kill_child(self) -> None:
        if self._child is None:
            return
        self._child.kill()
        self._child.wait()
        self._child = None
        os.close(self._child_master)


class Hub:
    """Ports of boards, as a directory of links; a context manager that ends the boards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = folder / "ports"
        self.ports.mkdir(parents=True)
        self.boards: list[Board] = []

    def board(self, chip: str = "esp32", mac: str | None = None, **attributes: Any) -> Board:
        """A bare board that is not plugged in yet."""
        number = len(self.boards) + 1
        board = Board(self, f"b{number}", chip, mac or f"24:0a:c4:00:00:{number:02x}")
        for name, value in attributes.items():
            setattr(board, name, value)
        self.boards.append(board)
        return board

    @property
    def pattern(self) -> str:
        """What to give as --port for all of them."""
        return f"{self.ports}/*"

    def shut_down(self) -> None:
        for board in self.boards:
            board.shut_down()


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[Hub]:
    """A hub whose boards end with the block."""
    hub = Hub(folder)
    try:
        yield hub
    finally:
        hub.shut_down()


__all__ = ["FLASH_2MB", "FLASH_4MB", "Board", "Cut", "Hub", "hub"]
