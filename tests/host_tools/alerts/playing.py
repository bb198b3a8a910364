"""Plays a simulated province to the alerts, and judges what they sent by what was true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from host_tools.alerts.places import AlertPlace
from host_tools.alerts.post import Post
from host_tools.alerts.records import Alert, AlertMember, AlertRecords, open_records
from host_tools.alerts.settings import AlertSettings, load_settings
from host_tools.alerts.view import BROKER, ProvinceView, SlotView
from host_tools.alerts.watch import Watch
from host_tools.simulate.province import places
from host_tools.simulate.world import ONLINE, SimulatedVillage, SimulationSettings, World
from host_tools.wire.vocabulary import NO_DATA

BEGIN = 1_767_196_800  # 2026-01-01 00:00 WITA
REPORT_S = 300
TICK_S = 300
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


class Known:
    """What the province knows of a village at each moment: its reports come while it is online."""

    def __init__(self, village: SimulatedVillage) -> None:
        self.slot = village.slot
        self._spells = village.spells
        self._phase = village.index * 37 % REPORT_S
        self._at = 0

    def view(self, now: int) -> SlotView | None:
        spells = self._spells
        while self._at + 1 < len(spells) and spells[self._at + 1].begin <= now:
            self._at += 1
        number = self._at
        last = now - (now - self._phase) % REPORT_S
        while number >= 0:
            spell = spells[number]
            last = min(last, spell.end - 1 - (spell.end - 1 - self._phase) % REPORT_S)
            if spell.state in ONLINE and last >= spell.begin:
                break
            number -= 1
        else:
            return None
        if now - last > 3 * REPORT_S:
            return SlotView(self.slot, NO_DATA, last)
        quiet = last if now - last > 1.5 * REPORT_S else None
        return SlotView(self.slot, spell.state, spell.begin, quiet)


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
    known = [Known(village) for village in villages]
    post.places = {village.slot: place_of(village) for village in villages}
    broken = cuts_of(villages, "broker", max(3, len(villages) // 2)) if own else []
    for now in range(begin, end, TICK_S):
        view = ProvinceView([its for its in (k.view(now) for k in known) if its is not None])
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
