"""The instrument's supply, reset and watchdog: chip_power.py FOLDER COMMAND...

Its start is the supply's: RTC memory is empty. The chip is started again when it resets itself
(exit code 75) and when its watchdog is not fed in time. SIGUSR1 makes the chip hang. The files in
FOLDER are those of chip_modules.py.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_RESET = 75
_PR_SET_PDEATHSIG = 1
_POWER, _SOFTWARE, _WATCHDOG = 1, 2, 3  # as machine.reset_cause() has them
_libc = ctypes.CDLL(None)


def _dies_with_its_supply() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Chip:
    """The chip's process, and its folder."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._folder = folder
        self._command = command
        (folder / "rtc").unlink(missing_ok=True)
        self.start(_POWER)

    def start(self, cause: int) -> None:
        """Start it. cause: of the reset before."""
        (self._folder / "cause").write_text(str(cause))
        (self._folder / "watchdog").unlink(missing_ok=True)
        (self._folder / "fed").touch()
        self.process = subprocess.Popen(self._command, preexec_fn=_dies_with_its_supply)

    @property
    def starves(self) -> bool:
        """Whether its watchdog was not fed in time."""
        try:
            limit = int((self._folder / "watchdog").read_text() or 0) / 1000
            return limit > 0 and time.time() - (self._folder / "fed").stat().st_mtime > limit
        except FileNotFoundError:
            return False

    def hang(self, *_: object) -> None:
        """It stands still, and only its watchdog can help."""
        self.process.send_signal(signal.SIGSTOP)


def main() -> int:
    """Run the chip until it ends in order."""
    chip = Chip(Path(sys.argv[1]), sys.argv[2:])
    signal.signal(signal.SIGUSR1, chip.hang)
    signal.signal(signal.SIGINT, lambda *_: chip.process.send_signal(signal.SIGINT))
    while True:
        try:
            code = chip.process.wait(0.5)
        except subprocess.TimeoutExpired:
            if chip.starves:
                print("chip: reset by its watchdog", flush=True)
                chip.process.kill()
                chip.process.wait()
                chip.start(_WATCHDOG)
            continue
        if code != _RESET:
            return code
        print("chip: it resets itself", flush=True)
        chip.start(_SOFTWARE)


if __name__ == "__main__":
    sys.exit(main())
