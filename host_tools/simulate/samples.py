"""What a village's device measures: columns of a report, and the true usage beside them.

Drawing every value would take longer than signing. So the quality of the link comes from a pool
that is prepared for each village, and only usage is drawn for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agent.wire import ids
from host_tools.common.times import WITA_S
from host_tools.simulate import regimes as r
from host_tools.simulate.world import DEGRADED, ONLINE, UP, SimulatedVillage
from host_tools.wire.vocabulary import STATES

STATE_CODES = {term.name: term.code for term in STATES}
_POOL = 24
_NO_ROUTER = ("interface", "gateway")

Row = dict[int, int]


class Measurement(NamedTuple):
    """One sample. quality: which of the pool; different: different clients today."""

    state: str
    quality: int
    down: int = 0
    up: int = 0
    clients: int = 0
    different: int = 0


class TrueHour(NamedTuple):
    """The true usage in an hour, of those samples of a report that begin in it."""

    hour: int
    down: int
    up: int
    clients_peak: int
    clients_day: int


def column(values: Sequence[int | None], *, count: bool = False) -> list[int | None] | int | None:
    """Values as a column, as short as the agent makes it; None: nothing was measured."""
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


class Meter:
    """Measures a village's link and its usage."""

    def __init__(self, village: SimulatedVillage) -> None:
        self._rng = village.rng
        self._pools = _pools(village)
        self._day, self._different = 0, 0
        self._busy = 1024 * 1024 * r.LINKS[village.link].mb_hour * self._rng.uniform(0.3, 1.2)
        self._crowd = self._rng.randint(6, 40)
        if village.special == "unused":
            self._busy, self._crowd = 40_000.0, 0
        self._rest = [0, 0]

    def restart(self) -> None:
        """A new run: what does not make a whole KiB yet is lost."""
        self._rest = [0, 0]

    def sample(self, at: int, step: int, state: str) -> Measurement:
        """Take the sample that begins at `at`."""
        rng = self._rng
        if state in _NO_ROUTER:
            return Measurement(state, int(rng.random() * _POOL))
        local = at + WITA_S
        if local // r.DAY != self._day:
            self._day, self._different = local // r.DAY, 0
        use = r.USE_BY_HOUR[local // r.HOUR % 24]
        clients = int(self._crowd * use * (0.6 + 0.8 * rng.random()))
        if self._crowd and rng.random() < use * step / 600:
            self._different += 1
        self._different = max(self._different, clients)
        down = 0
        if state in ONLINE or state == "broker":
            down = int(self._busy * use * (0.5 + rng.random()) * step / r.HOUR)
        return Measurement(
            state, int(rng.random() * _POOL), down, down // 9, clients, self._different
        )

    def columns(
        self, first: int, step: int, samples: Sequence[Measurement]
    ) -> tuple[dict[int, Any], list[TrueHour]]:
        """Samples of a report as columns in the order of their metrics, and the usage by hour."""
        states, numbers, downs, ups, clients, different = zip(*samples, strict=True)
        metrics: dict[int, Any] = {ids.STATE: column([STATE_CODES[state] for state in states])}
        qualities = [_quality(state) for state in states]
        if len(samples) == r.SAMPLES and len(set(qualities)) == 1:
            metrics |= self._pools[qualities[0]][numbers[0]][1]
        else:
            pairs = enumerate(zip(qualities, numbers, strict=True))
            metrics |= _columns([self._pools[name][number][0][i] for i, (name, number) in pairs])
        # Without its router a device measures no usage.
        reached = [state not in _NO_ROUTER for state in states]
        if any(reached):
            metrics[ids.BYTES_DOWN] = column(self._kib(0, downs, reached), count=True)
            metrics[ids.BYTES_UP] = column(self._kib(1, ups, reached), count=True)
            metrics[ids.CLIENTS] = metrics[ids.CLIENTS_PEAK] = column(_known(clients, reached))
            metrics[ids.CLIENTS_DAY] = column(_known(different, reached))
        hours, i = [], 0
        while i < len(samples):
            hour = (first + i * step) // r.HOUR * r.HOUR
            j = i + 1 + (hour + r.HOUR - 1 - first - i * step) // step  # those that begin in it
            if any(reached[i:j]):
                hours.append(
                    TrueHour(
                        hour,
                        sum(downs[i:j]),
                        sum(ups[i:j]),
                        max(clients[i:j]),
                        max(different[i:j]),
                    )
                )
            i = j
        return metrics, hours

    def _kib(self, which: int, values: Sequence[int], reached: list[bool]) -> list[int | None]:
        """Bytes in whole KiB; the rest is carried on."""
        rest, out = self._rest[which], []
        for value in values:
            rest += value
            out.append(rest >> 10)
            rest &= 1023
        self._rest[which] = rest
        return _known(out, reached)


def _known(values: Sequence[int], reached: list[bool]) -> list[int | None]:
    return [value if ok else None for value, ok in zip(values, reached, strict=True)]


def _quality(state: str) -> str:
    """Under which name the pool has the link's quality in a state."""
    if state == DEGRADED or state == "provider":
        return state
    return "gateway" if state in _NO_ROUTER else UP


def _columns(rows: list[Row]) -> dict[int, Any]:
    metrics = sorted({metric for row in rows for metric in row})
    return {metric: column([row.get(metric) for row in rows]) for metric in metrics}


def _pools(village: SimulatedVillage) -> dict[str, list[tuple[list[Row], dict[int, Any]]]]:
    """By quality: a report's worth of rows, and the same as columns."""
    rng = village.rng
    make: dict[str, Callable[[], Row]] = {
        UP: lambda: _row(village, 1.0, 0),
        DEGRADED: lambda: _row(village, 3.0, rng.choice((170, 170, 330))),
        "provider": lambda: _router(village) | {ids.LOSS: 1000},
        "gateway": lambda: {ids.LOSS_GW: 1000, ids.LOSS: 1000},
    }
    drawn = {
        name: [[row() for _ in range(r.SAMPLES)] for _ in range(_POOL)]
        for name, row in make.items()
    }
    return {name: [(rows, _columns(rows)) for rows in pool] for name, pool in drawn.items()}


def _router(village: SimulatedVillage) -> Row:
    rng = village.rng
    least = rng.randint(6, 12)
    return {
        ids.RTT_GW_MIN: least,
        ids.RTT_GW_MEAN: least + rng.randint(1, 6),
        ids.RTT_GW_MAX: least + rng.randint(8, 60),
        ids.LOSS_GW: 0,
    }


def _row(village: SimulatedVillage, slower: float, loss: int) -> Row:
    rng, link = village.rng, r.LINKS[village.link]
    mean = int(2 * slower * (link.rtt_ms + link.spread_ms * abs(rng.gauss(0, 1))))
    row = _router(village) | {
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
