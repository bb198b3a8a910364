"""Plays a simulated province to the alerts, and judges what they sent by what was true."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from host_tools.alerts.places import AlertPlace
from host_tools.alerts.post import Post
from host_tools.alerts.records import Alert, AlertMember, AlertRecords, open_records
from host_tools.alerts.settings import AlertSettings, load_settings
from host_tools.alerts.view import BROKER, ProvinceView, SlotView
from host_tools.alerts.watch import Watch
from host_tools.simulate.province import places
from host_tools.simulate.regimes import LINKS
from host_tools.simulate.regimes import TICK_S as TICK_OF_SIMULATION
from host_tools.simulate.world import ONLINE, SimulatedVillage, SimulationSettings, Spell, World
from host_tools.store.queries import Change
from host_tools.wire.vocabulary import NO_DATA

BEGIN = 1_767_196_800  # 2026-01-01 00:00 WITA
REPORT_S = 300
TICK_S = 300
LATE_S = 5  # from a report's end to its arrival, at most
GENSET = (19 * 3600, 22 * 3600 + 1800)  # it surely runs

CONFIG = """
[teams.operators]
steps = [["operator"]]
[teams.staff]
steps = [["staff"]]
[channels.operator]
url = "json://localhost/operator"
language = "en"
[channels.staff]
url = "json://localhost/staff"
"""


class Seen(NamedTuple):
    """From `at` on the province sees a village so, and knows of these changes."""

    at: int
    index: int
    view: SlotView | None
    changes: tuple[Change, ...] = ()


def seen_of(village: SimulatedVillage) -> Iterator[Seen]:
    """All that the province sees of a village, in the order of time; signed by nobody.

    As in the simulation a report arrives at the next whole minute, and only while the village is
    online. What happened while it was not becomes known after it, as fast as its link carries it.
    """
    slot, phase = village.slot, village.index * 37 % REPORT_S
    pace = LINKS[village.link].backlog
    untold: list[Change] = []
    before: str | None = None
    last: tuple[int, Spell] | None = None  # the last report, and what it says
    for spell in village.spells:
        untold.append(Change(0, slot, spell.begin, spell.state, before))
        before = spell.state
        first = spell.begin + (phase - spell.begin) % REPORT_S
        if spell.state not in ONLINE or first >= spell.end:
            continue
        at = _arrival(first)
        if last is not None:
            yield from _silence(village, *last, at)
        missing = 0 if last is None else (first - last[0]) // REPORT_S
        known = _arrival(at + missing // pace) if missing > pace else at
        now = SlotView(slot, spell.state, spell.begin)
        yield Seen(at, village.index, now, tuple(untold) if known == at else ())
        end = first + (spell.end - 1 - first) // REPORT_S * REPORT_S
        if known > at:
            # It is of use even where the village was lost again meanwhile.
            yield Seen(min(known, _arrival(end)), village.index, None, tuple(untold))
        untold = []
        last = end, spell
    if last is not None:
        yield from _silence(village, *last, village.settings.end)


def _arrival(made: int) -> int:
    return -(-(made + LATE_S) // TICK_OF_SIMULATION) * TICK_OF_SIMULATION


def _silence(village: SimulatedVillage, end: int, spell: Spell, until: int) -> Iterator[Seen]:
    """What is seen after the last report, which was made at `end`, until the next one arrives."""
    heard = _arrival(end)
    for after, view in (
        (3 * REPORT_S // 2, SlotView(village.slot, spell.state, spell.begin, heard)),
        (3 * REPORT_S, SlotView(village.slot, NO_DATA, end)),
    ):
        if heard + after + 1 < until:
            yield Seen(heard + after + 1, village.index, view)


def villages_of(settings: SimulationSettings) -> list[SimulatedVillage]:
    """The villages of a simulation in which something was installed."""
    chosen = places(settings.villages)
    world = World(settings, chosen)
    villages = [world.village(number) for number in range(len(chosen))]
    return [village for village in villages if village.spells]


def place_of(village: SimulatedVillage) -> AlertPlace:
    hours = GENSET if village.power == "night_genset" else None
    return AlertPlace(
        *(village.slot, village.code, village.code[:6], village.code[:4]),
        *(village.provider, village.link, hours),
    )


def settings_in(folder: Path, more: str = "") -> AlertSettings:
    (folder / "alerts.toml").write_text(CONFIG + more)
    return load_settings(folder)


def cuts_of(villages: Iterable[SimulatedVillage], state: str, least: int) -> list[tuple[int, int]]:
    """Times in which at least so many villages had a state, exactly alike."""
    alike = Counter(
        (spell.begin, spell.end)
        for village in villages
        for spell in village.spells
        if spell.state == state
    )
    return sorted(span for span, count in alike.items() if count >= least)


def play(
    folder: Path,
    villages: Sequence[SimulatedVillage],
    begin: int,
    end: int,
    *,
    more: str = "",
    own: bool = True,
) -> AlertRecords:
    """Show the alerts what is known at each tick.

    Args:
        own: the ingest sees that its broker is not reached.
    """
    settings = settings_in(folder, more)
    records = open_records(folder)
    post = Post(settings, records)
    watch = Watch(settings, records, post)
    coming = heapq.merge(*map(seen_of, villages))
    following = next(coming, None)
    views: dict[int, SlotView] = {}
    post.places = {village.slot: place_of(village) for village in villages}
    broken = cuts_of(villages, "broker", max(3, len(villages) // 2)) if own else []
    for now in range(begin, end, TICK_S):
        changes: list[Change] = []
        while following is not None and following.at <= now:
            if following.view is not None:
                views[following.index] = following.view
            changes += following.changes
            following = next(coming, None)
        view = ProvinceView(list(views.values()), changes=changes)
        view.own = dict((BROKER, b) for b, e in broken if b + 180 <= now < e)
        watch.tick(now, view, post.places)
    return records


Found = list[tuple[Alert, AlertMember]]


def alerts_of(records: AlertRecords, family: str = "down") -> dict[str, Found]:
    """By slot, the alerts of a family in which it is."""
    found: dict[str, Found] = {}
    for alert in records.alerts_since(0):
        if alert.family == family and alert.scope != "own":
            for member in records.members(alert.id):
                found.setdefault(member.member, []).append((alert, member))
    return found


class Together(NamedTuple):
    """What many villages lost at once, and the messages of the alerts that hold it."""

    begin: int
    villages: int
    messages: int


def backbone_cuts(
    records: AlertRecords, villages: Sequence[SimulatedVillage], least: int, end: int
) -> list[Together]:
    """The cuts of a provider's backbone that were over before `end`."""
    alerted, found = alerts_of(records), []
    for cut in cuts_of(villages, "provider", least):
        if cut[1] > end:
            continue
        hit = [v.slot for v in villages if Spell(*cut, "provider") in v.spells]
        found.append(_together(records, alerted, hit, cut[0], 400))
    return found


def storms(
    records: AlertRecords,
    settings: SimulationSettings,
    villages: Sequence[SimulatedVillage],
    least: int,
) -> list[Together]:
    """The storms over a district that cut at least so many villages for an hour or more."""
    chosen = places(settings.villages)
    alerted, found = alerts_of(records), []
    for district, begin, end in World(settings, chosen).storms:
        hit = [
            village.slot
            for village in villages
            if chosen[village.index].district == district
            and any(
                begin <= since < begin + 900 and until == end for since, until in _outages(village)
            )
        ]
        if len(hit) >= least and end < settings.end - 3600:
            found.append(_together(records, alerted, hit, begin, 1300))
    return found


def _together(
    records: AlertRecords, alerted: dict[str, Found], slots: Iterable[str], begin: int, within: int
) -> Together:
    hit = set(slots)
    ids = {
        alert.id
        for slot in hit
        for alert, member in alerted.get(slot, ())
        if abs(member.begin - begin) <= within
    }
    return Together(begin, len(hit), sum(len(records.of_alert(id)) for id in ids))


class Verdict:
    """Outages that had to be alerted, those that were not or not once, and alerts without one."""

    def __init__(self) -> None:
        self.due = self.alerts = 0
        self.missed: list[tuple[str, int, int]] = []
        self.twice: list[tuple[str, int, int]] = []
        self.invented: list[tuple[str, int, int]] = []


def judge(
    records: AlertRecords, villages: Iterable[SimulatedVillage], after_s: int, end: int
) -> Verdict:
    """Compare what was alerted with what was true.

    An outage must be alerted if it lasted for the rule's time and a tick, in hours in which the
    village is expected to be up and the own side works. It may be alerted if it was silent for so
    long, which is up to two reports more.
    """
    verdict, alerted = Verdict(), alerts_of(records)
    holds = [(b, e or end) for b, e in records.holds(0)]
    for village in villages:
        runs, every = _outages(village), _outages(village, heard=True)
        its = alerted.get(village.slot, [])
        verdict.alerts += len(its)
        for begin, until in runs:
            until = min(until, end)
            counted = _counted(village, begin, until, holds)
            if counted < after_s + TICK_S:
                continue
            verdict.due += 1
            began = {a.id for a, m in its if begin - 2 * REPORT_S <= m.begin < until}
            over = {
                a.id
                for a, m in its
                if 2
                * _counted(village, max(m.begin, begin), min(m.recovered_at or end, until), holds)
                > counted
            }
            if not over:
                verdict.missed.append((village.slot, begin, until))
            elif len(began | over) > 1:
                verdict.twice.append((village.slot, begin, until))
        for _alert, member in its:
            over = min(member.recovered_at or end, end)
            down = sum(
                _counted(village, max(b, member.begin), min(e, over), [])
                for b, e in every
                if b < over and e > member.begin
            )
            if down < after_s - 2 * REPORT_S:
                verdict.invented.append((village.slot, member.begin, over))
    return verdict


def _outages(village: SimulatedVillage, *, heard: bool = False) -> list[tuple[int, int]]:
    """When it was down.

    Args:
        heard: from the beginning; else once it was online for so long that it surely reported.
    """
    runs: list[tuple[int, int]] = []
    for spell in village.spells:
        if spell.state in ONLINE:
            heard = heard or spell.end - spell.begin >= REPORT_S
        if spell.state in ONLINE or not heard:
            continue
        if runs and runs[-1][1] == spell.begin:
            runs[-1] = runs[-1][0], spell.end
        else:
            runs.append((spell.begin, spell.end))
    return runs


def _counted(
    village: SimulatedVillage, begin: int, end: int, holds: Sequence[tuple[int, int]]
) -> int:
    """The longest time at a stretch that counts, without what the holds cover."""
    place = place_of(village)
    best = 0
    if place.hours is None:
        pieces = [(begin, end)]
    else:
        opens, closes = place.hours
        first = (begin + 8 * 3600) // 86400 * 86400 - 8 * 3600
        pieces = [
            (max(begin, day + opens), min(end, day + closes))
            for day in range(first, end + 1, 86400)
        ]
    for b, e in pieces:
        held = sum(max(0, min(e, he) - max(b, hb)) for hb, he in holds)
        best = max(best, e - b - held)
    return best
