"""Runs esptool on one chip's bootloader, in its own process.

    python -m host_tools.field.provision.chip PORT

Reads one JSON object a line from stdin and answers with JSON lines on stdout; `flash.py` is the
other end. It is a process because esptool prints, may end its process and uses a whole core; eight
boards side by side need eight of them.

    {"do": "identify"}  -> {"chip": "esp32", "mac": "24:0a:c4:00:00:01", "flash_size": 4194304}
    {"do": "flash", "image": PATH, "offset": 4096, "compare": [[ADDRESS, LENGTH], ...],
     "keep": [ADDRESS, LENGTH] | null, "baud": 460800}
                        -> {"progress": [done, total]} ..., {"flashed": true | false}
    {"do": "run"}       -> {"running": true}: start the firmware; the process ends
    any                 -> {"error": sentence, "class": "lost" | "busy" | "permission" |
                            "no_port" | "silent" | "secure" | "esptool"}; the process ends
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import serial  # type: ignore[import-untyped]
from esptool.cmds import (  # type: ignore[import-untyped]
    attach_flash,
    detect_chip,
    detect_flash_size,
    run_stub,
    write_flash,
)
from esptool.logger import TemplateLogger, log  # type: ignore[import-untyped]
from esptool.util import FatalError, flash_size_bytes  # type: ignore[import-untyped]

_ROM_BAUD = 115200
_ATTEMPTS = 5


def _say(**message: Any) -> None:
    # To the descriptor itself: sys.stdout is redirected, because esptool prints.
    os.write(_ANSWERS, json.dumps(message).encode() + b"\n")


class _Quiet(TemplateLogger):
    """Makes messages of esptool's progress; all other output of esptool is dropped."""

    def _drop(self, *args: Any, **kwargs: Any) -> None: ...

    print = note = warning = error = stage = set_verbosity = _drop

    def progress_bar(self, cur_iter: int, total_iters: int, *args: Any, **kwargs: Any) -> None:
        _say(progress=[cur_iter, total_iters])


def _matches(esp: Any, image: bytes, offset: int, region: list[int]) -> bool:
    """Whether a region of the flash equals the image."""
    address, length = region
    part = image[address - offset : address - offset + length]
    return bool(
        esp.flash_md5sum(address, len(part))
        == hashlib.md5(part, usedforsecurity=False).hexdigest()
    )


def _identify(port: str) -> Any:
    esp = detect_chip(port, _ROM_BAUD, connect_attempts=_ATTEMPTS)
    mac = ":".join(f"{byte:02x}" for byte in esp.read_mac())
    chip = esp.CHIP_NAME.lower().replace("-", "")
    if esp.secure_download_mode:
        _say(chip=chip, mac=mac, flash_size=None)
        return esp
    esp = run_stub(esp)
    attach_flash(esp)
    size = detect_flash_size(esp)
    _say(chip=chip, mac=mac, flash_size=flash_size_bytes(size) if size else None)
    return esp


def _flash(esp: Any, order: dict[str, Any]) -> None:
    image = Path(order["image"]).read_bytes()
    offset = order["offset"]
    if all(_matches(esp, image, offset, region) for region in order["compare"]):
        _say(flashed=False)
        return
    # Data behind the image is kept only if the partitions do not move.
    keep = order["keep"] is not None and _matches(esp, image, offset, order["keep"])
    if order["baud"] != _ROM_BAUD:
        esp.change_baud(order["baud"])
    # esptool would wait for the port to come back, but the technician runs the command again.
    esp.WRITE_FLASH_ATTEMPTS = 1
    write_flash(esp, [(offset, image)], erase_all=not keep, force=False)  # verifies by MD5
    _say(flashed=True)


def _class_of(error: Exception) -> str:
    text = str(error).lower()
    number = getattr(error, "errno", None)
    if number == 13 or "permission denied" in text:
        return "permission"
    if number == 2 or "no such file" in text or "could not find" in text:
        return "no_port"
    if number in (11, 16) or "busy" in text or "exclusive" in text or "lock" in text:
        return "busy"
    if "failed to connect" in text or "no serial data received" in text:
        return "silent"
    if isinstance(error, OSError) or "no more data" in text or "disconnected" in text:
        return "lost"
    if "secure" in text:
        return "secure"
    return "esptool"


def _orders() -> Iterator[dict[str, Any]]:
    """The orders on stdin. When stdin closes, because the parent was killed, this process ends
    at once and frees the port."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield json.loads(lines.get())


def _serve(port: str, opened: contextlib.ExitStack) -> None:
    """Follow orders until the chip was started; `opened` closes the port."""
    esp: Any = None
    for order in _orders():
        if order["do"] == "identify":
            esp = opened.enter_context(_identify(port))
        elif order["do"] == "flash":
            _flash(esp, order)
        else:
            esp.hard_reset()
            return


def main() -> None:
    log.set_logger(_Quiet())
    try:
        with contextlib.ExitStack() as opened:
            _serve(sys.argv[1], opened)
        _say(running=True)
    except (FatalError, serial.SerialException, OSError, KeyError, ValueError) as error:
        # pyserial's errors of opening differ in their text only; esptool raises some as its own.
        _say(**{"error": " ".join(str(error).split())[:300], "class": _class_of(error)})


if __name__ == "__main__":
    _ANSWERS = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    main()
