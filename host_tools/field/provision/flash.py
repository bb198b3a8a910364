"""The laptop's side of a chip's bootloader: identity, firmware, start.

esptool runs in a child process (`chip.py`), connected by pipes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_tools.common.i18n import _
from host_tools.common.passphrase import scrubbed_environment
from host_tools.devices.partitions import OFFSET as TABLE_OFFSET
from host_tools.devices.proof import ROOT
from host_tools.field.provision.errors import ProvisionError, lost

_TABLE_BYTES = 0xC00
# The child of a killed provisioning frees its port a moment later.
_BUSY_S = 5.0
# Errors that a slower rate may avoid.
_OF_THE_LINE = ("silent", "esptool")

Progress = Callable[[float], None]
"""Gets the share of the running step that is done, 0 to 1."""


@dataclass(frozen=True)
class Chip:
    """Identity of a chip. chip: such as "esp32s3"; mac: `24:0a:c4:00:00:01`; flash_size:
    bytes, None if it can't be read."""

    chip: str
    mac: str
    flash_size: int | None


@dataclass(frozen=True)
class Image:
    """Firmware for the flash at `offset`; its application begins at address `app_offset`."""

    path: Path
    offset: int
    app_offset: int

    def order(self, baud: int) -> dict[str, Any]:
        end = self.offset + self.path.stat().st_size
        # Not in between: the firmware keeps its own settings there once it has run.
        table = [TABLE_OFFSET, _TABLE_BYTES]
        return {
            "do": "flash",
            "image": str(self.path),
            "offset": self.offset,
            "compare": [table, [self.app_offset, end - self.app_offset]],
            "keep": table,
            "baud": baud,
        }


def _sentence(kind: str, port: str, said: str) -> str:
    sentences = {
        "permission": _(
            "You have no permission to open {port}; run 'desalink doctor', which shows how to "
            "get it (on Linux: group dialout)."
        ),
        "no_port": _("The port {port} is gone; plug the board in again and run the same command."),
        "busy": _(
            "{port} is in use by another program; close serial monitors and other 'desalink "
            "provision', then run the same command."
        ),
        "silent": _(
            "No chip answers on {port}; hold the board's BOOT button while you plug it in, use a "
            "cable that carries data, and run the same command."
        ),
        "secure": _(
            "The chip on {port} is locked (secure boot or download mode) and can't be used; take "
            "another board."
        ),
        "esptool": _(
            "The firmware could not be written to the board on {port} ({said}); try another cable "
            "or port, then run the same command."
        ),
    }
    return sentences[kind].format(port=port, said=said)


class _Failed(Exception):
    def __init__(self, kind: str, said: str) -> None:
        super().__init__(said)
        self.kind = kind


class Bootloader:
    """One chip in its bootloader; a context manager that ends the child process."""

    def __init__(self, port: str) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Bootloader:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def identify(self) -> Chip:
        """Connect, resetting the board into its bootloader.

        Raises:
            ProvisionError: port or chip can't be used.
        """
        end = time.monotonic() + _BUSY_S
        while True:
            try:
                return self._identify()
            except _Failed as failed:
                if failed.kind != "busy" or time.monotonic() > end:
                    raise self._error(failed) from None
                time.sleep(0.2)

    def flash(self, image: Image, bauds: tuple[int, ...], progress: Progress) -> bool:
        """Write and verify the firmware; False if it was there already.

        Args:
            bauds: rates to try, the fastest first.

        Raises:
            ProvisionError: it can't be written at any of the rates.
        """
        for baud in bauds:
            try:
                for answer in self._ask(image.order(baud)):
                    if "flashed" in answer:
                        return bool(answer["flashed"])
                    done, total = answer["progress"]
                    progress(done / total)
            except _Failed as failed:
                if failed.kind not in _OF_THE_LINE or baud == bauds[-1]:
                    raise self._error(failed) from None
            self.identify()
        raise AssertionError("no rate to flash with")

    def run(self) -> None:
        """Start what is in the flash.

        Raises:
            ProvisionError: the connection was lost.
        """
        try:
            next(self._ask({"do": "run"}))
        except _Failed as failed:
            raise self._error(failed) from None
        self._end()

    def _identify(self) -> Chip:
        self._end()
        self._process = subprocess.Popen(
            # The real path, because pyserial does not resolve links.
            [sys.executable, "-m", "host_tools.field.provision.chip", os.path.realpath(self.port)],
            cwd=ROOT,
            env=scrubbed_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C must reach only the parent; the child ends when the pipe closes.
            start_new_session=True,
        )
        return Chip(**next(self._ask({"do": "identify"})))

    def _ask(self, order: dict[str, Any]) -> Any:
        """The answers to one order."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            raise _Failed("lost", "esptool ended") from None
        for line in process.stdout:
            answer = json.loads(line)
            if "error" in answer:
                raise _Failed(answer["class"], answer["error"])
            yield answer
        raise _Failed("esptool", "esptool ended without an answer")

    def _error(self, failed: _Failed) -> ProvisionError:
        if failed.kind == "lost":
            return lost(self.port)
        return ProvisionError(failed.kind, _sentence(failed.kind, self.port, str(failed)))

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()  # the child then ends, even in the middle of an image
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
