"""The different clients of a day, without knowing one of them afterwards.

Each client's hardware address is put through HMAC-SHA-256 (RFC 2104) with a random key that lives
only in memory and is thrown away at midnight WITA (UTC+8), together with what was made by it: not
even the device itself can tell whether a client of today was there yesterday. Only the number
leaves. A restart begins anew, so the number is then a lower bound; so it is once the table is
full.
"""

import os

from agent.device.interpreter import const
from agent.sources.hmac import hmac
from agent.sources.source import binary

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
        """Begin anew if it is another day. False while the time is not known."""
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
        """Note a client by its address: 6 bytes, or text; anything else is passed over."""
        address = binary(address)
        if address is None or not self._turn():
            return
        digest = hmac(self._key, address)[:_BYTES]
        at = self._seen.find(digest)
        while at % _BYTES and at >= 0:
            at = self._seen.find(digest, at + 1)
        if at < 0 and len(self._seen) < self._most * _BYTES:
            self._seen += digest

    def count(self):
        """How many since midnight, or since the start if that was later; None: no time is
        known."""
        return len(self._seen) // _BYTES if self._turn() else None


def shared(config, clock):
    """The day that all sources of this agent add to."""
    global _day
    if _day is None or _day.clock is not clock:
        _day = Day(clock, config["usage.unique.most"])
    return _day
