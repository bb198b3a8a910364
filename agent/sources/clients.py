"""How many clients the hotspot has: from a dnsmasq lease file, or the kernel's neighbour table.

No address is kept, only the number.
"""

from agent.wire import ids


def count_leases(path, now):
    """Leases that have not run out at Unix time `now` (None: count all); None if unreadable."""
    count = 0
    data = b""
    try:
        # MicroPython reads lines byte by byte, with a system call for each.
        with open(path, "rb") as f:
            while True:
                more = f.read(128)  # a full heap may have no larger piece
                if not more:
                    return count
                data += more
                at = 0
                end = data.find(b"\n")
                while end >= 0:
                    if _is_lease(data, at, end, now):
                        count += 1
                    at = end + 1
                    end = data.find(b"\n", at)
                # What is no lease may be long; what is just being written has no end yet.
                data = data[max(at, len(data) - 512) :]
    except OSError:
        return None


def _is_lease(data, at, end, now):
    """Whether data[at:end] is "expiry address address name ..." and has not run out."""
    first = space = data.find(b" ", at, end)
    for _ in range(2):
        if space >= 0:
            space = data.find(b" ", space + 1, end)
    if space < 0 or not data[at:first].isdigit():
        return False  # such as the "duid" line of DHCPv6
    expiry = int(data[at:first])
    return expiry == 0 or now is None or expiry > now


def count_neighbours(path, interface):
    """Complete entries of /proc/net/arp (on `interface`, if given); None if unreadable."""
    count = 0
    try:
        with open(path) as f:
            f.readline()
            for line in f:
                fields = line.split()
                if len(fields) >= 6 and int(fields[2], 16) & 2:
                    if interface is None or fields[5] == interface:
                        count += 1
    except (OSError, ValueError):
        return None
    return count


class Clients:
    """Source of clients and clients_peak; counts every round, for the peak."""

    def __init__(self, clock, leases, arp, interface):
        self._clock = clock
        self._leases = leases
        self._arp = arp
        self._interface = interface
        self._now = None
        self._peak = None

    def observe(self):
        """Called every round."""
        if self._leases:
            self._now = count_leases(self._leases, self._clock.now())
        else:
            self._now = count_neighbours(self._arp, self._interface)
        if self._now is not None and (self._peak is None or self._now > self._peak):
            self._peak = self._now

    async def sample(self, row):
        if self._now is not None:
            row[ids.CLIENTS] = self._now
        if self._peak is not None:
            row[ids.CLIENTS_PEAK] = self._peak
        self._peak = self._now


def make(config, clock, on_reset):
    """The source that the configuration asks for."""
    return Clients(
        clock, config["usage.leases"], config["usage.arp"], config["usage.lan_interface"]
    )
