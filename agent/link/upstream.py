"""The rung that says whether the internet answers: targets of several providers, in turn.

One target's failure says nothing of the link, so the others are asked at once; and one that stays
silent while they answer counts neither as an outage nor as loss.
"""

from agent.device import interpreter
from agent.device.interpreter import const
from agent.link import probes
from agent.link.quality import Statistic

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_PROBE_OK = const(0)

_SILENT = const(3)  # failures of a target on end that are its own for all one knows
_DEAD = const(6)  # and so many certainly are: it is asked seldom
_SELDOM = const(8)


class Upstream:
    """`statistic` and the link's quality are told of each probe. `missed`: when a round got no
    answer at all, as long as that is no outage."""

    def __init__(self, targets, timeout_ms, quality):
        self._targets = targets
        self._timeout_ms = timeout_ms
        self._quality = quality
        self._turn = 0
        self.by_ping = any(":" not in target for target in targets)
        # Failures on end of each target; one that has never answered tells of no loss.
        self._failures = bytearray(_SILENT for _ in targets)
        self.missed = None
        self.statistic = Statistic()

    async def probe(self, now):
        """A PROBE_ number, None without targets."""
        count = len(self._targets)
        if not count:
            return None
        failures = self._failures
        turn = self._turn
        for _ in range(count):
            turn = (turn + 1) % count
            if failures[turn] < _DEAD or not interpreter.random_below(_SELDOM):
                break
        self._turn = turn
        asked = [turn]
        if self._quality.suspicious:
            asked = [i for i in range(count) if i == turn or failures[i] < _DEAD]
        answers = await self._ask(asked)
        results = [result for _, result in answers]
        if _PROBE_OK in results:
            self._note(now, asked, answers, True)
            return _PROBE_OK
        more = [i % count for i in range(2 * count)]
        for _ in range(2 if self._quality.suspicious else 1):
            answers = await self._ask(more)
            alive = [i for i, answer in zip(more, answers) if answer[1] == _PROBE_OK]
            if alive:
                break
        if not alive:
            self.statistic.add(None)
            self.missed = now
            return results[0]
        if turn in alive:
            self.statistic.add(None)
            self._quality.probe(now, turn, None)
        elif len(alive) >= max(1, 2 * count - 3):
            failures[turn] = _DEAD
        # What answered nothing at all may be dead itself, and is no loss of the link's.
        kept = [i for i in range(2 * count) if more[i] in alive]
        self._note(now, [more[i] for i in kept], [answers[i] for i in kept], False)
        return _PROBE_OK

    def _ask(self, asked):
        return probes.together([probes.answer(self._targets[i], self._timeout_ms) for i in asked])

    def _note(self, now, asked, answers, all_count):
        """Tell of probes; unless `all_count`, of one that answered only to the statistic, which
        would else know most of a sample's worst moments."""
        quality = self._quality
        failures = self._failures
        if self.missed is not None:
            for _ in range(_SILENT):
                quality.probe(self.missed, 0, None)
            self.missed = None
        told = False
        for i, answer in zip(asked, answers):
            value = answer[0]
            counts = value is not None or failures[i] < _SILENT
            if counts:
                quality.probe(now, i, value)
            if value is not None:
                failures[i] = 0
            elif failures[i] < _DEAD:
                failures[i] += 1
            if counts and (all_count or (value is not None and not told)):
                self.statistic.add(value)
                told = True
