"""The log of a service: one line an event, `time level event key=value ...`.

Never a payload, never a key; a key id is public.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

Log = Callable[..., None]


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    # A stranger's text must not begin a new line or be read as another field.
    if text and text.isprintable() and not any(c in ' "=\\' for c in text):
        return text
    escaped = text.encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{escaped}"'


def make_log(stream: TextIO | None = None) -> Log:
    """A log that writes to a stream (stderr): `log("stored", reports=500)`; `level="warning"`."""

    def log(event: str, *, level: str = "info", **fields: Any) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        parts = [f"{now}Z", level, event]
        parts += [f"{name}={_value(value)}" for name, value in fields.items() if value is not None]
        print(*parts, file=stream or sys.stderr, flush=True)

    return log


class Seldom:
    """Logs one of many equal events in a while, and counts the others."""

    def __init__(self, seconds: float = 60) -> None:
        self._seconds = seconds
        self._held: dict[Any, tuple[float, int]] = {}

    def count(self, key: Any, count: int = 1) -> int | None:
        """How many to log now, those held back included; None: hold them back."""
        now = time.monotonic()
        since, held = self._held.get(key, (-self._seconds, 0))
        if now - since < self._seconds:
            self._held[key] = since, held + count
            return None
        if len(self._held) > 10_000:
            self._held.clear()
        self._held[key] = now, 0
        return held + count
