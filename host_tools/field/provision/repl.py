"""A running board's interpreter over its serial line. Only this module uses mpremote.

Every call has a time limit, and every failure is a ProvisionError: `cable` if the line is gone,
`device` if the answer is wrong or missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

from mpremote.transport import TransportError  # type: ignore[import-untyped]
from mpremote.transport_serial import SerialTransport  # type: ignore[import-untyped]

from host_tools.common.i18n import _
from host_tools.field.provision.errors import ProvisionError, lost
from host_tools.field.provision.ports import is_present

_BAUD = 115200
# Without the prompt itself, which mpremote reads when it sends a script.
_PROMPT = b"raw REPL; CTRL-B to exit\r\n"
_READ_S = 2.0
_WRITE_S = 10.0
_BUSY_S = 5.0
_MOST = 1 << 20  # bytes of one answer; normal answers have up to 10 KB

_LINE_ERRORS: tuple[type[Exception], ...] = (OSError,)
if sys.platform != "win32":
    with contextlib.suppress(ImportError):
        import termios

        _LINE_ERRORS = (OSError, termios.error)  # a port that is gone raises both


class _Transport(SerialTransport):
    """mpremote's transport, with a `read_until` that ends even while data arrives."""

    def read_until(
        self,
        min_num_bytes: int,
        ending: bytes,
        timeout: float = 10,
        data_consumer: None = None,
        timeout_overall: float | None = None,
    ) -> bytes:
        """The data up to `ending`, or until the time is over; the original does not distinguish
        the two either."""
        end = time.monotonic() + (timeout if timeout_overall is None else timeout_overall)
        data = bytearray()
        while not data.endswith(ending) and time.monotonic() < end:
            if len(data) > _MOST:
                raise TransportError("it sends without end")
            if self.is_pty or self.serial.in_waiting:
                data += self.serial.read(1)
            else:
                time.sleep(0.01)
        return bytes(data)


def refused_by_agent(reason: str) -> ProvisionError:
    """The error for a sentence of the board's agent."""
    return ProvisionError(
        "device",
        _("The board's agent reports: {reason}. Run the same command again.").format(
            reason=reason.rstrip(".")
        ),
    )


class Repl:
    """The raw REPL of a board; a context manager that closes the port."""

    def __init__(self, port: str) -> None:
        self.port = port
        # The real path: mpremote recognises pseudo-terminals by it.
        self._transport = self._opened(os.path.realpath(port))

    def __enter__(self) -> Repl:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(*_LINE_ERRORS):
            self._transport.close()

    def interrupt(self, timeout: float = 40) -> None:
        """Stop the running program and enter the raw REPL. A board that starts gets some time."""
        end = time.monotonic() + timeout
        with self._bounded():
            while time.monotonic() < end:
                self._transport.serial.write(b"\r\x03\x03\r\x01")
                if self._hears(_PROMPT, 0.3):
                    self._settle()
                    return
        raise ProvisionError(
            "device",
            _(
                "The board on {port} has its firmware but does not answer; press its reset "
                "button, or plug it in again, and run the same command."
            ).format(port=self.port),
        )

    def soft_reset(self, timeout: float = 40) -> None:
        """Restart the interpreter with an empty heap; boot.py runs, main.py does not."""
        with self._bounded():
            self._transport.serial.write(b"\x04")
            if not self._hears(b"soft reboot\r\n", timeout) or not self._hears(_PROMPT, timeout):
                raise TransportError("no soft reset")

    def start(self) -> None:
        """Start the device as after power-on."""
        reset = self.run("import machine\nprint(hasattr(machine,'reset'))").strip() == "True"
        # A board with native USB disconnects at once; that is no error.
        with contextlib.suppress(*_LINE_ERRORS):
            if reset:
                self._transport.exec_raw_no_follow("machine.reset()")
                return
            self._transport.serial.write(b"\r\x02")
            self._hears(b">>> ", 5)
            self._transport.serial.write(b"\x04")
            self._hears(b"soft reboot\r\n", 10)

    def run(self, script: str, timeout: float = 30) -> str:
        """Run a script; returns what it printed.

        Raises:
            ProvisionError: it raised an exception, did not end in time, or the line is gone.
        """
        with self._bounded():
            out, error = self._transport.exec_raw(script, timeout)
        if error:
            trace = error.decode(errors="replace").strip()
            raise ProvisionError(
                "device",
                _(
                    "The board on {port} reports an error ({error}); run the same command again, "
                    "and if the error stays, take another board."
                ).format(port=self.port, error=trace.splitlines()[-1][:120]),
            )
        text: str = out.decode(errors="replace")
        return text.replace("\r\n", "\n")

    def answer(self, load: str, call: str, timeout: float) -> Any:
        """The result of a function of the device's agent, as JSON.

        The agent reports an error by a sentence and SystemExit, which would restart the board.

        Args:
            load: a script with only the imports that `call` needs, because the heap is small.
        """
        script = f"{load}print('ANSWER',json.dumps({call}))\n".replace("\n", "\n ")
        said = self.run(f"import json\ntry:\n {script}\nexcept SystemExit:\n pass", timeout)
        for line in said.splitlines():
            if line.startswith("ANSWER "):
                return json.loads(line[7:])
        reasons = [line[7:] for line in said.splitlines() if line.startswith("agent: ")]
        raise refused_by_agent(reasons[-1] if reasons else said.strip()[-200:])

    def _hears(self, ending: bytes, timeout: float) -> bool:
        """Whether the board sends `ending` in time; the data behind it stays unread."""
        self._transport.serial.timeout = min(timeout, 0.1)
        try:
            said = self._transport.read_until(1, ending, timeout=timeout, timeout_overall=timeout)
            return bool(said.endswith(ending))
        finally:
            self._transport.serial.timeout = _READ_S

    def _settle(self) -> None:
        """Skip the answers to repeated calls, and ask for one more prompt."""
        port = self._transport.serial
        quiet = time.monotonic()
        while time.monotonic() - quiet < 0.05:
            if port.in_waiting:
                port.read(port.in_waiting)
                quiet = time.monotonic()
            time.sleep(0.005)
        port.write(b"\r\x01")
        if not self._hears(_PROMPT, 5):
            raise TransportError("no prompt")
        self._transport.in_raw_repl = True

    def _opened(self, path: str) -> SerialTransport:
        """The transport; waits for a port that another process is about to close."""
        end = time.monotonic() + _BUSY_S
        while True:
            try:
                transport = _Transport(path, _BAUD, timeout=_READ_S)
                transport.serial.write_timeout = _WRITE_S
                return transport
            except (TransportError, *_LINE_ERRORS):
                # A board with native USB disconnects and connects again when it starts.
                if time.monotonic() > end:
                    raise lost(self.port) from None
                time.sleep(0.1)

    @contextlib.contextmanager
    def _bounded(self) -> Iterator[None]:
        try:
            yield
        except _LINE_ERRORS:
            raise lost(self.port) from None
        except (TransportError, struct.error) as error:
            if not is_present(self.port):
                raise lost(self.port) from None
            raise ProvisionError(
                "device",
                _(
                    "The board on {port} stopped answering ({error}); plug it in again and run "
                    "the same command."
                ).format(port=self.port, error=str(error)[:80]),
            ) from None
