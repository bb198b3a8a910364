"""Journals that lose all, their end, or reports that nobody has stored yet."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.system.audit import audit, measured
from tests.world.plant import Agent, Key, Plant

_DEVICES = ("micropython", "cpython")
_STREAM_BEGAN, _NEW, _LOST = 6, 1, 2
_DROPPED, _FULL = 5, 1
# The least that an agent takes: three segments.
_SMALL = {"journal.capacity": 36864, "journal.segment": 12288}


def _findings(plant: Plant, agent: Agent, kind: str) -> list[tuple[bytes, int, int, object]]:
    """(stream, first seq, last seq, detail) of each finding of a kind at a device's slot."""
    rows = plant.query(
        "SELECT stream, first_seq, last_seq, detail FROM findings "
        "JOIN streams ON streams.id = stream_id JOIN slots ON slots.id = streams.slot_id "
        "WHERE slot = ? AND kind = ? ORDER BY stream, first_seq",
        agent.slot,
        kind,
    )
    return [(*row, json.loads(detail) if detail else None) for *row, detail in rows]


def test_a_device_that_lost_its_journal_begins_a_new_stream(tmp_path: Path) -> None:
    with Plant(tmp_path / "plant", _DEVICES) as plant:
        plant.start()
        plant.wait_for_reports(3)
        plant.settle()
        before = {agent.slot: agent.streams() for agent in plant.agents}
        for agent in plant.agents:
            shutil.rmtree(agent.journal)
            agent.accepted.replaced()
            agent.start()
        plant.wait_for_reports(3)
        plant.finish()
        evidence = audit(plant)
        for agent in plant.agents:
            (old,) = before[agent.slot]
            (new,) = set(agent.streams()) - {old}
            # The record of when it was last alive still names the old one, but not its end.
            events = sorted(evidence.events(agent.slot, _STREAM_BEGAN), key=lambda e: e[0] != old)
            assert events == [(old, 1, {1: _NEW}), (new, 1, {1: _LOST, 2: old})]
            assert _findings(plant, agent, "stream_lost") == [
                (new, 1, 1, {"before": old.hex(), "last_seq": None})
            ]


def _go_back_in_time(plant: Plant, tmp_path: Path, lost: int) -> None:
    """Have the devices' flash restored from a copy, older by so many reports than what is stored.

    They stand still afterwards."""
    plant.start()
    plant.wait_for_reports(2)
    plant.settle()
    for agent in plant.agents:
        shutil.copytree(agent.journal, tmp_path / agent.slot)
        plant.be_offline(agent, "reports", lost)
        agent.start()
    plant.settle()
    for agent in plant.agents:
        shutil.rmtree(agent.journal)
        shutil.copytree(tmp_path / agent.slot, agent.journal)
        agent.accepted.replaced()


def test_a_device_whose_flash_was_restored_begins_a_new_stream(tmp_path: Path) -> None:
    with Plant(tmp_path / "plant", _DEVICES) as plant:
        _go_back_in_time(plant, tmp_path, lost=5)
        first = {agent.slot: agent.streams() for agent in plant.agents}
        # They hear of the province before they have something to report.
        for agent in plant.agents:
            agent.configure({"cadence.sample_s": 3600, "cadence.round_s": 60})
            agent.start()
        plant.wait_until(
            lambda: all("a new stream begins" in agent.text for agent in plant.agents), "heard"
        )
        plant.settle()
        for agent in plant.agents:
            agent.configure({"cadence.sample_s": 1, "cadence.round_s": 1})
            agent.start()
        plant.wait_for_reports(2)
        plant.finish()
        # The count of its starts went back as well. So its first birth may be a known one with
        # other bytes, unless it has heard of the province's reports before.
        births = [
            (f"desa/1/{agent.slot[:4]}/{agent.slot}/birth", reason)
            for agent in plant.agents
            for reason in ("conflict", "replay")
        ]
        evidence = audit(plant, quarantined=births)
        for agent in plant.agents:
            (old,) = first[agent.slot]
            (new,) = set(agent.streams()) - {old}
            stream, seq, detail = next(
                event for event in evidence.events(agent.slot, _STREAM_BEGAN) if event[0] == new
            )
            last = detail[3]
            assert (seq, detail) == (1, {1: _LOST, 2: old, 3: last})
            # What it still knows of the old stream ends before what the province has of it.
            assert 0 < last <= max(evidence.streams[agent.slot, old]) - 5
            assert _findings(plant, agent, "stream_lost") == [
                (new, 1, 1, {"before": old.hex(), "last_seq": last})
            ]


def test_what_a_device_reports_before_it_hears_that_its_flash_was_restored_is_kept(
    tmp_path: Path,
) -> None:
    """It takes seqs again that the province has; no report may vanish for that."""
    lost = 80
    with Plant(tmp_path / "plant", _DEVICES) as plant:
        _go_back_in_time(plant, tmp_path, lost)
        # One makes fewer reports than were lost, the other more.
        for agent, reports in zip(plant.agents, (70, 150), strict=True):
            plant.be_offline(agent, "reports", reports)
            agent.accepted.look()
            assert len(agent.accepted.rewritten) >= min(reports, lost)
        again = {
            (agent.slot, *key): agent.accepted.reports[key]
            for agent in plant.agents
            for key in agent.accepted.rewritten
        }
        for agent in plant.agents:
            agent.start()

        def stored() -> Counter[tuple[str, bytes]]:
            return Counter((key[0], measured(message)) for key, message in plant.stored().items())

        def missing() -> list[Key]:
            there = stored()
            return [key for key in again if (key[0], measured(again[key])) not in there]

        plant.wait_for_reports(2)
        plant.wait_until(lambda: not missing(), lambda: f"stored: {missing()[:9]}")
        times = stored()
        assert {times[key[0], measured(message)] for key, message in again.items()} == {1}


def test_what_a_full_journal_drops_is_a_declared_hole(tmp_path: Path) -> None:
    """Of the third, which overflows again and again, the report that declared the first loss is
    lost as well."""
    with Plant(tmp_path / "plant", (*_DEVICES, "micropython"), _SMALL) as plant:
        gone = _overflow(plant, times=(1, 1, 4))
        evidence = audit(plant, dropped=gone)
        for agent in plant.agents[:2]:
            holes = [seq for slot, _, seq in gone if slot == agent.slot]
            ((stream, first, last, detail),) = _findings(plant, agent, "dropped")
            assert last == max(holes) and detail == {"reason": _FULL}
            # It may not have heard that the first ones are stored: then it names them as well.
            stored = evidence.streams[agent.slot, stream].keys()
            assert first <= min(holes) and set(range(first, min(holes))) <= stored
            ((_, _, events),) = evidence.events(agent.slot, _DROPPED)
            assert events == {1: _FULL, 2: [first, last]}


def _overflow(plant: Plant, times: Sequence[int]) -> set[Key]:
    """Have devices report some, overflow while they are cut off, and deliver what they kept.

    Args:
        times: how often each gives up a segment.

    Returns:
        What is lost by that; all is settled and stopped.
    """
    plant.start()
    plant.wait_for_reports(2)
    plant.settle()
    gone: set[Key] = set()
    for agent, count in zip(plant.agents, times, strict=True):
        plant.be_offline(agent, "losses", count)
        held = agent.present()
        (stream,) = {stream for stream, _ in held}
        newest = max(seq for _, seq in held)
        gone |= {
            (agent.slot, stream, seq) for seq in range(1, newest) if (stream, seq) not in held
        }
    gone -= plant.stored().keys()
    for agent in plant.agents:
        agent.start()
    plant.wait_for_reports(2)
    plant.finish(gone)
    return gone
