"""Bytes through an interface, from /proc/net/dev.

Counters only ever grow, until they wrap (32 bits on old kernels and drivers) or the interface is
made anew. A new interface shows by its index, which is new too, or by a round in which there was
none; else a step back tells, if it can't be a wrap.
"""

from agent.device.interpreter import const

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_BYTES_DOWN = const(13)
_BYTES_UP = const(14)


_WRAP = 1 << 32


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
        if last < _WRAP and last >= _WRAP >> 1:
            return value + _WRAP - last, False
        return value, True


class Interface:
    """Source of bytes_down and bytes_up; `on_reset(metric)` hears of counters begun anew."""

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
        """See whether the interface is there, lest it be made anew between two samples unseen."""
        self._read()

    async def sample(self, row):
        counters = self._read()
        if counters is None:
            return  # gone, perhaps to come back: its columns are null meanwhile
        index = self._read_index()
        renewed = self._gone or (self._index is not None and index != self._index)
        self._index = index
        self._gone = False
        for metric, counter, value in (
            (_BYTES_DOWN, self._down, counters[0]),
            (_BYTES_UP, self._up, counters[1]),
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
