"""How many different clients a day has had, without knowing one of them afterwards.

Each client's hardware address is put through HMAC-SHA-256 (RFC 2104) with a random key that lives
only in memory and is thrown away at midnight WITA (UTC+8), together with what was made by it: not
even the device itself can tell whether a client of today was there yesterday. Only the number
leaves. A restart begins anew, so the number is then a lower bound; so it is once the table is
full.
"""

import os

from agent.compat import const
from agent.usage import source
from agent.usage.hmac import hmac

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_CLIENTS_DAY = const(17)

KEYS = """\
usage.unique.most int - 1 4096"""

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
        address = source.binary(address)
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


class Unique(source.Source):
    """Source of clients_day. Looks into the neighbour table, or the lease file where there is
    none; other sources add the clients that they see. Comes after them in the list."""

    every_ms = 60000

    def __init__(self, day, leases, arp, interface):
        super().__init__("usage.unique")
        self._day = day
        self._leases = leases
        self._arp = arp
        self._interface = interface
        self._lease_s = 0  # for how long leases are given, by the longest that was seen

    async def poll(self, levels):
        if self._arp:
            self._neighbours()
        elif self._leases:
            self._lease_file()
        source.put(levels, _CLIENTS_DAY, self._day.count())

    def _neighbours(self):
        with open(self._arp) as f:
            f.readline()
            for line in f:
                fields = line.split()
                # Flags: 2 is ATF_COM, a complete entry; 4 is ATF_PERM, a fixed one.
                if len(fields) > 5 and fields[2] in ("0x2", "0x6"):
                    if self._interface in (None, fields[5]):
                        self._day.add(fields[3].encode())

    def _lease_file(self):
        now = self._day.clock.now()
        if now is None:
            return
        midnight = now - (now + _WITA_S) % 86400
        with open(self._leases) as f:
            for line in f:
                fields = line.split()
                if len(fields) < 4 or not fields[0].isdigit():
                    continue
                expiry = int(fields[0])
                self._lease_s = max(self._lease_s, expiry - now)
                # Given or renewed today; one of yesterday tells of nobody that is here today.
                if expiry == 0 or expiry > now and expiry - self._lease_s >= midnight:
                    self._day.add(fields[1].encode())


def make(config, clock, on_reset):
    """The source that the configuration asks for."""
    return Unique(
        shared(config, clock),
        config["usage.leases"],
        config["usage.arp"],
        config["usage.lan_interface"],
    )
