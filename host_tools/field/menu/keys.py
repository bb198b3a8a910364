"""Single keys from the keyboard, on Windows and on POSIX.

The terminal stays in its mode while a screen asks, so that nothing that is typed fast or pasted
gets lost. `click.getchar` changes the mode for each key, and drops what came in between.
"""

from __future__ import annotations

import os
import re
import select
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

UP, DOWN, PAGE_UP, PAGE_DOWN = "up", "down", "page up", "page down"
ENTER, ESCAPE, BACKSPACE, TAB, OTHER = "enter", "escape", "backspace", "tab", "other"

_NAMES = {"\r": ENTER, "\n": ENTER, "\x1b": ESCAPE, "\x08": BACKSPACE, "\x7f": BACKSPACE}
_NAMES |= {"\t": TAB}
_POSIX = {"A": UP, "B": DOWN, "5~": PAGE_UP, "6~": PAGE_DOWN}
_WINDOWS = {"H": UP, "P": DOWN, "I": PAGE_UP, "Q": PAGE_DOWN}
_KEY = re.compile(r"\x1b[\[O]([0-9;]*[A-Za-z~])|.", re.DOTALL)
# The parts of a key's sequence arrive together; after this time Esc was pressed.
_SEQUENCE_S = 0.05


class Keyboard(Protocol):
    def key(self) -> str:
        """The next key: a character, or one of the names above.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            EOFError: the terminal is gone.
        """


class WindowsKeyboard:
    """The console of Windows. `console` is its module `msvcrt`."""

    def __init__(self, console: Any) -> None:
        self._console = console

    def key(self) -> str:
        letter: str = self._console.getwch()
        if letter in ("\x00", "\xe0"):
            return _WINDOWS.get(self._console.getwch(), OTHER)
        if letter == "\x03":
            raise KeyboardInterrupt
        return _named(letter)


class PosixKeyboard:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._keys: deque[str] = deque()

    def key(self) -> str:
        while not self._keys:
            text = self._read()
            if text == "\x1b" and select.select([self._descriptor], [], [], _SEQUENCE_S)[0]:
                text += self._read()
            self._keys.extend(split(text))
        return self._keys.popleft()

    def _read(self) -> str:
        data = os.read(self._descriptor, 1024)
        if not data:
            raise EOFError
        return data.decode(errors="ignore")


def split(text: str) -> Iterator[str]:
    """The keys in what a terminal of POSIX sends."""
    for match in _KEY.finditer(text):
        yield _named(match[0]) if match[1] is None else _POSIX.get(match[1], OTHER)


def _named(letter: str) -> str:
    return _NAMES.get(letter, letter if letter.isprintable() else OTHER)


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """The keyboard of this terminal; what is typed is not shown until the end of the block."""
    try:
        console = import_module("msvcrt")
    except ImportError:
        pass
    else:
        yield WindowsKeyboard(console)
        return
    termios, tty = import_module("termios"), import_module("tty")
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSADRAIN)
    try:
        yield PosixKeyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
