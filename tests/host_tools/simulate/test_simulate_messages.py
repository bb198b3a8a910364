"""Simulated messages are what docs/wire.md describes, and as real agents write them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import cbor2
import pycddl
import pytest

from agent.measure import report as agent_report
from agent.wire import cbor, ids
from host_tools.simulate.regimes import LINKS, POWERS, SPECIALS
from host_tools.simulate.signing import MessageSigner
from host_tools.wire import (
    Key,
    Report,
    Verifier,
    decode_columns,
    hash8,
    parse_report,
    topic_name,
)
from host_tools.wire.columns import NAMES
from host_tools.wire.envelope import split
from tests.host_tools.simulate.conftest import BEGIN, Simulated, SimulationSettings, simulate
from tests.support import ROOT

CDDL = (ROOT / "docs" / "wire.cddl").read_text()
_NUMBERS = {name: number for number, name in NAMES.items()}


def payload_of(message: bytes) -> bytes:
    return message[split(message)[1] : -66]


@pytest.fixture(scope="module")
def reports(small: Simulated) -> list[tuple[str, bytes, Report]]:
    """slot, message and content of every report that the province will store."""
    return [
        (a.slot, a.message, parse_report(payload_of(a.message)))
        for a in small.arrivals
        if a.filed and a.good
    ]


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(small):
    settings = SimulationSettings(villages=3, days=1, seed=7, begin=BEGIN)
    alone, beside = simulate(settings), simulate(settings, workers=2)
    assert alone.arrivals == beside.arrivals
    assert alone.lines == beside.lines
    assert simulate(replace(settings, seed=8)).arrivals != alone.arrivals


def test_every_regime_occurs(small):
    assert {village.link for village in small.villages} == set(LINKS)
    assert {village.power for village in small.villages} == set(POWERS)
    assert {village.special for village in small.villages} >= set(SPECIALS)


def test_messages_follow_wire_cddl_and_verify(small):
    schemas = {kind: pycddl.Schema(f"start = {kind}\n{CDDL}") for kind in ("birth", "report")}
    signers = [MessageSigner(d, v.slot) for v in small.villages for d in v.devices]
    verifier = Verifier({s.kid: Key(s.public_key, s.slot, True) for s in signers})
    for arrival in small.arrivals[::7]:
        kind = "report" if arrival.filed else "birth"
        verifier.verify(topic_name(arrival.slot, kind), arrival.message)
        payload = payload_of(arrival.message)
        schemas[kind].validate_cbor(payload)
        assert cbor.dumps(cbor.loads(payload)) == payload, "not deterministic CBOR"


def test_columns_are_as_short_as_an_agent_makes_them(reports):
    for _, message, report in reports[::5]:
        values = decode_columns(report)
        for count in ("bytes_down", "bytes_up"):
            if count in values:
                values[count] = [None if v is None else v // 1024 for v in values[count]]
        rows = [
            {_NUMBERS[name]: column[i] for name, column in values.items()} for i in range(report.n)
        ]
        assert cbor2.loads(payload_of(message))[8] == agent_report.columns(rows)


def test_each_stream_is_a_chain_without_undeclared_holes(small, reports):
    streams = defaultdict(dict)
    dropped = defaultdict(set)
    for slot, message, report in reports:
        streams[slot, report.stream][report.seq] = (message, report)
        for event in report.events:
            if event.kind == ids.DROPPED:
                first, last = event.detail[2]
                dropped[slot, report.stream].update(range(first, last + 1))
    assert any(dropped.values())
    # What was sent and has not arrived at the end may be missing, newest first.
    ended = {village.slot for village in small.villages if village.special == "isolated"}
    for key, found in streams.items():
        for seq, (_, report) in found.items():
            if seq == 1:
                assert report.prev is None
            elif seq - 1 in found:
                assert report.prev == hash8(found[seq - 1][0])
            else:
                assert seq - 1 in dropped[key] or key[0] in ended, (key, seq)


def test_reports_come_late_out_of_order_twice_and_from_clocks_that_are_not_set(small, reports):
    order = defaultdict(list)
    late = Counter()
    for arrival in small.arrivals:
        if arrival.filed and arrival.good:
            stream, seq, _, _, start = arrival.filed
            order[arrival.slot, stream].append(seq)
            late["clockless"] += start is None
            late["hours"] += start is not None and arrival.at - start > 6 * 3600
    backwards = sum(b < a for seqs in order.values() for a, b in zip(seqs, seqs[1:], strict=False))
    again = sum(len(seqs) - len(set(seqs)) for seqs in order.values())
    assert min(late["clockless"], late["hours"], backwards, again) > 20
    assert len(order) > len({slot for slot, _ in order}), "no village has a second stream"
    refused = {a.slot for a in small.arrivals if not a.good}
    special = {village.slot: village.special for village in small.villages}
    assert {special[slot] for slot in refused} == {"copied", "revoked"}
