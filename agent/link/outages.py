"""The state machine from rounds of probes to outages: hysteresis, cause, begin and end.

It takes (time, result of a round) and returns events. An outage begins at the first of the `fall`
failing rounds that confirm it, and ends at the first of the `rise` good ones (as G.826 counts
unavailability from its onset). So both ends are true to one round. Going up and down within one
outage is a flap, not another outage. When the cause changes, one outage ends and the next begins
at the same instant, so outages never overlap. A result that is certain only some time later (loss
over many rounds) comes with its own begin.
"""

from agent.wire import ids


class Outages:
    """`feed` rounds in; `state` is the confirmed state (ids: UNKNOWN, UP or a cause)."""

    def __init__(self, fall=2, rise=2):
        self.state = ids.UNKNOWN
        self.fall = fall
        self.rise = rise
        self._began = 0
        self._last = -1  # when the newest event happened
        self._flaps = 0
        self._run = None  # result of the newest rounds that agree,
        self._run_since = 0  # since when,
        self._run_length = 0  # and how many they are
        self._bad_since = 0  # the same for rounds that are anything but UP
        self._bad_length = 0
        self._bad_evidence = None

    def feed(self, now, result, evidence=None, since=None):
        """Take one round's result (UP or a cause) at `now` (seconds), valid `since` or from now.

        Returns a list of (kind, time, detail): OUTAGE_BEGAN with {1: cause, 2: evidence},
        OUTAGE_ENDED with {1: cause, 3: duration, 4: flaps}. Mostly an empty one."""
        if result == self._run:
            self._run_length += 1
        else:
            if self._run == ids.UP and self.state > ids.UP:
                self._flaps += 1
            self._run = result
            # Never before the last event: outages don't overlap.
            self._run_since = now if since is None else min(now, max(since, self._last + 1))
            self._run_length = 1
        if result == ids.UP:
            self._bad_length = 0
            if self._run_length < self.rise or self.state == ids.UP:
                return ()
            events = self.end(self._run_since)
            self.state = ids.UP
            return events
        self._bad_length += 1
        if self._bad_length == 1:
            self._bad_since = now
            self._bad_evidence = evidence
        if self.state > ids.UP:
            # Within an outage only a cause that lasts replaces the one reported.
            if result == self.state or self._run_length < self.fall:
                return ()
            since = self._run_since
        elif self._bad_length >= self.fall:
            # Down for certain, even if each round had another cause: the newest one names it.
            since = self._bad_since
            if self._run_length == self._bad_length:
                since = self._run_since
                evidence = self._bad_evidence
        else:
            return ()
        events = self.end(since)
        self.state = result
        self._began = self._last = since
        self._flaps = 0
        events.append((ids.OUTAGE_BEGAN, since, {1: result, 2: evidence or []}))
        return events

    def end(self, now):
        """The events that end the present outage; the caller sets `state`."""
        if self.state <= ids.UP:
            return []
        self._last = now
        detail = {1: self.state, 3: now - self._began}
        if self._flaps:
            detail[4] = self._flaps
        return [(ids.OUTAGE_ENDED, now, detail)]
