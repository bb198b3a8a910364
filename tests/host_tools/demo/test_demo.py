"""The demo as a newcomer runs it: real broker, ingest and agents, with each possible end."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

from agent.journal.journal import Journal
from agent.link import probes
from agent.wire import ids
from host_tools.demo import faults, journals
from host_tools.demo.provider import Uplink
from tests.support import PATIENCE_S, ROOT

DESALINK = "from host_tools.cli import main; main()"

SLOTS = [f"640311200{number}-1" for number in range(1, 5)]
CUT, KILLED = SLOTS[1], SLOTS[2]

# Broker, ingest, pages, surroundings, four agents.
CHILDREN = 8

# Rounds are a second apart; what is more is the machine, which tests share.
TOLERANCE = timedelta(seconds=10)


@contextmanager
def demo(tmp_path: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A demo in a session of its own, whose temporary files lie in tmp_path/tmp."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", DESALINK, "demo", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read a demo's output up to the line with a text."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"the demo never said {text!r}:\n{said}")


def health(said: str) -> str:
    """What the pages answer at the address that was printed, as soon as they do."""
    found = re.search(r"the wall: (http://127\.0\.0\.1:\d+) \(name demo, password \S+\)", said)
    assert found, said
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{found[1]}/health", timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.2)


def children_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def assert_gone(children: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert [child.cmdline() for child in alive] == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[dict, str, list[str]]:
    """The summary of a demo of one minute, what it said, and what it left in its folder."""
    tmp_path = tmp_path_factory.mktemp("demo")
    summary = tmp_path / "summary.json"
    with demo(tmp_path, "--minutes", 1, "--summary", summary) as process:
        said = read_until(process, "all four villages report")
        children = children_of(process)
        rest, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said + rest
    assert len(children) == CHILDREN
    assert_gone(children)
    return json.loads(summary.read_text()), said + rest, os.listdir(tmp_path / "tmp")


def times(entry: dict) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(entry["begin"]), datetime.fromisoformat(entry["end"])


@pytest.mark.slow
def test_all_that_the_devices_journaled_is_stored_and_each_event_is_one_line(finished):
    summary, said, left = finished
    assert list(summary["slots"]) == SLOTS
    for slot in summary["slots"].values():
        # A report every ten seconds, and one for each beginning and end.
        assert slot["journaled"] >= 5
        assert slot["stored"] == slot["journaled"]
        assert slot["gaps"] == 0
    assert summary["problems"] == []
    for line in (
        "cutting Payung-Payung's upstream",
        "Payung-Payung's upstream is back",
        "killing Teluk Alulu's agent",
        "killing the broker",
        "Nothing was lost",
        "files about 4 villages",
        "Every figure of it follows from the",
        "verify_evidence.py",
    ):
        assert line in said
    assert "\x1b" not in said
    assert left == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "struck", "kind", "reason"),
    [
        (faults.CUT, CUT, "outages", "provider"),
        (faults.AGENT_KILL, KILLED, "stops", "agent"),
    ],
)
def test_each_fault_is_reported_with_its_times_of_the_village_that_it_strikes(
    finished, fault, struck, kind, reason
):
    summary, _, _ = finished
    done = next(entry for entry in summary["injected"] if entry["fault"] == fault)
    assert done["slot"] == struck
    reported = {
        slot: [e for e in found[kind] if reason in (e.get("cause"), e.get("reason"))]
        for slot, found in summary["slots"].items()
    }
    (entry,) = reported.pop(struck)
    for measured, true in zip(times(entry), times(done), strict=True):
        assert abs(measured - true) <= TOLERANCE
        assert measured.utcoffset() == timedelta(hours=8)
    assert list(reported.values()) == [[], [], []]


@pytest.mark.slow
def test_ctrl_c_ends_everything_and_leaves_nothing(tmp_path):
    with demo(tmp_path, "--no-faults") as process:
        said = read_until(process, "the agents run")
        children = children_of(process)
        assert len(children) == CHILDREN
        assert health(said) == "ok"
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, said + rest
    assert "Traceback" not in rest
    assert_gone(children)
    assert os.listdir(tmp_path / "tmp") == []


@pytest.mark.slow
def test_a_demo_that_is_killed_takes_its_children_with_it(tmp_path):
    with demo(tmp_path, "--no-faults") as process:
        read_until(process, "the agents run")
        children = children_of(process)
        assert len(children) == CHILDREN
        process.kill()
        assert_gone(children)


def test_too_short_a_demo_and_a_directory_in_use_are_refused(desalink, tmp_path):
    ended = desalink("demo", "--minutes", 0.5)
    assert ended.code == 2 and "--minutes" in ended.err
    (tmp_path / "file").write_text("mine")
    ended = desalink("demo", "--keep", tmp_path)
    assert ended.code == 1 and "not empty" in ended.err
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("minutes", [1, 3, 60, 1440])
def test_all_faults_happen_one_after_the_other_with_time_to_recover(minutes):
    seconds = 60 * minutes
    plan = faults.plan(seconds)
    assert [fault.kind for fault in plan] == [faults.CUT, faults.AGENT_KILL, faults.BROKER_KILL]
    ends = 0.0
    for fault in plan:
        assert fault.begin >= ends + 4
        assert fault.end >= fault.begin + 2
        ends = fault.end
    assert ends <= seconds - 20


def test_a_cut_line_is_silent_and_its_packets_arrive_when_it_is_back():
    async def story() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                writer.write(data)
            writer.close()

        broker = await asyncio.start_server(echo, "127.0.0.1", 0)
        line = Uplink(0.001, 0.0, broker.sockets[0].getsockname())
        ports = await line.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", ports["broker"])
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        targets = [f"dns:127.0.0.1:{port}" for port in ports["targets"]]
        for target in targets:
            assert 0 < await probes.reach(target, 60_000) < 600_000

        for _ in range(2):
            line.set_cut(True)
            writer.write(b"during")
            answer = asyncio.create_task(reader.readexactly(6))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.open_connection("127.0.0.1", ports["broker"]), 0.1)
            for target in targets:
                assert await probes.answer(target, 100) == (None, ids.PROBE_TIMEOUT)
            assert not answer.done()

            line.set_cut(False)
            assert await answer == b"during"
            for target in targets:
                assert (await probes.answer(target, 60_000))[1] == ids.PROBE_OK

        writer.close()
        broker.close()

    asyncio.run(story())


def test_a_devices_own_count_is_read_from_its_medium(tmp_path):
    journal = Journal(str(tmp_path / "journal"))
    journal.open()
    reports = [b"report %d" % number for number in range(300)]
    written = {journal.append(report): report for report in reports}
    before = sorted((file.name, file.read_bytes()) for file in (tmp_path / "journal").iterdir())
    assert journals.reports(tmp_path / "journal") == {journal.stream: written}
    assert journals.JournalCounter(tmp_path / "journal").now() == 300
    # It only reads.
    assert before == sorted((f.name, f.read_bytes()) for f in (tmp_path / "journal").iterdir())
