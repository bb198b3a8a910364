"""The simulated clock in CPython's event loop."""

import asyncio
import selectors

from tests.sim import clock


class _Selector(selectors.DefaultSelector):
    def select(self, timeout=None):
        clock.look()
        # One entry is the loop's own. More than the broker's connection: let a probe finish.
        streams = len(self.get_map()) - 1
        ready = super().select(0.005 if timeout and streams > 1 else 0)
        if ready or timeout == 0:
            return ready
        if timeout is None or clock.owed(streams):
            return super().select(min(timeout or 1, 0.01))
        clock.jump(int(timeout * 1000) + 1)
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__(_Selector())

    def time(self):
        return clock.ticks_ms() / 1000


asyncio.events.new_event_loop = _Loop
