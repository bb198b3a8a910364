"""A board's serial line: a pseudo-terminal that takes its time, is watched, and can be cut."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import re
import select
import termios
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.host_tools.field.provision.rig import Board

_SPEEDS = {
    value: int(name[1:])
    for name, value in vars(termios).items()
    if re.fullmatch(r"B[1-9][0-9]*", name)
}


class Unplugged(Exception):
    """The board has lost its power."""


class Cut:
    """The cable is pulled at a moment of a phase, once.

    phase: `boot` (bootloader) or `app`. after: bytes from the host in that phase, counted from
    where `marker` was seen if there is one. when: asked all the time once those have come.
    """

    def __init__(
        self,
        phase: str,
        after: int = 0,
        marker: bytes = b"",
        when: Callable[[], bool] = lambda: True,
    ) -> None:
        self.phase = phase
        self._left = after
        self._marker = marker
        self._tail = b""
        self._when = when

    def feed(self, phase: str, data: bytes) -> None:
        if phase != self.phase:
            return
        if self._marker:
            text = self._tail + data
            at = text.find(self._marker)
            self._tail = text[-len(self._marker) :]
            if at < 0:
                return
            self._marker = b""
            data = text[at:]
        self._left -= len(data)

    def due(self) -> bool:
        return not self._marker and self._left <= 0 and self._when()


class Line:
    """The board's end of its serial line. Duck-typed as the mock's connection."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.master, slave = pty.openpty()
        self.path = os.ttyname(slave)
        attributes = termios.tcgetattr(slave)
        attributes[0] = attributes[1] = attributes[3] = 0  # raw, until the host says otherwise
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        os.close(slave)
        os.set_blocking(self.master, False)
        self._timeout = 0.05
        self._free_at = {"in": 0.0, "out": 0.0}
        self.pending = b""
        self._frame = bytearray()

    def speed(self) -> int:
        """The rate that the host has set, bits a second."""
        return _SPEEDS.get(termios.tcgetattr(self.master)[4], 0)

    def _pace(self, direction: str, count: int) -> None:
        """Take as long as a real line would."""
        if not self._board.paced:
            return
        now = time.monotonic()
        free = max(self._free_at[direction], now) + count * 10 / max(self.speed(), 9600)
        self._free_at[direction] = free
        if free - now > 0.002:
            time.sleep(free - now)

    def read(self, timeout: float) -> bytes | None:
        """Data from the host; None if nothing in time; b"" if no program has the port open."""
        self._board.check_cable()
        if self.pending:
            data, self.pending = self.pending, b""
            return data
        ready, _, _ = select.select([self.master], [], [], timeout)
        if not ready:
            return None
        try:
            data = os.read(self.master, 1024 if self._board.paced else 4096)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""
        self._pace("in", len(data))
        if self.speed() > self._board.max_baud:
            data = bytes(byte ^ 0x5A for byte in data)
        self._board.note("in", data)
        return data

    def write(self, data: bytes) -> None:
        """Send. What nobody reads is lost: after a second if no program has the port open, and
        later if one has, which may only be slow."""
        self._board.note("out", data)
        begin = time.monotonic()
        while data:
            self._board.check_cable()
            chunk = data[: 256 if self._board.paced else 4096]
            try:
                count = os.write(self.master, chunk)
            except BlockingIOError:
                if time.monotonic() - begin > (1 if self._is_closed() else 30):
                    return
                select.select([], [self.master], [], 0.01)
                continue
            except OSError:
                return
            self._pace("out", count)
            data = data[count:]

    def _is_closed(self) -> bool:
        """Whether no program has the port open."""
        poll = select.poll()
        poll.register(self.master, 0)
        return bool(poll.poll(0))

    def close_master(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.master)

    # ---- what the mock calls ---------------------------------------------------------------

    def set_timeout(self, timeout: float) -> None:
        self._timeout = timeout

    def recv(self, size: int) -> bytes:
        """A whole frame at a time, as the mock reads what it has anew with every piece."""
        while True:
            data = self.read(self._timeout)
            if data is None:
                raise TimeoutError
            if not data:
                return data
            if not self._frame and data.startswith(b"\r\x03"):
                # A REPL is spoken to: the host has closed and opened the port faster than we
                # looked.
                self.pending = data
                return b""
            self._frame += data
            if self._frame.count(0xC0) % 2 == 0:
                data = bytes(self._frame)
                self._frame.clear()
                return data

    def sendall(self, data: bytes) -> None:
        self.write(data)

    def close(self) -> None:
        pass

    def ignore_eof_for_disconnect(self) -> bool:
        return False

    def abort_empty_session(self) -> bool:
        return False
