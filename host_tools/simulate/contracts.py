"""Contracts and events of a simulated province, imported as an office imports its own.

Beside the province lie the tables that they come from, `contracts.csv` and `events.csv`: with the
truth they are all that a second calculation of its months needs.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from host_tools.common.times import day, iso
from host_tools.contracts import changes, events
from host_tools.contracts.calendar import month_at
from host_tools.contracts.months import rules_of
from host_tools.contracts.table import read_contracts
from host_tools.people.office_pen import open_office
from host_tools.province.contract_records import DISPUTE, FORCE_MAJEURE, MAINTENANCE
from host_tools.province.registry import Registry
from host_tools.province.settings import load
from host_tools.simulate import regimes as r
from host_tools.simulate.province import PASSPHRASE
from host_tools.simulate.world import SimulatedVillage, SimulationSettings, World, dealt

CONTRACTS_FILE, EVENTS_FILE = "contracts.csv", "events.csv"
CONTRACT_COLUMNS = (
    "slot,provider,product,medium,mbps,price,target,from,to,exclusions,hours,number".split(",")
)
EVENT_COLUMNS = "kind,scope,value,from,until,who,why".split(",")
_BY = "desalink simulate"

_Row = Sequence[object]


def add_contracts(
    directory: Path,
    settings: SimulationSettings,
    villages: Sequence[SimulatedVillage],
    world: World,
) -> None:
    """Give the province of a simulation its contracts and events, and write their tables."""
    _write(directory / CONTRACTS_FILE, CONTRACT_COLUMNS, _contracts(settings, villages))
    happened = list(_events(settings, villages, world))
    _write(directory / EVENTS_FILE, EVENT_COLUMNS, happened)
    with Registry.open(directory) as registry:
        open_office(load(directory), registry, PASSPHRASE)
        rules = rules_of(registry, month_at(settings.begin))
        table = read_contracts(directory / CONTRACTS_FILE, registry.villages(), [], rules)
        assert not table.problems, table.problems
        changes.add_all(registry, [c for _, c in table.contracts], by=_BY, now=settings.begin)
        for kind, scope, value, begin, end, who, why in happened:
            times = events.parse_time(str(begin)), events.parse_time(str(end))
            events.add(
                registry,
                str(kind),
                str(scope),
                str(value),
                *times,
                who=str(who),
                why=str(why),
                now=settings.begin,
            )


def _write(path: Path, columns: Sequence[str], rows: Iterable[_Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _contracts(
    settings: SimulationSettings, villages: Sequence[SimulatedVillage]
) -> Iterator[_Row]:
    rng = random.Random(f"{settings.seed}/contracts")
    kinds = dealt(rng, r.CONTRACTS, len(villages), r.ORDINARY)
    others = [provider for link in r.LINKS.values() for provider in link.providers]
    turn = settings.begin + max(1, settings.days // 2) * r.DAY
    for village, kind in zip(villages, kinds, strict=True):
        if kind == "none":
            continue
        price, target = (
            rng.randrange(1_100_000, 1_200_001, 5_000),
            rng.choice(("95", "98", "99,5")),
        )
        exclusions = {"all_charged": "none", "power_charged": "maintenance;force_majeure"}
        product = ("Desa 50", village.link, 50, price, target)
        terms = (exclusions.get(kind, ""), "06:00-22:00" if kind == "daytime" else "")
        last = day(turn - 1) if kind in ("handed_over", "ended") else ""
        code, provider = village.code, village.provider
        yield code, provider, *product, day(settings.begin), last, *terms, f"{code}/1"
        if kind == "handed_over":
            yield code, rng.choice(others), *product, day(turn), "", *terms, f"{code}/2"


def _events(
    settings: SimulationSettings, villages: Sequence[SimulatedVillage], world: World
) -> Iterator[_Row]:
    """A storm is a force majeure in all its regency; a provider announces a part of its cuts."""
    for district, begin, end in world.storms:
        yield (
            *(FORCE_MAJEURE, "regency", district[:4], iso(begin), iso(end)),
            *("Office of the province", "storm"),
        )
    contracted = {row[1] for row in _contracts(settings, villages)}
    for provider, begin, end in world.backbones:
        if provider in contracted:
            yield (
                *(MAINTENANCE, "provider", provider, iso(begin), iso((begin + end) // 2)),
                *(provider, "work on the backbone"),
            )
    night = settings.begin + r.DAY + 2 * r.HOUR
    yield (
        *(MAINTENANCE, "all", "", iso(night), iso(night + r.HOUR)),
        *("Office of the province", "new addresses"),
    )
    slot = villages[0].slot
    yield DISPUTE, "slot", slot, iso(night), iso(night + r.DAY), "village head", "was it power?"
