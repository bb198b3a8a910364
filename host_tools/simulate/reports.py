"""A device's messages: what its village did, as docs/wire.md has it, signed.

Written from the page with `cbor2` and libsodium, not from the agent. Columns are shortened as the
agent does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cbor2
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from agent.wire import ids
from host_tools.simulate import regimes as r
from host_tools.simulate.world import DEGRADED, ONLINE, UP, Device, Run, Spell, Village
from host_tools.wire import hash8, sign1_structure, topic_name
from host_tools.wire.envelope import byte_string_head
from host_tools.wire.vocabulary import RESET_CAUSES, STATES

_CODES = {term.name: term.code for term in STATES}
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
_POOL = 24  # prepared samples for each quality of the link
_CLOCK_EVERY_S = 3600

Row = dict[int, int]


def column(values: Sequence[int | None], *, count: bool = False) -> list[int | None] | int | None:
    """Values as a column (docs/wire.md, "Columns"); None: nothing was measured."""
    out: list[int | None] = []
    keep, last = 0, None
    for value in values:
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
    return out[0] if keep <= 1 else out[:keep]


class Signer:
    """Signs what a device publishes, and its enrolment."""

    def __init__(self, device: Device, slot: str) -> None:
        self.public_key, self._secret = crypto_sign_seed_keypair(device.seed)
        self.slot = slot
        self.kid = hash8(self.public_key)
        self._protected = b"\xa2\x01\x32\x04\x48" + self.kid
        self._head = b"\xd2\x84" + byte_string_head(13) + self._protected + b"\xa0"
        self._aad = {k: topic_name(slot, k).encode() for k in ("report", "birth", "enrol")}

    def sign(self, kind: str, payload: dict[int, Any]) -> bytes:
        """A COSE_Sign1 for the topic of a kind."""
        body = cbor2.dumps(payload)
        text = sign1_structure(self._protected, self._aad[kind], body)
        signature = crypto_sign(text, self._secret)[:64]
        return self._head + byte_string_head(len(body)) + body + b"\x58\x40" + signature

    def enrolment(self, at: int) -> bytes:
        """The proof with which the device was enrolled."""
        return self.sign(
            "enrol", {1: self.slot, 2: self.public_key, 3: None, 4: "simulated", 5: "0.1.0", 6: at}
        )


class Hour(NamedTuple):
    """What a report tells of the hour in which some of its samples begin."""

    hour: int
    down: int
    up: int
    clients_peak: int
    clients_day: int


@dataclass(slots=True)
class Made:
    """What a device has made at a moment: a report, or only the chance to connect.

    begin, end: the time of its samples, an off time before them included. since: it holds the
    events from then on. copy: another report under the same number, by a device with a copied
    storage.
    """

    at: int
    run: Run
    signer: Signer
    stream: bytes = b""
    seq: int = 0
    boot: int = 0
    up: int = 0
    start: int | None = None
    begin: int = 0
    end: int = 0
    since: int = 0
    message: bytes = b""
    hours: Sequence[Hour] = ()
    copy: bytes = b""


@dataclass
class Journal:
    """What a device keeps over its runs; `backlog` and `dropped` belong to who delivers."""

    signer: Signer
    stream: bytes
    reason: int
    before: bytes | None = None
    seq: int = 0
    boot: int = 0
    prev: bytes | None = None
    dropped: list[tuple[int, int]] = field(default_factory=list)


class Station:
    """All that the devices of a village make, in the order of making.

    Attributes:
        waiting: how many reports are not sent yet; set by who delivers.
        journal: of the device that runs now.
    """

    def __init__(self, village: Village) -> None:
        self.village = village
        self.waiting = 0
        self.journal: Journal
        self._rng = village.rng
        self._pools = _pools(village)
        self._spell = 0
        self._day, self._different = 0, 0
        self._closed = 0
        self._alive: tuple[int, int | None] = (0, None)
        self._busy = 1024 * 1024 * r.LINKS[village.link].mb_hour * self._rng.uniform(0.3, 1.2)
        self._crowd = self._rng.randint(6, 40)
        if village.special == "unused":
            self._busy, self._crowd = 40_000.0, 0

    def state(self, at: int) -> Spell:
        """The state of an instant; asked in ascending order but for a few spells back."""
        spells, number = self.village.spells, self._spell
        while number and spells[number].begin > at:
            number -= 1
        while number + 1 < len(spells) and spells[number].end <= at:
            number += 1
        self._spell = number
        return spells[number]

    def make(self) -> Iterator[Made]:
        """Everything from the first run to the last."""
        device = -1
        for run in self.village.runs:
            if run.device != device or run.wiped:
                signer = Signer(self.village.devices[run.device], self.village.slot)
                same = run.device == device
                before = self.journal.stream if same else None
                reason = ids.STREAM_LOST if same else ids.STREAM_NEW
                self.journal = Journal(signer, self._rng.randbytes(4), reason, before)
                device = run.device
            yield from self._run(run)

    # ---- one run -------------------------------------------------------------------------

    def _run(self, run: Run) -> Iterator[Made]:
        journal, settings = self.journal, self.village.settings
        previous = (journal.boot, *self._alive) if journal.boot else None
        journal.boot += 1
        booted_at = run.begin - r.UP_S
        self._rest = [0, 0]
        self._clock_told: tuple[int, int] | None = None
        clock_at = self._clock_at(run)
        yield Made(run.begin, run, journal.signer)
        events: list[tuple[int, int, dict[int, Any]]] = [
            (run.begin, ids.BOOTED, _booted(run, previous))
        ]
        if journal.seq == 0:
            detail: dict[int, Any] = {1: journal.reason}
            if journal.before:
                detail[2] = journal.before
            events.append((run.begin, ids.STREAM_BEGAN, detail))
        changes = iter([*self._changes(run, clock_at), (run.end, None)])
        change_at, change = next(changes)
        rows: list[Row] = []
        step = settings.step * self._factor()
        first = at = run.begin
        while True:
            # The next thing that happens: a sample ends, or something changes.
            while change_at < at + step:
                if change is None:
                    # Off: samples and events that are in no report yet are lost.
                    # The last sign of life is saved once a minute.
                    alive_up = max(r.UP_S, (run.end - booted_at) // 60 * 60)
                    unix = booted_at + alive_up
                    known = unix >= clock_at
                    self._alive = alive_up, unix + self._wrong(unix) if known else None
                    return
                event, urgent = change
                events.append((change_at, *event))
                if urgent and self.state(change_at).state in ONLINE:
                    yield self._report(
                        run, booted_at, clock_at, first, step, rows, events, change_at
                    )
                    rows, events, first = [], [], at
                change_at, change = next(changes)
            rows.append(self._sample(at, step))
            at += step
            if len(rows) == r.SAMPLES:
                yield self._report(run, booted_at, clock_at, first, step, rows, events, at)
                rows, events, first = [], [], at
                coarser = settings.step * self._factor()
                if coarser != step:
                    step = coarser
                    events.append((at, ids.CADENCE_CHANGED, {1: step}))

    def _factor(self) -> int:
        fill = self.waiting / r.JOURNAL_REPORTS
        return next((factor for part, factor in r.COARSER if fill >= part), 1)

    def _clock_at(self, run: Run) -> int:
        """When the device of a run first knows the time: once the internet answers."""
        late = 0
        if self.village.special == "clockless":
            late = self._rng.randrange(20 * r.MINUTE, 4 * r.HOUR)
        for spell in self.village.spells[self._number(run.begin) :]:
            if spell.state in ONLINE and spell.end > run.begin + late + 10:
                return max(spell.begin, run.begin + late) + (0 if not late else 10)
        return run.end + 1

    def _number(self, at: int) -> int:
        self.state(at)
        return self._spell

    def _wrong(self, at: int) -> int:
        """The error of the device's clock at an instant."""
        wrong = self.village.wrong_clock
        return wrong[2] if wrong and wrong[0] <= at < wrong[1] else 0

    def _changes(self, run: Run, clock_at: int) -> Iterator[tuple[int, Any]]:
        """(instant, (event, whether it is sent at once)) of a run, ascending."""
        found: list[tuple[int, int, Any]] = []
        if run.begin < clock_at < run.end:
            found.append((clock_at, 0, ((ids.CLOCK_SET, {1: ids.CLOCK_NTP, 2: None}), False)))
        if self.village.wrong_clock:
            begin, end, error = self.village.wrong_clock
            for at, jump in ((begin, error), (end, -error)):
                if max(run.begin, clock_at) < at < run.end:
                    found.append((at, 0, ((ids.CLOCK_SET, {1: ids.CLOCK_NTP, 2: jump}), False)))
        for spell in self.village.spells[self._number(run.begin) :]:
            if spell.begin >= run.end:
                break
            if spell.state == UP:
                continue
            code = _CODES[spell.state]
            began = {1: code, 2: _EVIDENCE[spell.state]}
            found.append((spell.begin, 2, ((ids.OUTAGE_BEGAN, began), True)))
            if spell.end < run.end:
                ended = {1: code, 3: spell.end - spell.begin, 4: 0}
                found.append((spell.end, 1, ((ids.OUTAGE_ENDED, ended), True)))
        for at, _, change in sorted(found, key=lambda item: item[:2]):
            yield at, change

    # ---- samples and reports -------------------------------------------------------------

    def _sample(self, at: int, step: int) -> tuple[str, int, int, int, int, int]:
        """state, which of the pool, bytes down and up, clients, different clients today."""
        rng = self._rng
        state = self.state(at + step - r.LAG_S).state
        number = int(rng.random() * _POOL)
        local = at + r.WITA_S
        if local // r.DAY != self._day:
            self._day, self._different = local // r.DAY, 0
        use = r.USE_BY_HOUR[local // r.HOUR % 24]
        clients = int(self._crowd * use * (0.6 + 0.8 * rng.random()))
        if self._different < clients or rng.random() < use * step / 600 * (self._crowd > 0):
            self._different = max(clients, self._different + (self._crowd > 0))
        down = 0
        if state in ONLINE or state == "broker":
            down = int(self._busy * use * (0.5 + rng.random()) * step / r.HOUR)
        return state, number, down, down // 9, clients, self._different

    def _report(
        self,
        run: Run,
        booted_at: int,
        clock_at: int,
        first: int,
        step: int,
        rows: list[Any],
        events: list[Any],
        at: int,
    ) -> Made:
        """Close a report at `at`."""
        journal = self.journal
        if not rows:
            first = at
        journal.seq += 1
        start = None if at < clock_at else first + self._wrong(at)
        up = first - booted_at
        metrics, hours = self._measured(first, step, rows)
        payload: dict[int, Any] = {
            1: journal.stream,
            2: journal.seq,
            3: journal.prev,
            4: journal.boot,
            5: up,
            6: start,
        }
        if step != 60:
            payload[7] = step
        payload[8] = metrics
        for dropped in journal.dropped:
            events.append((at, ids.DROPPED, {1: ids.DROPPED_CORRUPT, 2: list(dropped)}))
        journal.dropped = []
        if events:
            payload[9] = [[when - first, kind, detail] for when, kind, detail in events]
        known = start is not None
        source = ids.CLOCK_NTP if known else ids.CLOCK_NONE
        told = self._clock_told
        if told is None or told[0] != source or at - told[1] >= _CLOCK_EVERY_S:
            self._clock_told = (source, at)
            payload[10] = [(at - clock_at) % _CLOCK_EVERY_S if known else None, source]
        if len(rows) != r.SAMPLES:
            payload[11] = len(rows)
        message = journal.signer.sign("report", payload)
        journal.prev = hash8(message)
        copy = b""
        if self.village.special == "copied" and self.village.runs.index(run) % 2 == 0:
            # Another device, for some time: it measures something else under the same number.
            payload[8] = {**metrics, ids.TEMPERATURE: 41}
            copy = journal.signer.sign("report", payload)
        begin, since = first, self._closed
        if since < run.begin:
            begin = run.begin if run.off is None else run.off
            since = begin - 1
        self._closed = at
        return Made(
            at,
            run,
            journal.signer,
            journal.stream,
            journal.seq,
            journal.boot,
            up,
            start,
            begin,
            max(begin, first + step * len(rows)),
            since,
            message,
            hours,
            copy,
        )

    def _measured(self, first: int, step: int, rows: list[Any]) -> tuple[Row, list[Hour]]:
        """Columns of the samples, in the order of their numbers, and the usage by hour."""
        if not rows:
            return {}, []
        states, numbers, downs, ups, clients, different = zip(*rows, strict=True)
        metrics: dict[int, Any] = {ids.STATE: column([_CODES[state] for state in states])}
        quality = {_quality(state) for state in states}
        if len(quality) == 1 and len(rows) == r.SAMPLES:
            metrics |= self._pools[quality.pop()][numbers[0]][1]
        else:
            samples = [
                self._pools[_quality(s)][n][0][i]
                for i, (s, n) in enumerate(zip(states, numbers, strict=True))
            ]
            metrics |= _columns(samples)
        # A router that is not reached tells nothing of its usage.
        reached = [state not in ("interface", "gateway") for state in states]
        for metric, values in enumerate((downs, ups)):
            kib: list[int | None] = []
            for value, known in zip(values, reached, strict=True):
                self._rest[metric] += value
                kib.append(self._rest[metric] >> 10 if known else None)
                self._rest[metric] &= 1023
            coded = column(kib, count=True)
            if coded is not None:
                metrics[ids.BYTES_DOWN + metric] = coded
        for metric, levels in (
            (ids.CLIENTS, clients),
            (ids.CLIENTS_PEAK, clients),
            (ids.CLIENTS_DAY, different),
        ):
            coded = column(
                [v if known else None for v, known in zip(levels, reached, strict=True)]
            )
            if coded is not None:
                metrics[metric] = coded
        metrics[ids.JOURNAL_FILL] = min(1000, 1000 * self.waiting // r.JOURNAL_REPORTS)
        metrics[ids.TEMPERATURE] = 31 + first // r.HOUR % 9
        return metrics, _by_hour(first, step, downs, ups, clients, different, reached)

    def birth(self, made: Made, at: int, connection: int) -> bytes:
        """The birth of a connection at `at`."""
        run, settings = made.run, self.village.settings
        return made.signer.sign(
            "birth",
            {
                1: self.journal.stream,
                2: self.journal.boot,
                3: connection,
                4: at - run.begin + r.UP_S,
                5: at + self._wrong(at),
                6: "simulated",
                7: "0.1.0",
                8: "simulated",
                9: _RESETS[run.reset],
                10: self.journal.seq + 1,
                11: [10, settings.step, r.SAMPLES],
            },
        )


def _booted(run: Run, previous: tuple[int, int, int | None] | None) -> dict[int, Any]:
    detail: dict[int, Any] = {1: _RESETS[run.reset]}
    if previous is not None:
        boot, up, unix = previous
        detail[2] = [boot, up]
        if unix is not None:
            detail[3] = unix
    return detail | {4: False}


def _by_hour(
    first: int, step: int, downs: Any, ups: Any, clients: Any, different: Any, reached: Any
) -> list[Hour]:
    hours: dict[int, Hour] = {}
    for i, known in enumerate(reached):
        if not known:
            continue
        hour = (first + i * step) // r.HOUR * r.HOUR
        old = hours.get(hour, Hour(hour, 0, 0, 0, 0))
        hours[hour] = Hour(
            hour,
            old.down + downs[i],
            old.up + ups[i],
            max(old.clients_peak, clients[i]),
            max(old.clients_day, different[i]),
        )
    return list(hours.values())


# ---- qualities of the link ---------------------------------------------------------------


def _quality(state: str) -> str:
    """What round-trip times look like in a state."""
    if state in (UP, DEGRADED):
        return state
    if state in ("interface", "gateway"):
        return "gateway"
    return "provider" if state == "provider" else UP


def _columns(samples: list[Row]) -> dict[int, Any]:
    metrics = sorted({metric for sample in samples for metric in sample})
    return {metric: column([sample.get(metric) for sample in samples]) for metric in metrics}


def _pools(village: Village) -> dict[str, list[tuple[list[Row], dict[int, Any]]]]:
    """Prepared samples by quality: a report's worth of rows, and the same as columns."""
    rng = village.rng
    make: dict[str, Callable[[], Row]] = {
        UP: lambda: _row(village, 1.0, 0),
        DEGRADED: lambda: _row(village, 3.0, rng.choice((170, 170, 330))),
        "provider": lambda: _gateway(village) | {ids.LOSS: 1000},
        "gateway": lambda: {ids.LOSS_GW: 1000, ids.LOSS: 1000},
    }
    return {
        quality: [
            (rows, _columns(rows))
            for rows in ([row() for _ in range(r.SAMPLES)] for _ in range(_POOL))
        ]
        for quality, row in make.items()
    }


def _gateway(village: Village) -> Row:
    rng = village.rng
    least = rng.randint(6, 12)
    return {
        ids.RTT_GW_MIN: least,
        ids.RTT_GW_MEAN: least + rng.randint(1, 6),
        ids.RTT_GW_MAX: least + rng.randint(8, 60),
        ids.LOSS_GW: 0,
    }


def _row(village: Village, slower: float, loss: int) -> Row:
    rng, link = village.rng, r.LINKS[village.link]
    mean = int(2 * slower * (link.rtt_ms + link.spread_ms * abs(rng.gauss(0, 1))))
    row = _gateway(village) | {
        ids.RTT_MIN: mean - rng.randint(2, 2 + link.spread_ms),
        ids.RTT_MEAN: mean,
        ids.RTT_MAX: mean + rng.randint(4, 8 + 3 * link.spread_ms),
        ids.LOSS: loss or (170 if rng.random() < 0.02 else 0),
        ids.JITTER: rng.randint(2, 4 + link.spread_ms),
        ids.DNS_TIME: link.rtt_ms + rng.randint(0, 40),
    }
    if link.signal_dbm is not None:
        row[ids.SIGNAL] = link.signal_dbm + rng.randint(-6, 6)
    return row
