"""The number of different clients of a day. No client can be recognised afterwards.

HMAC-SHA-256 (RFC 2104) with a random key turns each hardware address into a digest. Key and
digests are in memory only, and are deleted at midnight WITA (UTC+8): the device itself does not
know whether a client of today was there yesterday. After a restart, or when the table is full,
the number is a lower bound.
"""

import os

from agent.device.interpreter import const
from agent.sources.hmac import hmac

# Of each digest: two of 4,096 clients fall together once in two million million days.
_BYTES = const(8)
_WITA_S = const(8 * 3600)

_day = None


class Day:
    """The different clients since midnight, at most `most`."""

    def __init__(self, clock, most):
        self.clock = clock
        self._most = most
        self._number = None
        self._key = b""
        self._seen = b""

    def _turn(self):
        """Start a new day if it is one. False while the time is not known."""
        now = self.clock.now()
        if now is None:
            return False
        number = (now + _WITA_S) // 86400
        if number != self._number:
            self._number = number
            self._key = os.urandom(32)
            self._seen = b""
        return True

    def add(self, address):
        """Count a client by its hardware address, 6 bytes."""
        if not self._turn():
            return
        digest = hmac(self._key, address)[:_BYTES]
        at = self._seen.find(digest)
        while at % _BYTES and at >= 0:
            at = self._seen.find(digest, at + 1)
        if at < 0 and len(self._seen) < self._most * _BYTES:
            self._seen += digest

    def count(self):
        """Clients since midnight or, if later, the start; None while the time is not known."""
        return len(self._seen) // _BYTES if self._turn() else None


def shared(config, clock):
    """The one day of this agent, to which all sources add."""
    global _day
    if _day is None or _day.clock is not clock:
        _day = Day(clock, config["usage.unique.most"])
    return _day
