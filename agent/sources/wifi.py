"""Devices associated with this machine's own Wi-Fi access points, from `iw` or `hostapd_cli`."""

from agent.device.interpreter import const
from agent.sources import command
from agent.sources import source

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_CLIENTS = const(15)
_ASSOCIATED = const(25)
_CLIENT_SIGNAL = const(27)

KEYS = """\
usage.wifi.interfaces list - 1 8
usage.wifi.command str "iw" 1 200"""

_LONGEST = const(256)


class Stations:
    """Counts in the text of `iw dev X station dump` or `hostapd_cli -i X all_sta`, line by
    line."""

    def __init__(self, unique):
        self._unique = unique
        self._rest = b""
        self._at = None  # the station that the lines are about
        self._let_in = False
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
                self._let_in = value == b"yes"
            elif name == b"flags":
                self._let_in = b"[AUTHORIZED]" in value
            elif name == b"signal" and value:
                # The number before chains in brackets: "-54 [-57, -58] dBm".
                value = source.number(value.split()[0])
                if value is not None and value < 0:
                    self.signals.append(value)

    def _begin(self, address):
        self.finish()
        self._at = address
        self._let_in = True

    def finish(self):
        """The last station has been told: count it if it was let in."""
        if self._at and self._let_in:
            self.count += 1
            if self._unique:
                self._unique.add(self._at)
        self._at = None


class Wifi(source.Source):
    """Source of associated devices, which without a portal are the hotspot's clients."""

    def __init__(self, interfaces, program, unique):
        super().__init__("usage.wifi", unique=unique)
        self._interfaces = interfaces
        self._program = program

    async def poll(self, levels):
        stations = Stations(self.unique)
        for name in self._interfaces:
            if "hostapd_cli" in self._program:
                words = (self._program, "-i", name, "all_sta")
            else:
                words = (self._program, "dev", name, "station", "dump")
            await command.run(words, stations.feed)
            stations.feed(b"\n")
            stations.finish()
        for metric in (_CLIENTS, _ASSOCIATED):
            source.put(levels, metric, stations.count)
        source.put_mean(levels, _CLIENT_SIGNAL, stations.signals)


def make(config, clock, on_reset):
    """The source that the configuration asks for, or raises ValueError with a sentence."""
    if not command.possible():
        raise ValueError("usage.wifi.interfaces: this board runs no programs")
    return Wifi(
        config["usage.wifi.interfaces"], config["usage.wifi.command"], source.day_of(config, clock)
    )
