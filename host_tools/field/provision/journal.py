"""The record of the steps with one device, on the laptop: a line of JSON for each step.

`<work>/devices/<MAC>/journal.jsonl`. The device and the log of enrolments decide what is
done; the journal has the slot for which a board was started, and details for people.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from host_tools.common.files import make_directory, sync_directory
from host_tools.common.i18n import _
from host_tools.common.locks import hold
from host_tools.field.provision.errors import ProvisionError
from host_tools.people.kits.model import same_id

FILE = "journal.jsonl"
DEVICES = "devices"


class DeviceJournal:
    """The journal of the device with a MAC."""

    def __init__(self, work: Path, mac: str) -> None:
        self.mac = mac
        self.directory = work / DEVICES / same_id(mac)
        self._path = self.directory / FILE

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make its directory and lock it.

        Raises:
            ProvisionError: another process works on the same device.
        """
        make_directory(self.directory)
        with hold(self.directory / "lock", self._busy):
            yield

    def _busy(self) -> ProvisionError:
        sentence = _("Another 'desalink provision' works on the board {mac}; wait until it ends.")
        return ProvisionError("busy", sentence.format(mac=self.mac))

    def add(self, step: str, state: str, **detail: Any) -> None:
        """Append an entry, durably."""
        entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "step": step}
        line = json.dumps({**entry, "state": state, **detail}, ensure_ascii=False)
        new = not self._path.exists()
        # A power cut may have left an incomplete line before.
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            torn = False
            if end:
                file.seek(end - 1)
                torn = file.read(1) != b"\n"
            file.write((b"\n" if torn else b"") + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_directory(self.directory)

    def entries(self) -> list[dict[str, Any]]:
        """Every complete entry, the oldest first."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and {"step", "state"} <= entry.keys():
                found.append(entry)
        return found

    def slot(self) -> str | None:
        """The slot for which the board was last started, or None."""
        slots = [e.get("slot") for e in self.entries() if e["step"] == "identify"]
        return next((slot for slot in reversed(slots) if isinstance(slot, str)), None)


def begun_slots(work: Path) -> dict[str, str]:
    """Slot -> MAC (without colons) of the board that was last started for it."""
    found = {}
    for path in sorted((work / DEVICES).glob(f"*/{FILE}"), key=lambda p: p.stat().st_mtime):
        slot = DeviceJournal(work, path.parent.name).slot()
        if slot is not None:
            found[slot] = path.parent.name
    return found
