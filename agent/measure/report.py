"""Samples and events become a report: columns, chain, signature, journal. See docs/wire.md.

`Reporter` collects rows (one dict of metric -> integer per sample; a metric that is absent was not
measured) and events, and closes them into one signed report in the journal.
"""

from agent.wire import cbor, cose
from agent.wire import ids

MAX_SAMPLES = 60
_COUNTS = (ids.BYTES_DOWN, ids.BYTES_UP)  # kind "count": summed, coded as they are


def column(metric, rows):
    """One metric's values over `rows` as the wire codes them (docs/wire.md, Columns), or None."""
    count = metric in _COUNTS
    out = []
    keep = 0  # elements after this one repeat what stands before them
    last = None
    for row in rows:
        value = row.get(metric)
        if value is None:
            out.append(None)
            keep = len(out)
            continue
        out.append(value if count or last is None else value - last)
        if out[-1] or last is None:
            keep = len(out)
        last = value
    if last is None:
        return None
    return out[: max(keep, 1)]


def columns(rows):
    """{metric: column} over all metrics that occur in `rows`."""
    out = {}
    for row in rows:
        for metric in row:
            if metric not in out:
                values = column(metric, rows)
                if values:
                    out[metric] = values if len(values) > 1 else values[0]
    return out


class Reporter:
    """`quiet` is a lock under which signing does not disturb the taking of round-trip times. A
    report is made wholly under it, so that two don't take the same seq."""

    def __init__(self, journal, clock, signer, topic, quiet):
        self.journal = journal
        self._clock = clock
        self.signer = signer
        self.topic = topic.encode()
        self.quiet = quiet
        self._rest = [0] * len(_COUNTS)  # of each count, what does not make a whole KiB yet
        self._quality = None  # the clock's source as last told, and when
        self._quality_up = 0
        self.rows = []  # samples since the last report, in CBOR: a quarter of a dict
        self._up = 0
        self._events = []
        self._closing = None  # what a report is being made of: up, rows, events
        self._most = MAX_SAMPLES  # of the next report
        self.step = 60

    def add(self, row, up, step):
        """Take the sample that began at `up` (seconds since start) and lasted `step` seconds.

        Counts come in bytes and are kept in KiB, as the wire has them; what is left over goes to
        the next sample, so that sums stay true."""
        for i in range(len(_COUNTS)):
            value = row.get(_COUNTS[i])
            if value is not None:
                value += self._rest[i]
                self._rest[i] = value & 1023
                row[_COUNTS[i]] = value >> 10
        if not self.rows:
            self._up = up
        self.step = step
        self.rows.append(cbor.dumps(row))

    def event(self, kind, up=None, detail=None):
        """Take an event at `up` (seconds since start, now if None). Sent with the next report.

        While no report can be made, the first and the newest are kept, not those between."""
        if len(self._events) >= 64:
            del self._events[32]
        self._events.append((self._clock.up() if up is None else up, kind, detail or {}))

    @property
    def has_events(self):
        """Whether events wait for the next report."""
        return bool(self._events)

    async def close(self):
        """Make one report of what has gathered; returns its seq, None if nothing had.

        JournalError leaves samples and events in place for the next try, as far as they fit."""
        journal = self.journal
        async with self.quiet:
            self.reopen()
            own = self._journal_events()
            rows, self.rows = self.rows[: self._most], self.rows[self._most :]
            events, self._events = self._events[:32], self._events[32:]
            if not rows and not events and not own:
                return None
            up = self._up if rows else self._clock.up()
            self._up = up + len(rows) * self.step
            self._closing = up, rows, events
            try:
                while True:
                    stream = journal.stream
                    payload = self._payload(rows, events + own, up, self.step)
                    message = await cose.sign1_async(self.signer, payload, self.topic)
                    if stream == journal.stream:
                        journal.whole = False  # an interrupt would find them here or there
                        self._closing = None
                        self._most = MAX_SAMPLES
                        return journal.append(message)
                    # An ack began a new stream while this was being signed for the old one.
                    own = self._journal_events()
            except Exception as e:
                self._closing = up, rows, events
                self.reopen()
                if not isinstance(e, OSError):  # as a lack of memory, which CBOR names CborError
                    self._most = max(1, len(rows) // 2)
                raise

    def reopen(self):
        """Take back, as far as it fits, what a `close` that failed or was cancelled has left."""
        if self._closing:
            up, rows, events = self._closing
            self._closing = None
            self._quality = None
            keep = min(len(rows), MAX_SAMPLES - len(self.rows))
            if keep:
                self._up = up + (len(rows) - keep) * self.step
            self.rows = rows[len(rows) - keep :] + self.rows
            self._events = events + self._events

    def _journal_events(self):
        """What the journal reports of itself: a stream's beginning, reports that are gone."""
        up = self._clock.up()
        events = []
        began = self.journal.began
        if began:
            reason, before, last = began
            detail = {1: reason}
            if before:
                detail[2] = before
            if last is not None:
                detail[3] = last
            events.append((up, ids.STREAM_BEGAN, detail))
        for first, last, reason, stream in self.journal.take_drops():
            detail = {1: reason, 2: [first, last]}
            if stream != self.journal.stream:
                detail[3] = stream
            events.append((up, ids.DROPPED, detail))
        return events

    def _payload(self, rows, events, up, step):
        now = self._clock.now()
        body = {
            1: self.journal.stream,
            2: self.journal.next_seq,
            3: self.journal.last_hash8,
            4: self.journal.boot,
            5: up,
            6: None if now is None else now - (self._clock.up() - up),
            8: columns([cbor.loads(row) for row in rows]),
        }
        # What most reports have, they don't say.
        if step != 60:
            body[7] = step
        if len(rows) != 5:
            body[11] = len(rows)
        quality = self._clock.quality()
        if quality[1] != self._quality or up - self._quality_up >= 3600:
            self._quality = quality[1]
            self._quality_up = up
            body[10] = quality
        if events:
            body[9] = told = []
            for at, kind, detail in events:
                told.append([at - up, kind, detail])
        return cbor.dumps(body)
