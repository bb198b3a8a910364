"""A new source is one file, and a new board is one folder: nothing else names them."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.wire import ids
from host_tools import wire
from host_tools.devices.boards import board_names, load_board
from host_tools.devices.release import build_release
from host_tools.wire.columns import Column
from tests.host_tools.field.provision.tree import other_tree
from tests.sim.run import Site
from tests.support import ROOT, run_micropython

SOURCE = '''
from agent.sources import source
from agent.wire import ids

ORDER = 5
KEYS = """\\
usage.solar.path - path 1 200"""


class Solar(source.Source):
    def __init__(self, path):
        super().__init__("usage.solar")
        self._path = path

    async def poll(self, levels):
        with open(self._path) as f:
            source.put(levels, ids.ROUTER_VOLTAGE, int(f.read()))


def make(config, clock, on_reset):
    return Solar(config["usage.solar.path"])
'''

TOML = """
name = "toy-board"
title = "A toy"
interpreter = "micropython"
transport = "serial"
port = "boards.toy_board.board"
"""

BOARD = """
from boards.unix import board


class Board(board.Board):
    board = "toy-board"

    def voltage(self):
        return 333
"""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A copy of the agent and the boards, from which this process builds."""
    folder = tmp_path / "tree"
    for name in ("agent", "boards"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    with other_tree(folder):
        yield folder


def first_report(site: Site, board: str, folder: Path) -> dict[int, Column]:
    """The columns of the first report of an agent that MicroPython runs from the board's release
    alone."""
    config = json.loads(site.config.read_text())
    for path, data in build_release(load_board(board), [config]).files.items():
        target = folder / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    ended = run_micropython(
        "import sys; sys.path[:] = ['', '.frozen']; path = sys.argv[1]\n"
        "from agent import start\n"
        "print(start.enrol(path), *start.first_report(path))",
        site.config,
        cwd=folder,
        check=True,
    )
    proof, topic, message = ended.stdout.split()
    # The proof of possession holds the device's public key: key 2 of its payload, 32 bytes.
    key = base64.b64decode(proof).partition(b"\x02\x58\x20")[2][:32]
    payload, _ = wire.verify_sign1(base64.b64decode(message), key, topic.encode())
    return wire.parse_report(payload).metrics


def test_a_new_source_is_one_file(tree: Path, tmp_path: Path) -> None:
    (tree / "agent" / "sources" / "solar.py").write_text(SOURCE)
    script = "import sys; from agent import config; config.load(sys.argv[1])"
    for section, expected in (({}, "usage.solar.path is missing"), ({"a": 1}, "usage.solar")):
        site = Site(tmp_path / f"wrong{len(section)}", "127.0.0.1", 1, {"usage.solar": section})
        assert expected in run_micropython(script, site.config, cwd=tree).stdout
    (tmp_path / "volts").write_text("1234")
    keys = {"port": "boards.unix.board", "usage.solar": {"path": str(tmp_path / "volts")}}
    site = Site(tmp_path / "site", "127.0.0.1", 1, keys)
    metrics = first_report(site, "unix", tmp_path / "device")
    sources = {path.stem for path in (tmp_path / "device/agent/sources").iterdir()}
    assert sources == {"solar", "source", "counter", "interface", "clients"}
    assert list(metrics[ids.ROUTER_VOLTAGE]) == [1234]


def test_a_new_board_is_one_folder(tree: Path, tmp_path: Path) -> None:
    folder = tree / "boards" / "toy_board"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "board.toml").write_text(TOML)
    (folder / "board.py").write_text(BOARD)
    assert "toy-board" in board_names()
    site = Site(tmp_path / "site", "127.0.0.1", 1, {"port": "boards.toy_board.board"})
    metrics = first_report(site, "toy-board", tmp_path / "device")
    assert list(metrics[ids.VOLTAGE]) == [333]
