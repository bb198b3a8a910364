"""Bytes through a network interface, from /proc/net/dev.

A counter grows until it wraps (at 32 bits on old kernels and drivers) or the interface is made
anew. A new interface has a new index, or was missing in a round. Without either, a step back that
can't be a wrap is a new interface too.
"""

from agent.wire import ids


class Counter:
    """Differences of one counter that may wrap at 32 bits or begin anew."""

    def __init__(self):
        self._last = None

    def step(self, value, renewed):
        """Bytes since the last call (None at the first), and whether the counter began anew."""
        last = self._last
        self._last = value
        if last is None:
            return None, False
        if renewed:
            return value, True
        if value >= last:
            return value - last, False
        if last < (1 << 32) and last >= 1 << 31:
            return value + (1 << 32) - last, False
        return value, True


class Interface:
    """Source of bytes_down and bytes_up; on_reset(metric) is called when a counter starts anew."""

    def __init__(self, proc_net_dev, sys_class_net, name, on_reset):
        self._path = proc_net_dev
        self._index_path = "%s/%s/ifindex" % (sys_class_net, name)
        self._name = name
        self._on_reset = on_reset
        self._index = None
        self._gone = False
        self._down = Counter()
        self._up = Counter()

    def observe(self):
        """Notice an interface that is made anew between two samples."""
        self._read()

    async def sample(self, row):
        parts = self._read()
        if parts is None:
            return
        index = self._read_index()
        renewed = self._gone or (self._index is not None and index != self._index)
        self._index = index
        self._gone = False
        for metric, counter, value in (
            (ids.BYTES_DOWN, self._down, parts[0]),
            (ids.BYTES_UP, self._up, parts[1]),
        ):
            delta, reset = counter.step(value, renewed)
            if delta is not None:
                row[metric] = delta
            if reset:
                self._on_reset(metric)

    def _read(self):
        try:
            with open(self._path) as f:
                for line in f:
                    name, colon, rest = line.partition(":")
                    if colon and name.strip() == self._name:
                        fields = rest.split()
                        return int(fields[0]), int(fields[8])
            self._gone = True
        except (OSError, ValueError, IndexError):
            pass
        return None

    def _read_index(self):
        try:
            with open(self._index_path) as f:
                return f.read(16)
        except OSError:
            return None


def make(config, clock, on_reset):
    """The source that the configuration asks for."""
    return Interface(
        config["usage.proc_net_dev"],
        config["link.sys_class_net"],
        config["usage.interface"],
        on_reset,
    )
