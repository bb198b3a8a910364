"""Devices associated with this machine's own Wi-Fi access points, from `iw` or `hostapd_cli`."""

from agent.device.interpreter import const
from agent.sources import command, source
from agent.wire import ids

ORDER = 10
KEYS = """\
usage.wifi.interfaces - list 1 8
usage.wifi.command "iw" str 1 200"""

_LONGEST = const(256)


class Stations:
    """Counts in the text of `iw dev X station dump` or `hostapd_cli -i X all_sta`, line by
    line."""

    def __init__(self, seen):
        self._seen = seen  # called with the address of each that is counted
        self._rest = b""
        self._at = None  # the station that the lines are about
        self._authorized = False
        self.count = 0
        self.signals = []

    def feed(self, piece):
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()[:_LONGEST]
        for line in lines:
            self._line(line.strip())

    def _line(self, line):
        if line[:8] == b"Station " and source.binary(line[8:25]):
            self._begin(line[8:25])
        elif source.binary(line):
            self._begin(line)
        elif self._at:
            name, mark, value = line.partition(b":" if b":" in line else b"=")
            value = value.strip()
            if name == b"authorized":
                self._authorized = value == b"yes"
            elif name == b"flags":
                self._authorized = b"[AUTHORIZED]" in value
            elif name == b"signal" and value:
                # The number before chains in brackets: "-54 [-57, -58] dBm".
                value = source.number(value.split()[0])
                if value is not None and value < 0:
                    self.signals.append(value)

    def _begin(self, address):
        self.finish()
        self._at = address
        self._authorized = True

    def finish(self):
        """Count the last station, if it is authorized."""
        if self._at and self._authorized:
            self.count += 1
            self._seen(self._at)
        self._at = None


class Wifi(source.Source):
    """Source of associated devices, which without a portal are the hotspot's clients."""

    def __init__(self, interfaces, program, unique):
        super().__init__("usage.wifi", unique=unique)
        self._interfaces = interfaces
        self._program = program

    async def poll(self, levels):
        stations = Stations(self.seen)
        for name in self._interfaces:
            if "hostapd_cli" in self._program:
                words = (self._program, "-i", name, "all_sta")
            else:
                words = (self._program, "dev", name, "station", "dump")
            await command.run(words, stations.feed)
            stations.feed(b"\n")
            stations.finish()
        for metric in (ids.CLIENTS, ids.ASSOCIATED):
            source.put(levels, metric, stations.count)
        source.put_mean(levels, ids.CLIENT_SIGNAL, stations.signals)


def make(config, clock, on_reset):
    """The source that the configuration asks for, or raises ValueError with a sentence."""
    if not command.possible():
        raise ValueError("usage.wifi.interfaces: this board runs no programs")
    return Wifi(
        config["usage.wifi.interfaces"], config["usage.wifi.command"], source.day_of(config, clock)
    )
