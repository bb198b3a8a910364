"""Time with its quality: seconds since start that never step, and Unix time when it is known.

Sources by rank (the numbers of the wire): none, saved (a lower bound only), ack, NTP, system. A
better source replaces a worse one; the same or a worse one replaces it only once its time has
become old.
"""

from agent.device import interpreter
from agent.device.interpreter import const
from agent.wire import ids

_DAY_S = const(86400)
_BUILT = 1767225600  # 2026-01-01


class Clock:
    def __init__(self, board):
        self._board = board
        self._last = interpreter.ticks_ms()
        self._ms = 0
        self._offset = None  # Unix time - up, seconds
        self._set_at = 0
        self.confirmed = False  # not by one time server alone
        self.source = ids.CLOCK_NONE
        self.floor = 0  # Unix time that has certainly passed at the start
        self.on_set = None  # callable(source, step or None) for corrections worth an event

    def up_ms(self):
        """Milliseconds since start, beyond the ticks' wrap (call at least every few days)."""
        now = interpreter.ticks_ms()
        self._ms += interpreter.ticks_diff(now, self._last)
        self._last = now
        return self._ms

    def up(self):
        """Whole seconds since start."""
        return self.up_ms() // 1000

    def now(self):
        """Unix time in seconds, or None while it is not known."""
        if self._offset is None:
            return None
        return self.up() + self._offset

    def right(self):
        """Whether the platform's clock, by which certificates are judged, is right to a day, as
        far as that is known."""
        platform = self._board.unix_time()
        now = self.now() or self.floor
        return max(now - _DAY_S, _BUILT) <= platform and (
            self._offset is None or platform <= now + _DAY_S
        )

    def quality(self):
        """[seconds since the clock was last set or None, source], as reports carry it."""
        if self.source == ids.CLOCK_SYSTEM:
            return [None, self.source]
        if self._offset is None:
            return [None, ids.CLOCK_SAVED if self.floor else ids.CLOCK_NONE]
        return [self.up() - self._set_at, self.source]

    def raise_floor(self, unix):
        """Note a time that has passed for certain. A platform's clock that is behind it is set:
        certificates are judged by that, and a device may wake in the year 2000."""
        self.floor = max(self.floor, unix)
        if self._board.unix_time() < self.floor:
            self._board.set_clock(self.floor)

    def certain(self):
        """The latest Unix time that has passed for certain: the next start's floor. One wrong
        answer of one time server must never get there, as it would refuse all right ones."""
        return max(self.floor, self.now()) if self.confirmed else self.floor

    def is_plausible(self, unix):
        """Whether `unix` is so near to what is certain that one time server's answer will do."""
        now = self.now() if self.confirmed else self.floor + self.up()
        return abs(unix - now) <= _DAY_S

    def set(self, unix, source, confirmed=True):
        """Take `unix` (seconds) from `source`. Refuses times before 2026 or below the floor, and
        beyond 32 bits (2106), for which no platform has room. True if taken.

        confirmed: False for one time server that only knows by itself. Two that agree may go below
        the floor, as the ack may: that ends a floor which a wrong clock has left."""
        if unix < _BUILT or unix >> 32:
            return False
        if unix < self.floor:
            if source == ids.CLOCK_SYSTEM or not confirmed:
                return False
            self.floor = 0
        up = self.up()
        # An ack's time is late by its way: don't follow each one's jitter.
        weaker = source < self.source or source == self.source == ids.CLOCK_ACK
        # After six hours a weaker source may correct a stronger one's drift.
        if weaker and self.confirmed and up - self._set_at < 6 * 3600:
            return False
        step = None if self._offset is None else unix - up - self._offset
        self._offset = unix - up
        self._set_at = up
        changed = step is None or abs(step) >= 2  # else it is drift
        if changed or source != self.source:
            self._board.set_clock(unix)
        self.source = source
        self.confirmed = confirmed
        if changed and self.on_set:
            self.on_set(source, step)
        return True

    def follow_system(self):
        """Take the platform's clock if the platform keeps it right. Call this every round."""
        if self._board.clock_synchronised():
            unix = self._board.unix_time()
            known = self.source == ids.CLOCK_SYSTEM
            if not known or abs(unix - self.now()) >= 2:
                self.set(unix, ids.CLOCK_SYSTEM)
