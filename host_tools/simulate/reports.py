"""A device's messages in the order of making: what its village did, as docs/wire.md has it.

Written from the page, not from the agent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent.wire import ids
from host_tools.simulate import regimes as r
from host_tools.simulate.samples import STATE_CODES, Measurement, Meter, TrueHour
from host_tools.simulate.signing import MessageSigner
from host_tools.simulate.world import DEGRADED, ONLINE, UP, Run, SimulatedVillage, Spell
from host_tools.wire import hash8
from host_tools.wire.vocabulary import RESET_CAUSES

_RESETS = {term.name: term.code for term in RESET_CAUSES}
# What the rungs answered, [rung, result], in each state.
_EVIDENCE = {
    "interface": [[ids.DOWN_INTERFACE, 6]],
    "gateway": [[ids.DOWN_INTERFACE, 0], [ids.DOWN_GATEWAY, 1]],
    "provider": [[ids.DOWN_GATEWAY, 0], [ids.DOWN_PROVIDER, 1], [ids.RUNG_NEXT_HOP, 1]],
    "dns": [[ids.DOWN_PROVIDER, 0], [ids.DOWN_DNS, 1], [ids.RUNG_OTHER_DNS, 0]],
    "portal": [[ids.DOWN_DNS, 0], [ids.DOWN_PORTAL, 5]],
    "tls": [[ids.DOWN_PORTAL, 0], [ids.DOWN_TLS, 8], [ids.RUNG_CLOCK, 0]],
    "broker": [[ids.DOWN_PORTAL, 0], [ids.DOWN_BROKER, 1]],
    DEGRADED: [[ids.DEGRADED, 11]],
}
_CLOCK_EVERY_S = 3600
_ALIVE_EVERY_S = 60


class Happening(NamedTuple):
    """An event of a device, Unix time; urgent: it closes a report at once."""

    at: int
    kind: int
    detail: dict[int, Any]
    urgent: bool = False


def last_alive(run: Run) -> int:
    """When the device of a run last saved that it is alive."""
    booted_at = run.begin - r.UP_S
    lived_s = (run.end - booted_at) // _ALIVE_EVERY_S * _ALIVE_EVERY_S
    return booted_at + max(r.UP_S, lived_s)


@dataclass(slots=True)
class Made:
    """What a device has made at a moment: a report, or nothing but a connection.

    begin, end: the time of its samples, an off time before them included. first_sample: begin and
    end of the first one. since: it holds the events from then on.
    copy: another report under the same number, by a device with a copied
    storage.
    """

    at: int
    run: Run
    signer: MessageSigner
    stream: bytes = b""
    seq: int = 0
    boot: int = 0
    up: int = 0
    start: int | None = None
    begin: int = 0
    end: int = 0
    first_sample: tuple[int, int] = (0, 0)
    since: int = 0
    message: bytes = b""
    hours: Sequence[TrueHour] = ()
    copy: bytes = b""


@dataclass
class SimulatedJournal:
    """What a device keeps over its runs.

    alive: boot, uptime and Unix time of the last sign of life; the time None where it was not
    known. dropped: seqs from-to that the medium lost; set by `delivery`.
    """

    signer: MessageSigner
    stream: bytes
    reason: int
    before: bytes | None = None
    seq: int = 0
    boot: int = 0
    prev: bytes | None = None
    closed: int = 0
    alive: tuple[int, int, int | None] | None = None
    dropped: list[tuple[int, int]] = field(default_factory=list)


class ReportMaker:
    """All that the devices of a village make.

    Attributes:
        waiting: how many reports are not sent yet; set by `delivery`.
        journal: of the device that runs now.
    """

    def __init__(self, village: SimulatedVillage) -> None:
        self.village = village
        self.waiting = 0
        self.journal: SimulatedJournal
        self._meter = Meter(village)
        self._spell = 0

    def state(self, at: int) -> str:
        """The state of an instant; quick if instants are asked for nearly in order."""
        return self._spells_from(at)[0].state

    def _spells_from(self, at: int) -> Sequence[Spell]:
        spells, number = self.village.spells, self._spell
        while number and spells[number].begin > at:
            number -= 1
        while number + 1 < len(spells) and spells[number].end <= at:
            number += 1
        self._spell = number
        return spells[number:]

    def make(self) -> Iterator[Made]:
        """Everything from the first run to the last."""
        device = -1
        for run in self.village.runs:
            if run.device != device or run.wiped:
                same = run.device == device
                self.journal = SimulatedJournal(
                    MessageSigner(self.village.devices[run.device], self.village.slot),
                    self.village.rng.randbytes(4),
                    ids.STREAM_LOST if same else ids.STREAM_NEW,
                    self.journal.stream if same else None,
                )
                device = run.device
            self.journal.boot += 1
            self._meter.restart()
            yield Made(run.begin, run, self.journal.signer)
            yield from _RunMaker(self, run, self._clock_at(run)).make()

    def _clock_at(self, run: Run) -> int:
        """When the device of a run first knows the time: once the internet answers."""
        late = 0
        if self.village.special == "clockless":
            late = self.village.rng.randrange(20 * r.MINUTE, 4 * r.HOUR)
        for spell in self._spells_from(run.begin):
            if spell.state in ONLINE and spell.end > run.begin + late:
                return max(spell.begin, run.begin + late)
        return run.end + 1

    def factor(self) -> int:
        """How much longer than usual samples are, as the journal is so full."""
        fill = self.waiting / r.JOURNAL_REPORTS
        return next((factor for part, factor in r.COARSER if fill >= part), 1)

    def spells_of(self, run: Run) -> Iterator[Spell]:
        for spell in self._spells_from(run.begin):
            if spell.begin >= run.end:
                return
            yield spell

    def measure(self, at: int, step: int) -> Measurement:
        """The sample that begins at `at`."""
        return self._meter.sample(at, step, self.state(at + step - r.LAG_S))

    def columns(
        self, first: int, step: int, samples: Sequence[Measurement]
    ) -> tuple[dict[int, Any], list[TrueHour]]:
        """Columns of a report's samples, and their usage by hour."""
        if not samples:
            return {}, []
        metrics, hours = self._meter.columns(first, step, samples)
        metrics[ids.JOURNAL_FILL] = min(1000, 1000 * self.waiting // r.JOURNAL_REPORTS)
        metrics[ids.TEMPERATURE] = 31 + first // r.HOUR % 9
        return metrics, hours

    def birth(self, made: Made, at: int, connection: int) -> bytes:
        run, journal = made.run, self.journal
        payload = {
            1: journal.stream,
            2: journal.boot,
            3: connection,
            4: at - run.begin + r.UP_S,
            5: at + self.village.clock_error(at),
            6: "simulated",
            7: "0.1.0",
            8: "simulated",
            9: _RESETS[run.reset],
            10: journal.seq + 1,
            11: [10, self.village.settings.step, r.SAMPLES],
        }
        return made.signer.sign("birth", payload)


class _RunMaker:
    def __init__(self, maker: ReportMaker, run: Run, clock_at: int) -> None:
        self._maker, self._village, self._journal = maker, maker.village, maker.journal
        self._run = run
        self._clock_at = clock_at
        self._booted_at = run.begin - r.UP_S
        self._clock_told: tuple[int, int] | None = (
            None  # the clock's source, and when it was reported
        )
        self._copied = self._village.special == "copied" and self._journal.boot % 2 == 1
        # Without the time of the last sign of life, the beginning of the off time is unknown.
        known = self._journal.alive is not None and self._journal.alive[2] is not None
        self._off = run.off if known and run.off is not None else run.begin
        self._events: list[Happening] = []
        self._samples: list[Measurement] = []
        self._first = run.begin  # begin of the first sample
        self._step = self._village.settings.step * maker.factor()

    def make(self) -> Iterator[Made]:
        """All reports up to the end of the run, which loses what is in none yet."""
        run, maker = self._run, self._maker
        changes = [*self._changes(), Happening(run.end, ids.STOPPED, {})]
        self._events = self._beginning()
        at, number = run.begin, 0
        while True:
            while (change := changes[number]).at < at + self._step:
                number += 1
                if number == len(changes):
                    self._die()
                    return
                self._events.append(change)
                if change.urgent and changes[number].at > change.at:
                    yield self._report(change.at, at)
            self._samples.append(maker.measure(at, self._step))
            at += self._step
            if len(self._samples) == r.SAMPLES:
                yield self._report(at, at)
                step = self._village.settings.step * maker.factor()
                if step != self._step:
                    self._step = step
                    self._events.append(Happening(at, ids.CADENCE_CHANGED, {1: step}))

    def _die(self) -> None:
        at = last_alive(self._run)
        up = at - self._booted_at
        unix = at + self._village.clock_error(at) if at >= self._clock_at else None
        self._journal.alive = (self._journal.boot, up, unix)

    def _beginning(self) -> list[Happening]:
        run, journal = self._run, self._journal
        booted: dict[int, Any] = {1: _RESETS[run.reset]}
        if journal.alive is not None:
            boot, up, unix = journal.alive
            booted[2] = [boot, up]
            if unix is not None:
                booted[3] = unix
        booted[4] = False
        events = [Happening(run.begin, ids.BOOTED, booted)]
        if journal.seq == 0:
            began: dict[int, Any] = {1: journal.reason}
            if journal.before:
                began[2] = journal.before
            events.append(Happening(run.begin, ids.STREAM_BEGAN, began))
        return events

    def _changes(self) -> list[Happening]:
        """What happens during the run, in order; an end comes before a beginning."""
        run, found = self._run, []
        if run.begin < self._clock_at < run.end:
            found.append(Happening(self._clock_at, ids.CLOCK_SET, {1: ids.CLOCK_NTP, 2: None}))
        begin, end, error = self._village.wrong_clock or (0, 0, 0)
        for at, jump in ((begin, error), (end, -error)):
            if max(run.begin, self._clock_at) < at < run.end:
                found.append(Happening(at, ids.CLOCK_SET, {1: ids.CLOCK_NTP, 2: jump}))
        for spell in self._maker.spells_of(run):
            if spell.state == UP:
                continue
            code = STATE_CODES[spell.state]
            began = {1: code, 2: _EVIDENCE[spell.state]}
            found.append(Happening(spell.begin, ids.OUTAGE_BEGAN, began, True))
            if spell.end < run.end:
                ended = {1: code, 3: spell.end - spell.begin, 4: 0}
                found.append(Happening(spell.end, ids.OUTAGE_ENDED, ended, True))
        return sorted(found, key=lambda change: (change.at, -change.kind))

    def _report(self, at: int, following: int) -> Made:
        """Close a report at `at`; the next one's first sample begins at `following`."""
        journal, run = self._journal, self._run
        first = self._first if self._samples else at
        samples, self._samples, self._first = self._samples, [], following
        journal.seq += 1
        start = first + self._village.clock_error(at) if at >= self._clock_at else None
        metrics, hours = self._maker.columns(first, self._step, samples)
        payload: dict[int, Any] = {
            1: journal.stream,
            2: journal.seq,
            3: journal.prev,
            4: journal.boot,
            5: first - self._booted_at,
            6: start,
        }
        if self._step != 60:
            payload[7] = self._step
        payload[8] = metrics
        for first_seq, last_seq in journal.dropped:
            lost = {1: ids.DROPPED_CORRUPT, 2: [first_seq, last_seq]}
            self._events.append(Happening(at, ids.DROPPED, lost))
        journal.dropped = []
        if self._events:
            payload[9] = [[event.at - first, event.kind, event.detail] for event in self._events]
        self._events = []
        source = ids.CLOCK_NONE if start is None else ids.CLOCK_NTP
        told = self._clock_told
        if told is None or told[0] != source or at - told[1] >= _CLOCK_EVERY_S:
            self._clock_told = (source, at)
            age = None if start is None else (at - self._clock_at) % _CLOCK_EVERY_S
            payload[10] = [age, source]
        if len(samples) != r.SAMPLES:
            payload[11] = len(samples)
        message = journal.signer.sign("report", payload)
        journal.prev = hash8(message)
        copy = b""
        if self._copied and samples:
            payload[8] = metrics | {ids.TEMPERATURE: 41}
            copy = journal.signer.sign("report", payload)
        begin, since = first, journal.closed
        if since < run.begin:
            begin = self._off
            since = begin - 1
        journal.closed = at
        return Made(
            at,
            run,
            journal.signer,
            journal.stream,
            journal.seq,
            journal.boot,
            first - self._booted_at,
            start,
            begin,
            first + self._step * len(samples) if samples else max(begin, run.begin),
            (first, first + self._step) if samples else (first, first),
            since,
            message,
            hours,
            copy,
        )
