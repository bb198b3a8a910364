"""The demo's child processes: started so that they can't outlive it, ended in order."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from host_tools.broker.process import dies_with_parent
from host_tools.common.errors import DesalinkError
from host_tools.common.passphrase import scrubbed_environment
from host_tools.office.enrol import ROOT


class DemoError(DesalinkError):
    """The demo can't run here, or one of its processes ended on its own."""


class Child:
    """One child process; its output is appended to a log file.

    Sees none of the terminal's Ctrl-C (a session of its own): the demo ends its children in order.
    """

    def __init__(
        self,
        name: str,
        command: Iterable[str | Path],
        log: Path,
        *,
        talk: bool = False,
    ) -> None:
        """Start it where `agent`, `boards` and `host_tools` lie, without the passphrase.

        Args:
            talk: its input and output are pipes to us.
        """
        self.name = name
        self.log = log
        with log.open("ab") as out:
            self._process: subprocess.Popen[Any] = subprocess.Popen(
                [str(word) for word in command],
                cwd=ROOT,
                env=scrubbed_environment(),
                stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talk else out,
                stderr=out,
                text=talk,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )

    @property
    def ended(self) -> int | None:
        code = self._process.poll()
        return code if code is None else int(code)

    def ask(self, line: str) -> str:
        """Write a line to it and return the line that it answers.

        Raises:
            DemoError: it has ended.
        """
        pipes = self._process.stdin, self._process.stdout
        assert pipes[0] is not None and pipes[1] is not None
        try:
            pipes[0].write(line + "\n")
            pipes[0].flush()
            answer = str(pipes[1].readline())
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.check()
            raise DemoError(f"The {self.name} gave no answer; {self.log} may say why.")
        return answer

    def check(self) -> None:
        """Check that it still runs.

        Raises:
            DemoError: it does not; with the last line of its log.
        """
        if self.ended is not None:
            words = last_words(self.log)
            raise DemoError(
                f"The {self.name} ended on its own with code {self.ended}"
                + (f": {words}" if words else "; it said nothing.")
            )

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill9(self) -> None:
        """End it as a power cut does."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within `seconds`."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self, seconds: float) -> None:
        """Wait until it ends, and kill it if it does not."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if not self.wait(seconds):
            self.kill9()


def last_words(log: Path) -> str:
    """The last line of a log that is not empty."""
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "")
    return ""
