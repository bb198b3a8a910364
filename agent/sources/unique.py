"""How many different clients a day has had (day.py)."""

from agent.device.interpreter import const
from agent.sources import source
from agent.sources.day import shared
from agent.wire import ids

ORDER = 70
KEYS = """\
usage.unique.most - int 1 4096"""
NEEDS = "usage.unique.most day"

_WITA_S = const(8 * 3600)


class Unique(source.Source):
    """Source of clients_day: reads the neighbour table, or without one the lease file. Other
    sources add the clients that they see, so this one is the last in order."""

    every_ms = 60000

    def __init__(self, day, leases, arp, interface):
        super().__init__("usage.unique", unique=day)
        self._leases = leases
        self._arp = arp
        self._interface = interface
        self._lease_s = 0  # for how long leases are given, by the longest that was seen

    def lasts(self):
        return [(self, ("_lease_s",))]

    async def poll(self, levels):
        if self._arp:
            self._neighbours()
        elif self._leases:
            self._lease_file()
        source.put(levels, ids.CLIENTS_DAY, self.unique.count())

    def _neighbours(self):
        with open(self._arp) as f:
            f.readline()
            for line in f:
                fields = line.split()
                # Flags: 2 is ATF_COM, a complete entry; 4 is ATF_PERM, a fixed one.
                if len(fields) > 5 and fields[2] in ("0x2", "0x6"):
                    if self._interface in (None, fields[5]):
                        self.seen(fields[3].encode())

    def _lease_file(self):
        now = self.unique.clock.now()
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
                    self.seen(fields[1].encode())


def make(config, clock, on_reset):
    """The source that the configuration asks for."""
    return Unique(
        shared(config, clock),
        config["usage.leases"],
        config["usage.arp"],
        config["usage.lan_interface"],
    )
