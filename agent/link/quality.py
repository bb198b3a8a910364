"""Quality of a link that answers: statistics, jitter, and loss or delay beyond the limits.

Two cumulative sums (Page, 1954), in integers: one grows while more probes are bad than the limit
allows, the other while fewer are bad than half of the limit. Each remembers when it was last zero:
that is when the change came, though it is certain only later.
"""

from agent.wire import ids
from agent.device.interpreter import const

_ENTER = const(3000)  # three to four bad probes more than the limit allows


class Statistic:
    """Statistic of round-trip times, given in tenths of a millisecond."""

    def __init__(self):
        self.sent = self.lost = self.total = self.least = self.most = 0

    def add(self, value):
        """One probe's value, None if it got no answer."""
        self.sent += 1
        if value is None:
            self.lost += 1
            return
        if self.sent - self.lost == 1 or value < self.least:
            self.least = value
        if value > self.most:
            self.most = value
        self.total += value

    def put(self, row, first, loss, unit):
        """Write min, mean, max to row[first..first + 2], in units of so many tenths, and the loss
        (per mille) to row[loss]; begin anew."""
        if self.sent:
            row[loss] = self.lost * 1000 // self.sent
            answered = self.sent - self.lost
            if answered:
                half = unit >> 1
                row[first] = (self.least + half) // unit
                row[first + 1] = (self.total + answered * half) // (answered * unit)
                row[first + 2] = (self.most + half) // unit
        self.sent = self.lost = self.total = self.least = self.most = 0


class Quality:
    """Feed `probe` with each answer or loss; `degraded` says what is wrong, `since` since when.

    loss_limit: per mille; delay_limit: tenths of a millisecond. 0: no limit."""

    def __init__(self, loss_limit, delay_limit):
        self.loss_limit = loss_limit
        self._delay = delay_limit
        self._last = {}  # target -> its last round-trip time
        self.jitter = None  # in 16ths, as RFC 3550, A.8
        self.degraded = None  # the PROBE_ number of the reason
        self.since = None  # when `degraded` last changed, seconds
        self.reset()

    def reset(self):
        """Begin anew: the link was down, which says nothing about its quality."""
        if self.degraded is not None:
            self.degraded = None
            self.since = None
        self._bad = self._good = self._slow = self._lost = 0
        self._bad_since = self._good_since = 0

    @property
    def good(self):
        """Whether the newest probe was good, and fewer are bad than before."""
        return self._good > 0

    @property
    def suspicious(self):
        """Whether there was loss or delay recently, certain or not: ask more."""
        return self._bad >= 500 or self.degraded is not None

    def probe(self, now, target, value):
        """A probe of `target` at `now` (seconds): its round-trip time, None if it was lost."""
        if value is not None:
            if target in self._last:
                delta = abs(value - self._last[target])
                if self.jitter is None:
                    self.jitter = 0
                self.jitter += delta - ((self.jitter + 8) >> 4)
            self._last[target] = value
        lost = value is None and self.loss_limit
        slow = value is not None and self._delay and value > self._delay
        if not self.loss_limit and not self._delay:
            return
        limit = self.loss_limit or 100
        if not self._bad:
            self._bad_since = now
            self._slow = self._lost = 0
        if lost or slow:
            self._bad = min(self._bad + 1000 - limit, 2 * _ENTER)
            self._lost += bool(lost)
            self._slow += bool(slow)
            self._good -= 5 * limit
        else:
            self._bad = max(0, self._bad - limit)
            self._good += limit // 2
        if self._good <= 0:
            self._good = 0
            self._good_since = now + 1
        elif self._good == limit // 2:
            self._good_since = now
        if self.degraded is None:
            if self._bad >= _ENTER:
                self.degraded = ids.PROBE_SLOW if self._slow > self._lost else ids.PROBE_LOST
                self.since = self._bad_since
                self._good = 0
        elif self._good >= 30 * (limit // 2):
            self.degraded = None
            self.since = self._good_since
            self._bad = 0

    def put(self, row):
        """Write the jitter into a sample's row."""
        if self.jitter is not None:
            row[ids.JITTER] = (self.jitter + 40) // 80  # half milliseconds
