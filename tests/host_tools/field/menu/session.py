"""A technician at the menu: keys in, screens out."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import termios
import time
import tty
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from host_tools.field.menu import keys
from host_tools.field.menu.items import ITEMS
from host_tools.field.menu.menu import Menu
from host_tools.field.menu.screen import MenuScreen
from host_tools.field.menu.trip import Trip
from tests.host_tools.field.provision.rig import Board
from tests.host_tools.field.provision.world import KIT_PASSPHRASE, VILLAGES, World

WIDTH, HEIGHT = 80, 24
_NAMED = {keys.UP, keys.DOWN, keys.PAGE_UP, keys.PAGE_DOWN, keys.TAB} | {
    *(keys.ENTER, keys.ESCAPE, keys.BACKSPACE)
}


class Ended(Exception):
    """Every key was pressed."""


class Session:
    """The menu with a keyboard and a terminal of the test's own.

    Attributes:
        screens: each one, when a key was expected.
        verbs: arguments of those that were run; they do nothing.
        codes: how the next ones end; then 0.
    """

    def __init__(self, world: World, ports: str | None = None) -> None:
        self.screens: list[str] = []
        self.verbs: list[list[str]] = []
        self.codes: list[int] = []
        self._terminal = io.StringIO()
        console = Console(file=self._terminal, width=WIDTH, height=HEIGHT, force_terminal=False)
        screen = MenuScreen(console, self._keys)
        self.menu = Menu(screen, Trip(world.laptop), ITEMS, self.run, ports)
        self._pressed: Iterator[str] = iter(())

    def press(self, *pressed: str) -> str:
        """Start the menu and press keys: names of keys, or letters of a text.

        Returns:
            The screen after the last one.
        """
        self._pressed = iter(
            [key for text in pressed for key in ([text] if text in _NAMED else list(text))]
        )
        try:
            self.menu.show()
        except Ended:
            return self.screens[-1]
        return ""

    @contextmanager
    def _keys(self) -> Iterator[Session]:
        yield self

    def key(self) -> str:
        shown = self._terminal.getvalue()
        self._terminal.seek(0)
        self._terminal.truncate()
        lines = shown.splitlines()
        assert len(lines) <= HEIGHT and all(len(line) <= WIDTH for line in lines), shown
        self.screens.append(shown)
        try:
            return next(self._pressed)
        except StopIteration:
            raise Ended from None

    def run(self, arguments: Sequence[str]) -> int:
        self.verbs.append(list(arguments))
        return self.codes.pop(0) if self.codes else 0


class RealSession:
    """A command on a pseudo-terminal of 80 columns and 24 lines.

    Attributes:
        shown: what the terminal got since the last key.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], here: Path) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (HEIGHT, WIDTH))
        tty.setcbreak(slave)  # as a console of Windows is; on POSIX the menu does it
        self._child = subprocess.Popen(
            command,
            cwd=here,
            env={**environment, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""

    @property
    def text(self) -> str:
        """What was shown since the last key: without colours and movements of the cursor, each
        stretch of white space as one blank."""
        return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown))

    def expect(self, text: str, seconds: float = 120) -> None:
        """Wait for a text since the last key."""
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end, f"{text!r} is not in:\n{self.text}"
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._master, 65536).decode(errors="replace")
                except OSError:  # the other end is closed
                    time.sleep(0.05)

    def press(self, keys: str) -> None:
        self.shown = ""
        os.write(self._master, keys.encode("latin-1"))

    def end(self) -> int:
        """Wait until the menu has ended; its exit code."""
        while self._child.poll() is None:
            if select.select([self._master], [], [], 0.05)[0]:
                try:
                    os.read(self._master, 65536)
                except OSError:
                    pass
        return self._child.returncode

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        os.close(self._master)


def whole_trip(session: RealSession, world: World, board: Board) -> None:
    """From the kit on the stick to the file for the office, with one device in between."""
    session.expect("Open the kit")
    session.press("\r")
    session.expect("Which kit?")
    session.press("\r")
    session.expect("passphrase")
    session.press(f"{KIT_PASSPHRASE}\r")
    session.expect("Enter: back to the menu.")
    session.press("\r")
    session.expect("0 of 8 devices are set up")
    session.press("2")
    session.expect("back to the menu.")  # whatever this machine lacks
    session.press("\x1b")
    session.expect("Set up one device")
    board.plug()
    session.press("3")
    session.expect("Which village?")
    session.press(f"{VILLAGES[0]}\r")
    session.expect("desalink provision --village")
    session.press("\r")
    session.expect("Enter: back to the menu.")
    assert "is ready" in session.text
    world.check_done(board)
    session.press("\r")
    session.expect("1 of 8 devices are set up")
    session.press("5")
    session.expect("1 of 8 slots have their device.")
    session.press("\r")
    session.expect("What is left to do")
    session.press("6")
    session.expect("Where to write the sheet")
    session.press("\r")
    session.expect("print it at 100 %")
    session.press("\r")
    session.expect("Hand the enrolments over")
    session.press("7")
    session.expect("file for the office")
    session.press("\r")
    session.expect("bring or send it to the province")
    session.press("\r")
    session.expect("Esc end")
    session.press("\x1b")
    assert session.end() == 0
