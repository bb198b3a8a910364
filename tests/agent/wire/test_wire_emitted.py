"""What the agent really emits, held to docs/wire.cddl and read by the province's own verifier."""

import asyncio
import json
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import cbor2
import pycddl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.device.clock import Clock
from agent.journal.journal import Journal
from agent.measure.report import Reporter
from agent.wire import ids
from agent.wire.ed25519 import Signer
from boards._linux.board import Board
from host_tools import wire
from host_tools.wire import metrics_page, vocabulary
from tests import support
from tests.sim.province import Message
from tests.sim.run import SLOT, Site, life
from tests.sim.world import Upstream

_OPEN = (support.ROOT / "docs" / "wire.cddl").read_text()
_UNKNOWN = "  * unknown => any,\n"
# What is sent has no keys but those of this version: the maps are closed.
_CDDL = _OPEN.replace(_UNKNOWN, "")
_RULES = (
    "signed",
    "protected-header",
    "sig-structure",
    "report",
    "birth",
    "enrolment",
    "state",
    "ack",
)
# The first rule of a schema is the one that is validated.
_SCHEMAS = {rule: pycddl.Schema(f"start = {rule}\n{_CDDL}") for rule in _RULES}


def hold(rule: str, data: bytes) -> None:
    """Data must follow a rule of wire.cddl, and be the one deterministic encoding of itself."""
    _SCHEMAS[rule].validate_cbor(data)
    assert cbor2.dumps(cbor2.loads(data), canonical=True) == data


def hold_signed(rule: str, topic: str, message: bytes) -> None:
    """A message, its protected header, what was signed and its payload must follow their rules."""
    hold("signed", message)
    protected, _, payload, _ = cbor2.loads(message).value
    hold("protected-header", protected)
    hold("sig-structure", wire.sign1_structure(protected, topic.encode(), payload))
    hold(rule, payload)


class Emitted(NamedTuple):
    """All of an hour with an outage and a reconnection."""

    messages: list[Message]
    refused: list[str]
    states: list[bytes]
    proof: bytes
    acks: list[bytes]

    def of(self, kind: type) -> list[Message]:
        return [message for message in self.messages if isinstance(message.content, kind)]


def _emitted(folder: Path, interpreter: str) -> Emitted:
    upstream = Upstream()
    port = support.free_port()
    targets = {"link.gateway": "127.0.0.1", "link.targets": [f"127.0.0.1:{upstream.port}"]}
    site = Site(folder, "127.0.0.1", port, targets)
    province = site.province()
    options = {"interpreter": interpreter, "heapsize": "1m"}
    with life(site, province, port, **options) as (broker, device):
        while device.next_minute() < 70:
            site.village.minute(device.minute)
            if device.minute == 20:
                upstream.refuse()
            if device.minute == 30:
                upstream.answer()
            if device.minute == 40:
                province.close()
                broker.restart()
                province.connect("127.0.0.1", port)
            province.minute(device.now)
        device.finish()
    upstream.refuse()
    # Stopping in order, the agent says so last of all.
    assert province.states[-1:] == [b"offline"]
    return Emitted(province.messages, province.refused, province.states, site.proof, province.acks)


def _every_report_follows_the_cddl(emitted: Emitted) -> None:
    reports = emitted.of(wire.Report)
    assert len(reports) >= 14
    for message in reports:
        hold_signed("report", message.topic, message.signed)


def _every_birth_follows_the_cddl_and_counts_connections(emitted: Emitted) -> None:
    births = emitted.of(wire.Birth)
    # It is retained: the province gets it again when it comes back to the broker.
    assert sorted({message.content.conn for message in births}) == [1, 2]
    for message in births:
        hold_signed("birth", message.topic, message.signed)


def _the_proof_of_possession_follows_the_cddl(emitted: Emitted) -> None:
    hold_signed("enrolment", wire.enrol_topic(SLOT), emitted.proof)


def _states_follow_the_cddl(emitted: Emitted) -> None:
    assert {b"online", b"offline"} == set(emitted.states)
    for state in emitted.states:
        _SCHEMAS["state"].validate_cbor(cbor2.dumps(state.decode()))


def _the_province_s_acks_follow_the_cddl(emitted: Emitted) -> None:
    assert emitted.acks
    for ack in emitted.acks:
        hold("ack", ack)
    hold("ack", wire.encode_ack(b"abcd", 3, [(5, 5), (7, 4294967295)], 1_800_000_000, (1, 2)))


def _the_province_verifies_and_understands_everything(emitted: Emitted) -> None:
    assert emitted.refused == []
    kinds = {event.kind for m in emitted.of(wire.Report) for event in m.content.events}
    assert kinds >= {
        ids.STREAM_BEGAN,
        ids.BOOTED,
        ids.CLOCK_SET,
        ids.OUTAGE_BEGAN,
        ids.OUTAGE_ENDED,
        ids.STOPPED,
    }
    named = {number for number, *_ in vocabulary.METRICS}
    assert all(named >= set(m.content.metrics) for m in emitted.of(wire.Report))


def _a_device_s_message_is_good_for_its_own_topic_only(emitted: Emitted) -> None:
    key = emitted.proof[emitted.proof.index(b"\x02\x58\x20") + 3 :][:32]
    message = emitted.of(wire.Report)[0]
    assert wire.verify_sign1(message.signed, key, message.topic.encode())
    for topic in (message.topic.replace("report", "birth"), message.topic.replace("-1", "-2")):
        with pytest.raises(wire.Refused) as caught:
            wire.verify_sign1(message.signed, key, topic.encode())
        assert caught.value.reason is wire.Reason.BAD_SIGNATURE


# One test, as each process of the tests would make it all anew.
@pytest.mark.parametrize("interpreter", ["cpython", "micropython"])
def test_what_an_agent_sends_follows_the_cddl(tmp_path: Path, interpreter: str) -> None:
    emitted = _emitted(tmp_path, interpreter)
    for holds in (
        _every_report_follows_the_cddl,
        _every_birth_follows_the_cddl_and_counts_connections,
        _the_proof_of_possession_follows_the_cddl,
        _states_follow_the_cddl,
        _the_province_s_acks_follow_the_cddl,
        _the_province_verifies_and_understands_everything,
        _a_device_s_message_is_good_for_its_own_topic_only,
    ):
        holds(emitted)


_DETAIL = st.dictionaries(
    st.integers(1, 30),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**31), 2**40),
        st.binary(max_size=8),
        st.lists(st.none() | st.integers(0, 2**32), max_size=3),
        st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), max_size=4),
    ),
    max_size=4,
)
_COUNTS = (ids.BYTES_DOWN, ids.BYTES_UP)  # never negative
_ROWS = st.lists(
    st.dictionaries(
        st.sampled_from([number for number, *_ in vocabulary.METRICS]), st.integers(-1000, 2**40)
    ).map(lambda row: {k: abs(v) if k in _COUNTS else v for k, v in row.items()}),
    max_size=60,
)
_EVENTS = st.lists(st.tuples(st.integers(1, 99), st.integers(0, 9999), _DETAIL), max_size=9)


def in_kib(values):
    """Bytes of samples as they arrive: whole KiB, what is left over with the next."""
    told = [None if value is None else 0 for value in values]
    total = 0
    for i, value in enumerate(values):
        if value is not None:
            before = total >> 10
            total += value
            told[i] = ((total >> 10) - before) * 1024
    return told


@settings(max_examples=60)
@given(rows=_ROWS, events=_EVENTS, unix=st.none() | st.integers(1_790_000_000, 2**32 - 1))
def test_whatever_is_measured_arrives_as_it_was_measured(rows, events, unix):
    topic = wire.topic_name(SLOT, "report")
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(str(Path(folder) / "journal"))
        journal.open()
        clock = Clock(Board(folder))
        if unix is not None:
            clock.set(unix, ids.CLOCK_ACK)
        signer = Signer(bytes(32))
        reporter = Reporter(journal, clock, signer, topic, asyncio.Lock())
        for i, row in enumerate(rows):
            reporter.add(dict(row), 1000 + 60 * i, 60)
        for event in events:
            reporter.event(event[0], event[1], event[2])
        message = journal.read(asyncio.run(reporter.close()))
        journal.close()
    hold_signed("report", topic, message)
    payload, _ = wire.verify_sign1(message, signer.public, topic.encode())
    report = wire.parse_report(payload)
    assert report.n == len(rows)
    columns = wire.decode_columns(report)
    for number, name, *_ in vocabulary.METRICS:
        values = [row.get(number) for row in rows]
        if number in _COUNTS:
            values = in_kib(values)
        assert columns.get(name, [None] * len(rows)) == values
    told = [(report.up + e.offset, e.kind, e.detail) for e in report.events]
    assert [(at, kind, detail) for kind, at, detail in events] == told[: len(events)]
    assert (report.start is None) == (unix is None)


def test_a_key_of_a_later_version_would_be_noticed():
    assert _OPEN.count(_UNKNOWN) == 10
    report = {1: b"abcd", 2: 1, 3: None, 4: 1, 5: 0, 6: None, 8: {1: 1}}
    hold("report", cbor2.dumps(report, canonical=True))
    with pytest.raises(pycddl.ValidationError):
        hold("report", cbor2.dumps(report | {99: 0}, canonical=True))


class _StillClock(Clock):
    """Five minutes after the start of the first sample, for good."""

    def up(self):
        return 310

    def now(self):
        return 1_790_006_700

    def quality(self):
        return [12, ids.CLOCK_NTP]


def _made_by_the_agent(seed: bytes, topic: str, folder: Path, monkeypatch) -> bytes:
    """The report of the example in docs/wire.md, from measured values."""
    journal = Journal(str(folder / "journal"))
    with monkeypatch.context() as patch:
        patch.setattr("os.urandom", lambda n: bytes.fromhex("a1b2c3d4")[:n])  # the stream
        journal.open()
    clock = _StillClock(Board(str(folder)))
    reporter = Reporter(journal, clock, Signer(seed), topic, asyncio.Lock())
    measured = [(452, 123456), (455, 7890), (None, 0), (454, 0), (454, 0)]
    for i, (rtt, down) in enumerate(measured):
        row = {ids.STATE: ids.UP, ids.BYTES_DOWN: down, ids.CLIENTS: 12}
        if rtt is not None:
            row[ids.RTT_GW_MEAN] = rtt
        reporter.add(row, 10 + 60 * i, 60)
    message = journal.read(asyncio.run(reporter.close()))
    journal.close()
    return message


def _block(page: str, title: str) -> bytes:
    """The bytes of the first indented block under a heading; what follows `;` is for people."""
    lines = page.partition(f"## {title}\n")[2].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("    "))
    block = []
    for line in lines[first:]:
        if not line.startswith("    "):
            break
        block.append(line.partition(";")[0])
    return bytes.fromhex("".join(block))


def test_the_example_on_the_page_is_what_the_agent_makes(tmp_path, monkeypatch):
    file = json.loads((support.ROOT / "tests" / "vectors" / "report-example.json").read_text())
    signed, _, decoded = file["vectors"]
    page = (support.ROOT / "docs" / "wire.md").read_text()
    message = _block(page, "A worked example")
    topic = bytes.fromhex(signed["aad"]).decode()
    seed = bytes.fromhex(signed["seed"])
    assert message.hex() == signed["message"]
    assert message == _made_by_the_agent(seed, topic, tmp_path, monkeypatch)
    hold_signed("report", topic, message)
    payload, kid = wire.verify_sign1(message, Signer(seed).public, topic.encode())
    assert payload.hex() == signed["payload"] == decoded["hex"]
    # What the page says of it in words.
    for told in (seed.hex(), Signer(seed).public.hex(), kid.hex(), topic):
        assert told in page
    assert wire.hash8(message).hex() in page
    structure = wire.sign1_structure(message[3:16], topic.encode(), payload)
    assert re.sub(r"\s", "", structure.hex()) in re.sub(r"\s", "", page)
    columns = wire.decode_columns(wire.parse_report(payload))
    assert columns["rtt_gw_mean"] == [452, 455, None, 454, 454]
    assert columns["bytes_down"] == [120 * 1024, 8 * 1024, 0, 0, 0]


def test_the_page_of_metrics_is_the_vocabulary():
    assert (support.ROOT / "docs" / "metrics.md").read_text() == metrics_page.render()
