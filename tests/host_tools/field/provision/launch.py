"""`desalink` as a test starts it: with the emulated boards, and killed at a given step.

DESALINK_TEST_DIE: `<step>`, `<step>:begun` or `<step>:half`; the process kills itself with -9 as
soon as the step's entry is in the device's journal, when the step is begun, or in the middle of
it. DESALINK_TEST_HIDE: what only POSIX has is hidden. DESALINK_TEST_ARGUMENTS: a file to which
the arguments of every child process are written.
"""

from __future__ import annotations

import os
import signal
import sys
import types
from pathlib import Path
from typing import Any

from host_tools.field.provision import journal, screen
from tests.host_tools.field.provision import tree

DIE = "DESALINK_TEST_DIE"
ARGUMENTS = "DESALINK_TEST_ARGUMENTS"
HIDE = "DESALINK_TEST_HIDE"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(step: str, when: str) -> None:
    add = journal.DeviceJournal.add
    step_shown = screen.BoardRow.step

    def add_and_die(self: journal.DeviceJournal, name: str, state: str, **detail: Any) -> None:
        add(self, name, state, **detail)
        if name == step and not when:
            _die()

    def show_and_die(self: screen.BoardRow, name: str, state: str) -> None:
        if name == step and when == "begun" and state == "running":
            _die()
        step_shown(self, name, state)

    def progress(self: screen.BoardRow, share: float) -> None:
        if when == "half" and self.states.get(step) == "running" and share > 0.4:
            _die()

    journal.DeviceJournal.add = add_and_die  # type: ignore[method-assign]
    screen.BoardRow.step = show_and_die  # type: ignore[method-assign]
    screen.BoardRow.progress = progress  # type: ignore[method-assign]


def _note_arguments(path: str) -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            with open(path, "a") as file:
                print(arguments[0], arguments[1], arguments[3], file=file)

    sys.addaudithook(hook)


def _hide_posix() -> None:
    """Nothing that Windows lacks is left for desalink. The drivers of the emulated line keep what
    they have imported: on Windows they have others."""
    import subprocess  # noqa: F401 - asks for msvcrt, to know its system

    import mpremote.transport_serial  # noqa: F401
    import serial.tools.list_ports  # noqa: F401

    console = types.ModuleType("msvcrt")
    console.getwch = lambda: os.read(0, 1).decode("latin-1")  # type: ignore[attr-defined]
    sys.modules["msvcrt"] = console
    for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty"):
        sys.modules[name] = None  # type: ignore[assignment]
    for name in (
        *("chown", "fchmod", "fork", "getegid", "geteuid", "getgid", "getgroups", "getuid"),
    ):
        delattr(os, name)


def main() -> None:
    if os.environ.get(HIDE):
        _hide_posix()
    tree.use_tree(Path(os.environ[tree.VARIABLE]))
    if os.environ.get(DIE):
        step, _, when = os.environ[DIE].partition(":")
        _die_at(step, when)
    if os.environ.get(ARGUMENTS):
        _note_arguments(os.environ[ARGUMENTS])
    from host_tools.cli import main as desalink

    desalink()


if __name__ == "__main__":
    main()
