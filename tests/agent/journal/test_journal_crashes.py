"""The journal cut off on a POSIX file system: files torn at any byte, and kill -9."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.device import interpreter
from agent.journal import journal
from tests.agent.journal.journal_story import Story
from tests.support import ROOT, micropython, micropython_env

HERE = Path(__file__).parent
EVERY = 3  # one of so many cuts is looked at


class Recorder:
    """Takes a picture of the directory at each write that is synced, and at each deletion."""

    def __init__(self, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        self.story = story
        self.pictures: list[tuple[dict[str, bytes], dict[str, object]]] = [({}, self.known())]
        remove = os.remove

        def removed(path: str) -> None:
            remove(path)
            self.take()

        monkeypatch.setattr(interpreter, "sync", lambda file: self.take())
        monkeypatch.setattr("agent.device.cpython.sync_directory", lambda path: None)
        monkeypatch.setattr(journal.os, "remove", removed)

    def known(self) -> dict[str, object]:
        """What the world outside knows at this moment, deep enough to be kept."""
        story = self.story
        return {
            "kept": {stream: dict(reports) for stream, reports in story.kept.items()},
            "acked": {stream: set(seqs) for stream, seqs in story.acked.items()},
            "order": list(story.order),
            "told": dict(story.told),
            "owed": set(story.owed),
            "made": set(story.made),
            "making": story.making,
            "telling": set(story.telling),
            "writing": story.writing,
            "forking": story.forking,
            "number": story.number,
            "boot": story.boot,
        }

    def take(self) -> None:
        folder = Path(self.story.path)
        self.pictures.append(({f.name: f.read_bytes() for f in folder.iterdir()}, self.known()))


def cuts(before: dict[str, bytes], after: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Every state between two pictures: a file that has grown, cut at each byte."""
    grown = [name for name in after if after[name] != before.get(name)]
    for name in grown:
        for size in range(len(before.get(name, b"")), len(after[name])):
            yield {**before, name: after[name][:size]}
    yield after


@pytest.mark.slow
def test_a_file_cut_at_any_byte_of_any_write_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as recording:
        story = Story(str(tmp_path / "played"))
        recorder = Recorder(story, recording)
        story.play()
    monkeypatch.setattr(interpreter, "sync", lambda file: None)
    monkeypatch.setattr("agent.device.cpython.sync_directory", lambda path: None)
    folder = tmp_path / "cut"
    count = 0
    pictures = recorder.pictures
    for (before, _), (after, known) in zip(pictures, pictures[1:], strict=False):
        for state in cuts(before, after):
            count += 1
            if count % EVERY:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name, data in state.items():
                (folder / name).write_bytes(data)
            survivor = Story(str(folder))
            for name, value in known.items():
                copy = value
                if isinstance(value, dict):
                    copy = {k: v.copy() for k, v in value.items()}
                elif isinstance(value, (set, list)):
                    copy = value.copy()
                setattr(survivor, name, copy)
            survivor.check()
    assert count > 10000


@pytest.mark.parametrize("interpreter", ["cpython", "micropython"])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, interpreter: str) -> None:
    program = sys.executable if interpreter == "cpython" else micropython()
    path = tmp_path / "journal"
    chance = random.Random(interpreter)
    acknowledged, stream = 0, None
    for boot in range(1, 26):
        process = subprocess.Popen(
            [program, str(HERE / "journal_writer.py"), str(path), "400"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**micropython_env(), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        try:
            word, own, booted, following, whole = process.stdout.readline().split()
            assert word == "open"
            assert own == (stream or own)
            assert int(booted) == boot
            assert acknowledged < int(following) <= acknowledged + 2
            assert whole == following, "a report is not what was written"
            stream = own
            for _ in range(chance.randrange(1, 120)):
                acknowledged = int(process.stdout.readline())
        finally:
            process.kill()
            rest, _ = process.communicate()
        lines = rest.split("\n")[:-1]  # the last may be cut off
        acknowledged = int(lines[-1]) if lines else acknowledged
    assert acknowledged > 300
