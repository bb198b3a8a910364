"""What the settings of a simulation mean for each village: link, power, devices, states.

Everything follows from the settings: the same ones give the same world in every process.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import _
from host_tools.common.times import WITA_S
from host_tools.simulate import regimes as r

FILE = "simulation.json"
POWER, AGENT, UP, DEGRADED = "power", "agent", "up", "degraded"
OFF = (POWER, AGENT)
ONLINE = (UP, DEGRADED)  # the broker is reached in these states
# The first rung of the ladder that fails is the state.
_LADDER = ("interface", "gateway", "provider", "dns", "portal", "tls", "broker", DEGRADED)


@dataclass(frozen=True)
class SimulationSettings:
    """What a simulation is made from; kept in the province as simulation.json."""

    villages: int
    days: int
    seed: int
    begin: int
    report_every: int = 300

    @property
    def end(self) -> int:
        return self.begin + self.days * r.DAY

    @property
    def step(self) -> int:
        """Seconds between samples."""
        return self.report_every // r.SAMPLES

    def save(self, directory: Path) -> None:
        (directory / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, directory: Path) -> SimulationSettings:
        """Raises ProvinceError: it is no simulated province."""
        try:
            return cls(**json.loads((directory / FILE).read_text()))
        except (FileNotFoundError, NotADirectoryError):
            raise ProvinceError(
                _(
                    "{directory} is not a simulated province (no {file}); make one with 'desalink "
                    "simulate DIR'."
                ).format(directory=directory, file=FILE)
            ) from None


class ChosenVillage(NamedTuple):
    """A village's code and district."""

    code: str
    district: str


class Spell(NamedTuple):
    """A state from-to, Unix seconds."""

    begin: int
    end: int
    state: str


class Run(NamedTuple):
    """One run of an agent. begin: its first sample; off: since when nothing ran before it.

    reset: reset cause by name. wiped: the journal before it is lost.
    """

    begin: int
    end: int
    device: int
    off: int | None
    reset: str
    wiped: bool = False


@dataclass(frozen=True)
class SimulatedDevice:
    """A device of a village, made from its seed."""

    seed: bytes
    enrolled_at: int
    revoked_at: int | None = None


@dataclass(frozen=True)
class SimulatedVillage:
    """A village and all that happens in it.

    spells: every state from its installation to the end, off times included.
    wrong_clock: (from, to, error in s), None where the clock is right.
    """

    index: int
    code: str
    link: str
    provider: str
    power: str
    special: str
    settings: SimulationSettings
    spells: Sequence[Spell] = ()
    runs: Sequence[Run] = ()
    devices: Sequence[SimulatedDevice] = ()
    wrong_clock: tuple[int, int, int] | None = None
    rng: random.Random = field(default_factory=random.Random, compare=False)

    @property
    def slot(self) -> str:
        return f"{self.code}-1"

    def clock_error(self, at: int) -> int:
        """By how many seconds the device's clock is ahead at an instant."""
        begin, end, error = self.wrong_clock or (0, 0, 0)
        return error if begin <= at < end else 0


def dealt(rng: random.Random, shares: Mapping[str, float], count: int, rest: str) -> list[str]:
    """A name for each of `count` villages: by their shares, each once at least, then the rest."""
    names = list(shares)
    names += [
        name for name, share in shares.items() for _one in range(max(0, round(share * count) - 1))
    ]
    names = names[:count] + [rest] * (count - len(names))
    rng.shuffle(names)
    return names


class World:
    """All villages of a simulation, and the faults that they share.

    Attributes:
        storms, backbones: the district or provider that a fault strikes, its begin and end.
    """

    def __init__(self, settings: SimulationSettings, places: Sequence[ChosenVillage]) -> None:
        self.settings = settings
        self.places = places
        rng = random.Random(f"{settings.seed}/world")
        count = len(places)
        self._links = dealt(rng, {n: k.share for n, k in r.LINKS.items()}, count, "4g")
        self._powers = dealt(rng, {n: k.share for n, k in r.POWERS.items()}, count, "grid")
        self._specials = dealt(rng, r.SPECIALS, count, r.ORDINARY)
        self._providers = [rng.choice(r.LINKS[link].providers) for link in self._links]
        self.storms = self._shared(rng, r.STORMS, r.STORM_S, [p.district for p in places])
        self.backbones = self._shared(rng, r.BACKBONE_CUTS, r.BACKBONE_S, self._providers)
        self._broker = self._shared(rng, r.BROKER_CUTS, r.BROKER_S, [""])

    def _shared(
        self, rng: random.Random, a_month: float, length: tuple[int, int], targets: Sequence[str]
    ) -> list[tuple[str, int, int]]:
        faults = []
        for _one in range(max(1, round(a_month * self.settings.days / 30))):
            begin = rng.randrange(self.settings.begin, max(self.settings.end, 1))
            faults.append((rng.choice(targets), begin, begin + rng.randint(*length)))
        return faults

    def village(self, index: int) -> SimulatedVillage:
        settings, place = self.settings, self.places[index]
        rng = random.Random(f"{settings.seed}/{place.code}")
        link, power = self._links[index], self._powers[index]
        special, provider = self._specials[index], self._providers[index]
        village = SimulatedVillage(
            index, place.code, link, provider, power, special, settings, rng=rng
        )
        if special == "not_installed" or not settings.days:
            return replace(
                village, devices=[] if special == "not_installed" else [_device(rng, 0)]
            )
        span = settings.end - settings.begin
        first = settings.begin + rng.randrange(r.HOUR)
        if special == "late_installed":
            first += int(span * rng.uniform(0.2, 0.6))
        faults = self._faults(village, rng, first)
        offs = self._offs(village, rng, first)
        devices = [_device(rng, first - r.DAY)]
        wiped: set[int] = set()
        turn = int(first + (settings.end - first) * rng.uniform(0.4, 0.7))
        if special == "replaced":
            back = turn + rng.randrange(r.HOUR, 2 * r.DAY)
            offs.append(Spell(turn, back, POWER))
            devices = [_device(rng, first - r.DAY, back), _device(rng, back)]
        elif special == "revoked":
            devices = [_device(rng, first - r.DAY, turn)]
        elif special == "silent":
            offs.append(Spell(turn, settings.end, POWER))
        elif special == "lost_journal":
            offs.append(Spell(turn, turn + rng.randint(60, 3600), POWER))
            faults.append(Spell(turn - 6 * r.HOUR, turn + 600, "provider"))
            wiped.add(turn)
        elif special in ("isolated", "blocked", "bad_flash"):
            longest = min(21 * r.DAY, (settings.end - first) // 2)
            begin = int(first + (settings.end - first) * rng.uniform(0.1, 0.3))
            end = begin + int(longest * rng.uniform(0.4, 1))
            faults.append(Spell(begin, end, "broker" if special == "blocked" else "provider"))
        wrong = None
        if special == "wrong_clock":
            wrong = (
                turn,
                turn + rng.randrange(2 * r.HOUR, 9 * r.HOUR),
                rng.choice(r.WRONG_CLOCKS),
            )
        spells = _painted(first, settings.end, faults, offs)
        return replace(
            village,
            spells=spells,
            runs=_runs(spells, rng, len(devices) > 1 and devices[1].enrolled_at, wiped),
            devices=devices,
            wrong_clock=wrong,
        )

    def _faults(self, village: SimulatedVillage, rng: random.Random, first: int) -> list[Spell]:
        """What is wrong with the link and when; may overlap."""
        settings, link = self.settings, r.LINKS[village.link]
        faults = [Spell(begin, end, "broker") for _name, begin, end in self._broker]
        faults += [
            Spell(begin, end, "provider")
            for provider, begin, end in self.backbones
            if provider == village.provider
        ]
        district = self.places[village.index].district
        for where, begin, end in self.storms:
            hit = rng.random() < link.storm
            if where == district and hit:
                faults.append(Spell(begin + rng.randrange(900), end, "provider"))
        days = (settings.end - first) / r.DAY
        weights = list(r.CAUSES.values())
        for begin in _moments(rng, first, settings.end, link.cuts * days):
            length = int(link.cut_s * rng.lognormvariate(0, 1))
            cause = rng.choices(list(r.CAUSES), weights)[0]
            faults.append(Spell(begin, begin + max(r.SHORTEST_S, length), cause))
        for midnight in _midnights(first, settings.end):
            if rng.random() < link.congestion:
                begin = midnight + r.CONGESTION_FROM + rng.randrange(-900, 1800)
                faults.append(Spell(begin, begin + rng.randint(*r.CONGESTION_S), DEGRADED))
        return faults

    def _offs(self, village: SimulatedVillage, rng: random.Random, first: int) -> list[Spell]:
        """When nothing runs and why; may overlap."""
        settings, power = self.settings, r.POWERS[village.power]
        offs = []
        if power.night:
            off = first
            for midnight in _midnights(first, settings.end):
                jitter = r.GENSET_JITTER_S
                on = midnight + r.GENSET_FROM + rng.randrange(-jitter, jitter)
                if on > off:
                    offs.append(Spell(off, on, POWER))
                off = midnight + r.GENSET_TO + rng.randrange(-jitter, jitter)
            offs.append(Spell(off, settings.end, POWER))
        days = (settings.end - first) / r.DAY
        for begin in _moments(rng, first, settings.end, power.cuts * days):
            length = int(power.cut_s * rng.lognormvariate(0, 0.8))
            offs.append(Spell(begin, begin + max(120, length), POWER))
        district = self.places[village.index].district
        for where, begin, end in self.storms:
            hit = rng.random() < r.STORM_POWER
            if where == district and hit:
                offs.append(Spell(begin, end, POWER))
        restarts = 5.0 if village.special == "restarts" else 0.05
        for begin in _moments(rng, first, settings.end, restarts * days):
            offs.append(Spell(begin, begin + rng.randint(r.SHORTEST_S, 90), AGENT))
        return offs


def _device(
    rng: random.Random, enrolled_at: int, revoked_at: int | None = None
) -> SimulatedDevice:
    seed = hashlib.sha256(b"desalink simulate" + rng.randbytes(32)).digest()
    return SimulatedDevice(seed, enrolled_at, revoked_at)


def _moments(rng: random.Random, begin: int, end: int, expected: float) -> list[int]:
    """Random moments, as many as expected on average, ascending."""
    count = int(expected) + (rng.random() < expected % 1)
    return sorted(rng.randrange(begin, end) for _one in range(count)) if begin < end else []


def _midnights(begin: int, end: int) -> Iterable[int]:
    """The midnights of WITA from the day of begin to the day of end."""
    return range((begin + WITA_S) // r.DAY * r.DAY - WITA_S, end, r.DAY)


def _painted(begin: int, end: int, faults: Iterable[Spell], offs: Iterable[Spell]) -> list[Spell]:
    """The states from begin to end: off before any rung, a lower rung before a higher one."""
    ranks = {state: rank for rank, state in enumerate((POWER, AGENT, *_LADDER, UP))}
    edges = [(begin, ranks[UP], 1), (end, ranks[UP], -1)]
    for b, e, state in (*faults, *offs):
        b, e = max(b, begin), min(e, end)
        if b < e:
            edges += [(b, ranks[state], 1), (e, ranks[state], -1)]
    names, active = list(ranks), [0] * len(ranks)
    spells: list[Spell] = []
    before = begin
    for at, rank, change in sorted(edges):
        if at > before:
            state = names[next(number for number, count in enumerate(active) if count)]
            last = spells[-1].state if spells else ""
            # A spell that is too short to be seen belongs to the one before it.
            if spells and (last == state or at - before < r.SHORTEST_S):
                spells[-1] = spells[-1]._replace(end=at)
            # A device can only say why it started last: two off times in a row are one.
            elif last in OFF and state in OFF:
                spells[-1] = Spell(spells[-1].begin, at, POWER)
            else:
                spells.append(Spell(before, at, state))
            before = at
        active[rank] += change
    return spells


def _runs(
    spells: Sequence[Spell], rng: random.Random, replaced_at: int | bool, wiped: set[int]
) -> list[Run]:
    """The runs of the agent between the times in which nothing ran."""
    runs: list[Run] = []
    off: Spell | None = None
    begin: int | None = None
    for spell in (*spells, None):
        if spell is not None and spell.state not in OFF:
            begin = spell.begin if begin is None else begin
            continue
        end = spells[-1].end if spell is None else spell.begin
        if begin is not None:
            device = int(bool(replaced_at) and begin >= replaced_at)
            state = off.state if off else POWER
            reset = "power" if state == POWER else rng.choice(("watchdog", "soft", "panic"))
            lost = off is not None and any(off.begin <= at < off.end for at in wiped)
            # A journal that is new knows of no run before.
            new = lost or not runs or runs[-1].device != device
            before = None if off is None or new else off.begin
            runs.append(Run(begin, end, device, before, reset, lost))
            begin, off = None, None
        if spell is not None:
            off = spell
    return runs
