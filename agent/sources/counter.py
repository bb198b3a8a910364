"""Bytes between two readings of a counter: through reboots, resets, wraps and nonsense.

Nothing is invented: where the evidence leaves two readings open, the lesser is taken.
"""

from agent.device import interpreter
from agent.device.interpreter import const

NO = 0
MAYBE = 1
YES = 2

# More than a village's uplink can carry: 1 Gbit/s, and ten seconds' worth for readings that come
# late.
_BYTES_PER_MS = const(125000)
_LATE_MS = const(10000)
_MONTH = const(31 * 24 * 360000)


class Octets:
    """Differences of one octet counter of 32 or 64 bits."""

    def __init__(self):
        self._last = None
        self._wide = None
        self._at = 0
        self.renewed = NO  # what has become known since the last call, as `step` takes it

    def step(self, value, wide, renewed):
        """Bytes since the last call (None: can't be told), and whether the counter began anew.

        `renewed`: has the counter begun at zero since (NO, MAYBE, YES). A counter of 64 bits that
        steps back has begun anew, unless it stood where one of 32 bits wraps: some drivers count
        so."""
        renewed = max(renewed, self.renewed)
        self.renewed = NO
        last = self._last
        was_wide = self._wide
        elapsed = interpreter.since(self._at)
        self._last = value
        self._wide = wide
        self._at = interpreter.ticks_ms()
        if last is None or wide != was_wide:
            return None, False
        reset = False
        if renewed == YES:
            delta = value
            reset = True
        elif value >= last:
            delta = value - last
        elif renewed == NO and (not wide or last >> 31 == 1):
            delta = value + (1 << 32) - last
        else:
            delta = value
            reset = True
        if delta > (elapsed + _LATE_MS) * _BYTES_PER_MS:
            return None, reset
        return delta, reset


class Uptime:
    """Tells a restart of the equipment by its uptime."""

    def __init__(self):
        self._last = None
        self._at = 0

    def restarted(self, hundredths):
        """Whether it has restarted since the last call, by its uptime (TimeTicks, modulo 2^32).

        It has, if its uptime is less than our own clock makes it (ten seconds and 1.5 % are
        allowed to clocks). An uptime ahead of ours means that this device slept, or that the
        equipment was silent for so long that the ticks have wrapped meanwhile."""
        now = interpreter.ticks_ms()
        last = self._last
        elapsed = interpreter.ticks_diff(now, self._at) // 10
        self._last = hundredths
        self._at = now
        if last is None:
            return False
        if elapsed < 0:  # how long can't be told: more than half of the ticks' period
            return hundredths < last
        ahead = hundredths - last - elapsed + 1000 + (elapsed >> 6)
        return ahead & 0xFFFFFFFF > _MONTH
