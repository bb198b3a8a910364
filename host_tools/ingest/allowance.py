"""How much one device may send, so that none takes the disk or the time of the others.

What is beyond its limits is not stored and not acknowledged, so the device keeps it and sends it
again. The broker gets its PUBACK for it, because all devices share one window of unconfirmed
messages.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

_MAX_BUCKETS = 100_000


class Rate(NamedTuple):
    """A token bucket: `burst` at once, and `per_second` more."""

    burst: int
    per_second: float


@dataclass(frozen=True)
class Limits:
    """What one slot may send, and one key may begin.

    reports: the burst is 35 days of a device that was offline, more than a journal holds. After
        that a device may send sixty times what an ordinary one does.
    streams: a stream begins with an empty journal, a few times in a device's life.
    hold_acks_s: a slot that has sent too much gets no ack for so long, because it would send what
        is missing again at once.
    """

    reports: Rate = Rate(10_000, 0.2)
    births: Rate = Rate(60, 1 / 60)
    streams: Rate = Rate(8, 1 / 86_400)
    streams_per_key: int = 64
    hold_acks_s: float = 3600


_ENDLESS = Rate(2**62, 0)
NO_LIMITS = Limits(_ENDLESS, _ENDLESS, _ENDLESS, streams_per_key=2**62, hold_acks_s=0)


class Buckets:
    """One token bucket for each key of a kind."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._levels: dict[Hashable, tuple[float, float]] = {}  # tokens, and when

    def level(self, key: Hashable, now: float) -> float:
        """How many tokens there are at `now`, in monotonic seconds."""
        tokens, since = self._levels.get(key, (self._rate.burst, now))
        return min(self._rate.burst, tokens + (now - since) * self._rate.per_second)

    def take(self, key: Hashable, now: float) -> bool:
        """Take a token, if there is one."""
        level = self.level(key, now)
        if level < 1:
            return False
        if len(self._levels) >= _MAX_BUCKETS:
            full = [k for k in self._levels if self.level(k, now) >= self._rate.burst]
            for name in full:
                del self._levels[name]
        self._levels[key] = level - 1, now
        return True
