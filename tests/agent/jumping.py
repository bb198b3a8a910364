"""An event loop in simulated seconds: where nothing is to be read, time jumps to the next timer.

No load can make anything late in it. Both ends of a connection are in this process, and loopback
has delivered what was sent when `send` returns."""

import asyncio
import selectors
from typing import Any


class _Jumping(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and timeout is not None:
            # Never none at all: who polls for a time waits for it to pass.
            self.now += max(0.0001, timeout)
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The seconds that have passed in it."""
        return self._jumping.now
