"""A simulated month as it is paid, beside a second calculation from the truth.

The second one shares no code with the first: it has a byte for each second of the month. It reads
nothing but the truth and the tables of contracts and events.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from host_tools.contracts.calendar import month_of
from host_tools.contracts.months import SlotMonth, count, rules_of
from host_tools.province.registry import Registry
from host_tools.simulate.contracts import CONTRACTS_FILE, EVENTS_FILE, add_contracts
from host_tools.simulate.province import found
from host_tools.simulate.storing import TrustedStore, derive_rest
from host_tools.simulate.world import SimulationSettings, World
from host_tools.store import open_database
from tests.host_tools.simulate.conftest import BEGIN, Simulated, simulate

MONTH = "2026-01"
WITA = timezone(timedelta(hours=8))
MONTH_BEGIN, MONTH_END = (
    int(datetime(2026, number, 1, tzinfo=WITA).timestamp()) for number in (1, 2)
)
LENGTH = MONTH_END - MONTH_BEGIN

OFF = ("power", "agent")
# A letter for what each state means to a contract.
MEANINGS = {
    **dict.fromkeys(("up", "degraded", "broker"), b"u"),
    **dict.fromkeys(("provider", "next_hop", "dns", "other_dns", "portal", "tls"), b"d"),
    **dict.fromkeys(("interface", "gateway"), b"e"),
    **{"power": b"p", "agent": b"a"},
}
KINDS = {
    b"u": "up",
    b"s": "short",
    b"d": "down",
    b"e": "site",
    b"p": "power",
    b"a": "agent",
    b"?": "unknown",
    b"m": "maintenance",
    b"f": "force_majeure",
    b"o": "off_hours",
}
LETTERS = {kind: letter for letter, kind in KINDS.items()}
USUAL = "power;site;agent;maintenance;force_majeure"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _fill(seconds: bytearray, begin: int, end: int, letter: bytes) -> None:
    begin, end = max(0, begin - MONTH_BEGIN), min(LENGTH, end - MONTH_BEGIN)
    if begin < end:
        seconds[begin:end] = letter * (end - begin)


def _midnight(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=WITA).timestamp())


def _alive(village: dict, at: int) -> int:
    """The last sign of life of the run that ends at a moment."""
    return max((last for _, last in village["runs"] if last <= at), default=at)


def _known(village: dict) -> bytearray:
    """Each second's true meaning, where the province was told."""
    seconds, told = bytearray(b"?" * LENGTH), bytearray(LENGTH)
    for begin, end, state, _ in village["spells"]:
        _fill(seconds, begin, end, MEANINGS[state])
    for begin, end in village["told"]:
        _fill(told, begin, end, b"\1")
    # The end of an outage comes with its length, whatever became of its samples.
    spells = village["spells"]
    for (begin, end, state, known), after in pairwise(spells):
        if state != "up" and state not in OFF and after[2] not in OFF and known:
            _fill(told, begin, end, b"\1")
    for begin, _, state, _ in spells:
        if state in OFF and MONTH_BEGIN <= begin < MONTH_END and told[begin - MONTH_BEGIN]:
            # Nobody knows better since when nothing ran than by the last sign of life.
            alive = _alive(village, begin)
            seen = MONTH_BEGIN + told.rfind(b"\1", 0, begin - MONTH_BEGIN) + 1
            _fill(seconds, max(alive, seen), begin, MEANINGS[state])
            _fill(told, max(alive, seen), begin, b"\1")
    hidden = bytes(told).translate(bytes([255, 0]) + bytes(range(2, 256)))
    merged = int.from_bytes(seconds) & ~int.from_bytes(hidden)
    nothing = int.from_bytes(hidden) & int.from_bytes(b"?" * LENGTH)
    return bytearray((merged | nothing).to_bytes(LENGTH))


class Second:
    """A slot's month: seconds by kind, and rupiah to be paid back."""

    def __init__(self, village: dict, contracts: list[dict], events: list[dict]) -> None:
        self.seconds: Counter[str] = Counter()
        self.restitution = 0
        true = _known(village)
        at = MONTH_BEGIN
        for contract in contracts:
            begin = max(MONTH_BEGIN, _midnight(contract["from"]))
            end = MONTH_END
            if contract["to"]:
                end = min(end, _midnight(contract["to"]) + 86_400)
            self._piece(village["slot"], true, at, begin, None, events)
            self._piece(village["slot"], true, begin, end, contract, events)
            at = end
        self._piece(village["slot"], true, at, MONTH_END, None, events)

    def _piece(
        self,
        slot: str,
        true: bytearray,
        begin: int,
        end: int,
        contract: dict | None,
        events: list[dict],
    ) -> None:
        contract = contract or {"provider": None, "exclusions": "", "hours": ""}
        excluded = (contract["exclusions"] or USUAL).split(";")
        means = true[begin - MONTH_BEGIN : end - MONTH_BEGIN]
        charged = b"d" + b"".join(
            LETTERS[kind] for kind in ("power", "site", "agent") if kind not in excluded
        )

        def judged(run: re.Match[bytes]) -> bytes:
            length = run.end() - run.start()
            return (b"d" if length > 300 else b"s") * length

        kinds = bytearray(
            re.sub(b"|".join(b"%c+" % letter for letter in charged), judged, bytes(means))
        )
        for kind in ("maintenance", "force_majeure"):
            if kind not in excluded:
                continue
            for event in events:
                if event["kind"] == kind and _concerns(event, slot, contract["provider"]):
                    first, last = (
                        min(max(int(datetime.fromisoformat(event[k]).timestamp()), begin), end)
                        for k in ("from", "until")
                    )
                    part = slice(first - begin, last - begin)
                    kinds[part] = re.sub(rb"[^u]", LETTERS[kind], bytes(kinds[part]))
        if contract["hours"]:
            opens, closes = (
                int(h) * 3600 + int(m) * 60
                for h, m in re.findall(r"(\d\d):(\d\d)", contract["hours"])
            )
            for midnight in range(begin, end, 86_400):
                for first, last in ((0, opens), (closes, 86_400)):
                    part = slice(midnight - begin + first, midnight - begin + last)
                    kinds[part] = b"o" * (last - first)
        its = Counter({kind: kinds.count(letter) for letter, kind in KINDS.items()})
        self.seconds += its
        working = its["up"] + its["short"]
        if contract["provider"] is None or not working + its["down"]:
            return
        price = Fraction(int(contract["price"]) * (end - begin), LENGTH)
        owed = Fraction(contract["target"].replace(",", ".")) / 100
        missing = owed - Fraction(working, working + its["down"])
        if missing > 0:
            self.restitution += int(price * missing + Fraction(1, 2))


def _concerns(event: dict, slot: str, provider: str | None) -> bool:
    if event["scope"] == "provider":
        return event["value"] == provider
    return slot.startswith(event["value"])


def _compared(simulated: Simulated, folder: Path) -> list[tuple[dict, Second, SlotMonth]]:
    found(folder, simulated.settings, simulated.villages)
    world = World(simulated.settings, simulated.places)
    add_contracts(folder, simulated.settings, simulated.villages, world)
    simulated.fill(TrustedStore(folder / "province.db"))
    month = month_of(MONTH)
    contracts, events = _rows(folder / CONTRACTS_FILE), _rows(folder / EVENTS_FILE)
    with (
        Registry.open(folder) as registry,
        open_database(folder / "province.db") as db,
    ):
        derive_rest(db)
        counted = {one.slot: one for one in count(registry, db, month, rules_of(registry, month))}
    result = []
    for village in map(json.loads, simulated.lines):
        one = counted.pop(village["slot"], None)
        its = [row for row in contracts if village["slot"].startswith(row["slot"])]
        if one is None:
            assert not village["reports"] and not its
            continue
        result.append((village, Second(village, its, events), one))
    assert not counted
    return result


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(None, id="3 days"),
        pytest.param(
            SimulationSettings(60, 31, 2, BEGIN, 1800), id="60 villages", marks=pytest.mark.slow
        ),
    ],
)
def test_minutes_and_rupiah_are_those_of_the_truth(settings, small, tmp_path: Path):
    simulated = simulate(settings, 2) if settings else small
    rupiah, kinds = 0, Counter()
    for village, second, one in _compared(simulated, tmp_path / "province"):
        assert sum(one.seconds.values()) == sum(second.seconds.values()) == LENGTH
        if not village["clock_right"]:
            continue  # nobody can place those reports rightly
        assert one.restitution == second.restitution, one.slot
        for kind in KINDS.values():
            assert one.seconds[kind] == second.seconds[kind], (one.slot, kind)
        rupiah += one.restitution
        kinds += one.seconds
    # It happened: each kind of time is there, and something is paid back.
    assert rupiah > 100_000
    assert set(kinds) == set(KINDS.values())
