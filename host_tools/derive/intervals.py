"""Intervals: the state of a slot from-to, without holes, from its first evidence to its last.

Painted in layers, each over the ones before: nothing is known (`no_data`); times in which nothing
ran (boots); what samples say; what outages say, which are true to a round where samples are to a
minute. So a second counts as up only where a sample covers it, and that sample is from a link
that was up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from agent.wire import ids
from host_tools.derive.measured import days_with_samples
from host_tools.derive.slice import day_of
from host_tools.store.database import Database
from host_tools.wire.vocabulary import STATES

NO_DATA = "no_data"
OFF_POWER = "power"
OFF_AGENT = "agent"

# Samples of one boot follow each other without a gap but for rounding and steps of the clock.
SEAM_S = 10
# The state of a sample follows its link by a few rounds (hysteresis); an outage that has ended
# less than this before a sample explains a state that is not up yet.
LAG_S = 30

_STATE_NAMES = {number: name for number, name, _ in STATES}
_UNKNOWN = _STATE_NAMES[ids.UNKNOWN]
_UP = _STATE_NAMES[ids.UP]

Interval = tuple[int, int, str]  # begin, end, state
Sample = tuple[int, int, int | None]  # start, step, state at its end
Off = tuple[int, int, str]


def state_name(number: int | None) -> str:
    """The name of a state or cause; one from a newer version goes by its number."""
    if number is None:
        return _UNKNOWN
    return _STATE_NAMES.get(number, f"state_{number}")


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Ascending intervals with equal neighbours joined and empty ones left out."""
    result: list[Interval] = []
    for begin, end, state in intervals:
        if begin >= end:
            continue
        if result and result[-1][2] == state and result[-1][1] == begin:
            result[-1] = (result[-1][0], end, state)
        else:
            result.append((begin, end, state))
    return result


def _disjoint(intervals: Iterable[Interval]) -> list[Interval]:
    """Ascending by begin; where intervals overlap, the one that began later is seen."""
    result: list[Interval] = []
    for interval in sorted(intervals):
        begin, end, _ = interval
        rest: list[Interval] = []
        while result and result[-1][1] > begin:
            old_begin, old_end, state = result.pop()
            if old_end > end:
                rest.append((max(old_begin, end), old_end, state))
            if old_begin < begin:
                result.append((old_begin, begin, state))
                break
        result += [interval, *reversed(rest)]
    return merged(result)


def _sampled(samples: Sequence[Sample], outages: Sequence[Interval]) -> list[Interval]:
    """What samples say of the time they cover, but for outages, which are painted over it."""
    begins = [begin for begin, _, _ in outages]
    layer: list[Interval] = []
    before, before_end = _UNKNOWN, 0  # the state at the sample's start, as far as it is known
    for number, (t, step, code) in enumerate(samples):
        if t - before_end > SEAM_S:
            before = _UNKNOWN
        end = before_end = t + step
        if number + 1 < len(samples):
            following = samples[number + 1][0]
            if end < following <= end + SEAM_S:
                end = following
        state = state_name(code)
        shown = state
        if state not in (_UP, _UNKNOWN):
            at = bisect_right(begins, end) - 1
            if at >= 0 and outages[at][1] >= t - LAG_S:
                # An outage tells when exactly; the rest of the sample is what was before or after.
                shown = _UNKNOWN if before == _UNKNOWN else _UP
        layer.append((t, end, shown))
        before = state
    return _disjoint(layer)


def paint(
    begin: int,
    end: int,
    samples: Sequence[Sample],
    outages: Iterable[Interval],
    offs: Iterable[Off],
) -> list[Interval]:
    """The states from begin to end, without holes.

    Args:
        samples: ascending by start; those that reach into the time from outside included.
        outages: with the name of their cause as state.
        offs: times in which nothing ran.
    """
    told = _disjoint(outages)
    layers = [_disjoint(offs), _sampled(samples, told), told]
    cuts = {begin, end}
    for layer in layers:
        for layer_begin, layer_end, _ in layer:
            cuts.update(cut for cut in (layer_begin, layer_end) if begin < cut < end)
    edges = sorted(cuts)
    places = [0] * len(layers)
    result: list[Interval] = []
    for left, right in zip(edges, edges[1:], strict=False):
        state = NO_DATA
        for number, layer in enumerate(layers):
            place = places[number]
            while place < len(layer) and layer[place][1] <= left:
                place += 1
            places[number] = place
            if place < len(layer) and layer[place][0] <= left:
                state = layer[place][2]
        result.append((left, right, state))
    return merged(result)


def repaint(db: Database, slot_id: int, begin: int, end: int) -> None:
    """Make a slot's intervals anew from begin to end, and what joins them to the others."""
    first = db.value(
        "SELECT t_begin FROM intervals WHERE slot_id = ? ORDER BY t_begin LIMIT 1", (slot_id,)
    )
    last = db.value(
        "SELECT t_end FROM intervals WHERE slot_id = ? ORDER BY t_begin DESC LIMIT 1", (slot_id,)
    )
    extent_begin = begin if first is None else min(begin, first)
    extent_end = end if last is None else max(end, last)
    # Beyond the known ones: what lies between is painted too.
    begin = begin if last is None else min(begin, last)
    end = end if first is None else max(end, first)
    samples = _samples(db, slot_id, begin - LAG_S, end + LAG_S)
    # A sample's colour depends on the sample before it and on outages that touch it: whole samples
    # are painted, from the one that reaches into this time to the one that begins within it.
    begin, end = begin - LAG_S, end + LAG_S
    read_to = end
    begin = min([begin, *(t for t, step, _ in samples if t < begin <= t + step)])
    end = max([end, *(t + step for t, step, _ in samples[-1:])])
    begin, end = max(begin, extent_begin), min(end, extent_end)
    if begin >= end:
        return
    if end > read_to:
        # Others may begin within the last one: where the clock has stepped back they overlap.
        samples += _begun(db, slot_id, read_to + 1, end)
    painted = paint(
        begin,
        end,
        samples,
        _outages(db, slot_id, begin - LAG_S, max([end, *(t + step for t, step, _ in samples)])),
        _offs(db, slot_id, begin, end),
    )
    old = _touching(db, slot_id, begin, end)
    left = [(b, min(e, begin), state) for b, e, state in old if b < begin]
    right = [(max(b, end), e, state) for b, e, state in old if e > end]
    new = merged([*left, *painted, *right])
    # The record of a slot begins and ends with evidence, not with its absence.
    if new and new[0][0] == extent_begin and new[0][2] == NO_DATA:
        del new[0]
    if new and new[-1][1] == extent_end and new[-1][2] == NO_DATA:
        del new[-1]
    kept = set(old) & set(new)
    db.executemany(
        "DELETE FROM intervals WHERE slot_id = ? AND t_begin = ?",
        [(slot_id, interval[0]) for interval in old if interval not in kept],
    )
    db.executemany(
        "INSERT INTO intervals VALUES (?, ?, ?, ?)",
        [(slot_id, *interval) for interval in new if interval not in kept],
    )


def _touching(db: Database, slot_id: int, begin: int, end: int) -> list[Interval]:
    """The stored intervals that overlap or touch begin to end."""
    first = db.value(
        "SELECT t_begin FROM intervals WHERE slot_id = ? AND t_begin < ? "
        "ORDER BY t_begin DESC LIMIT 1",
        (slot_id, begin),
    )
    return [
        (b, e, state)
        for b, e, state in db.all(
            "SELECT t_begin, t_end, state FROM intervals WHERE slot_id = ? "
            "AND t_begin BETWEEN ? AND ? ORDER BY t_begin",
            (slot_id, begin if first is None else first, end),
        )
        if e >= begin
    ]


def _samples(db: Database, slot_id: int, begin: int, end: int) -> list[Sample]:
    """The samples from begin to end after the two before: the nearer one may reach into this time,
    and its colour depends on the other."""
    found: list[Sample] = []
    for day in (day_of(begin), day_of(begin) - 1):
        if len(found) < 2:
            found += db.all(
                "SELECT t, step, state FROM samples WHERE day = ? AND slot_id = ? AND t < ? "
                "ORDER BY t DESC LIMIT ?",
                (day, slot_id, begin, 2 - len(found)),
            )
    found.reverse()
    return found + _begun(db, slot_id, begin, end)


def _begun(db: Database, slot_id: int, begin: int, end: int) -> list[Sample]:
    """The samples that begin from begin to end."""
    found: list[Sample] = []
    for day in days_with_samples(db, day_of(begin), day_of(end)):
        found += db.all(
            "SELECT t, step, state FROM samples WHERE day = ? AND slot_id = ? "
            "AND t BETWEEN ? AND ? ORDER BY t",
            (day, slot_id, begin, end),
        )
    return found


def _outages(db: Database, slot_id: int, begin: int, end: int) -> list[Interval]:
    """The outages from begin to end; one that lasts reaches to the last sample of its boot.

    Those of one boot never overlap: of those that began before, the last few can reach into it."""
    columns = (
        "t_begin, coalesce(t_end, (SELECT max(last_t, t_begin) FROM boots "
        "WHERE boots.stream_id = outages.stream_id AND boots.boot = outages.boot), t_begin), cause"
    )
    rows = db.all(
        f"SELECT {columns} FROM outages WHERE slot_id = ? AND t_begin BETWEEN ? AND ?",
        (slot_id, begin, end),
    ) + db.all(
        f"SELECT {columns} FROM outages WHERE slot_id = ? AND t_begin < ? "
        "ORDER BY t_begin DESC LIMIT 4",
        (slot_id, begin),
    )
    return [(b, e, state_name(cause)) for b, e, cause in rows if e >= begin]


def _offs(db: Database, slot_id: int, begin: int, end: int) -> list[Off]:
    """The times from begin to end in which nothing ran."""
    rows = db.all(
        "SELECT off_begin, off_end, off_state FROM boots WHERE slot_id = ? "
        "AND off_begin BETWEEN ? AND ?",
        (slot_id, begin, end),
    ) + db.all(
        "SELECT off_begin, off_end, off_state FROM boots WHERE slot_id = ? AND off_begin < ? "
        "ORDER BY off_begin DESC LIMIT 4",
        (slot_id, begin),
    )
    return [(b, e, state) for b, e, state in rows if e >= begin]
