"""The rung that says whether the internet answers: targets of several providers, in turn.

The failure of one target says nothing about the link, so the others are asked at once. A target
that stays silent while others answer counts neither as an outage nor as loss.
"""

from agent.device import interpreter
from agent.wire import ids
from agent.device.interpreter import const
from agent.link import probes
from agent.link.quality import Statistic

_SILENT = const(3)  # failures in a row after which a target may itself be dead
_DEAD = const(6)  # failures in a row after which it is dead: it is asked seldom


class Upstream:
    """`statistic` and the link's quality get each probe's result. `missed`: when a round got no
    answer at all, if that made no outage."""

    def __init__(self, targets, timeout_ms, quality):
        self.targets = targets
        self._timeout_ms = timeout_ms
        self._quality = quality
        self._turn = 0
        self.by_ping = any(":" not in target for target in targets)
        # Failures in a row of each target. One that has never answered says nothing about loss.
        self._failures = bytearray(_SILENT for _ in targets)
        self.missed = None
        self.statistic = Statistic()

    def add(self, now, value):
        """Count a ping to another host beyond the provider; None if it was lost on the way."""
        self._take_missed()
        self.statistic.add(value)
        self._quality.probe(now, -1, value)

    async def probe(self, now):
        """A PROBE_ number, None without targets or if none could be asked."""
        count = len(self.targets)
        if not count:
            return None
        failures = self._failures
        turn = self._turn
        for _ in range(count):
            turn = (turn + 1) % count
            if failures[turn] < _DEAD or not interpreter.random_below(8):
                break
        self._turn = turn
        chosen = [turn]
        if self._quality.suspicious:
            chosen = [i for i in range(count) if i == turn or failures[i] < _DEAD]
        first = await self._ask(chosen)
        if _alive(first):
            self._note(now, first, True)
            return ids.PROBE_OK
        more = min(2 * count, 8)
        for _ in range(2 if self._quality.suspicious else 1):
            again = await self._ask([i % count for i in range(more)])
            alive = _alive(again)
            if alive:
                break
        if not alive:
            if not first:
                return None
            self.statistic.add(None)
            self.missed = now
            return first[0][2]
        if turn in alive:
            self.statistic.add(None)
            self._quality.probe(now, turn, None)
        elif len(alive) >= max(1, more - 3):
            failures[turn] = _DEAD
        # A target that answered nothing at all may be dead itself, and is no loss of the link's.
        self._note(now, [answer for answer in again if answer[0] in alive], False)
        return ids.PROBE_OK

    async def _ask(self, chosen):
        """(target, round-trip time or None, PROBE_ number) of all that could be asked."""
        timeout_ms = self._timeout_ms
        answers = await probes.together(
            [probes.answer(self.targets[i], timeout_ms) for i in chosen]
        )
        return [(i,) + pair for i, pair in zip(chosen, answers) if pair[1] is not None]

    def _note(self, now, answers, all_count):
        """Count probes. Unless `all_count`, only one answer goes into the statistic: else a
        sample's worst moments would have the greatest weight."""
        failures = self._failures
        self._take_missed()
        counted = False
        for i, value, _ in answers:
            good = value is not None or failures[i] < _SILENT
            if good:
                self._quality.probe(now, i, value)
            if value is not None:
                failures[i] = 0
            elif failures[i] < _DEAD:
                failures[i] += 1
            if good and (all_count or (value is not None and not counted)):
                self.statistic.add(value)
                counted = True

    def _take_missed(self):
        """A round without any answer was loss after all."""
        if self.missed is not None:
            for _ in range(_SILENT):
                self._quality.probe(self.missed, 0, None)
            self.missed = None


def _alive(answers):
    """The targets that answered."""
    return [i for i, _, result in answers if result == ids.PROBE_OK]
